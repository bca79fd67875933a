"""Tells which base a folder or a record means, whatever it is called: by ids, aliases and hashes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, IncompatibleError, NotFoundError
from zoo.models.hash_cache import known_sha256, known_tensors, sha256
from zoo.registry.schema import BaseId, FileId
from zoo.runtime.paths import expand, is_folder

if TYPE_CHECKING:
    from zoo.plugins.source import Resolved

LEGACY_IDS = {
    "albert-base-v2": "albert/albert-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
    "bert-base-multilingual-uncased": "google-bert/bert-base-multilingual-uncased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "distilbert-base-multilingual-cased": "distilbert/distilbert-base-multilingual-cased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilgpt2": "distilbert/distilgpt2",
    "distilroberta-base": "distilbert/distilroberta-base",
    "gpt2": "openai-community/gpt2",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-xl": "openai-community/gpt2-xl",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "t5-base": "google-t5/t5-base",
    "t5-large": "google-t5/t5-large",
    "t5-small": "google-t5/t5-small",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
}
"""Ids from before the Hub asked for an owner, which it still redirects."""

_MIN_HASH = 8
_LONGEST_NAME = 128
"""Characters of a weight file's name, none of which takes more than two bytes on a disk."""
_WEIGHTS = "model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"


class LocalWeights:
    """The hashes of the weights in a folder; its tensors are hashed when they are first asked for.

    Args:
        fresh: read the files again, rather than trust the hash of one that looks unchanged.

    Raises:
        NotFoundError: a file that the index names is not there.
        IncompatibleError: the index is malformed.
    """

    def __init__(self, folder: Path, *, fresh: bool = False):
        self._folder = folder
        self.weights: dict[str, str] = {}
        """File name -> SHA-256 of each file that `weight_files` lists."""
        for path in weight_files(folder):
            try:
                self.weights[path.name] = sha256(path) if fresh else known_sha256(path)
            except FileNotFoundError:
                raise NotFoundError(
                    f"{folder} lacks its weight file {path.name}.", "fetch it again"
                ) from None

    @cached_property
    def tensors_sha256(self) -> str | None:
        """None where there are no weights, or none that `read_header` reads."""
        import hashlib

        try:
            lines = {
                one
                for name, digest in self.weights.items()
                for one in known_tensors(self._folder / name, digest)
            }
        except IncompatibleError:
            return None
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest() if lines else None


def same_weights(a: BaseId | LocalWeights, b: BaseId | LocalWeights) -> bool | None:
    """Do both hold the same weights? None where their hashes do not tell.

    Files of the same content are enough; else the SHA-256 over all tensors decides. What files are called,
    how the weights are sharded and where they are stored never does.
    """
    if not a.weights or not b.weights:
        return None
    if sorted(a.weights.values()) == sorted(b.weights.values()):
        return True
    if a.tensors_sha256 is None or b.tensors_sha256 is None:
        return None
    return a.tensors_sha256 == b.tensors_sha256


def canonical(base_id: str) -> str:
    """`bert-base-cased` -> `google-bert/bert-base-cased`; `hub:`, `pip:` and `@revision` are taken off."""
    bare = base_id.removeprefix("hub:").removeprefix("pip:").partition("@")[0]
    return LEGACY_IDS.get(bare.lower(), bare)


def same_base(bases: Sequence[BaseId], wanted: str) -> list[bool]:
    """Which of `bases` are what `wanted` names: an id, an alias, a weight hash (8 digits or more), a folder.

    A copy of a base under another name has the same weights, so it is found by the id of any of its twins.
    """
    name = canonical(wanted).lower()
    digits = wanted.removeprefix("sha256:").lower() if is_hash(wanted) else None
    folder = named_folder(wanted)
    inside = LocalWeights(folder) if folder else None  # hashed once, however many bases are compared with it
    named = [
        canonical(base.id).lower() == name
        or (digits is not None and any(value.startswith(digits) for value in base.weights.values()))
        or (inside is not None and bool(same_weights(base, inside)))
        for base in bases
    ]
    twins = {key for base, hit in zip(bases, named, strict=True) if hit for key in _weight_keys(base)}
    return [hit or not twins.isdisjoint(_weight_keys(base)) for base, hit in zip(bases, named, strict=True)]


def is_hash(wanted: str) -> bool:
    """Is it the beginning of a weight hash: 8 digits or more?"""
    digits = wanted.removeprefix("sha256:").lower()
    return len(digits) >= _MIN_HASH and all(c in "0123456789abcdef" for c in digits)


def is_among(base: BaseId, hashes: Collection[str]) -> bool:
    """Are all the weight files of a base among files with these hashes, as a repository lists them?"""
    return bool(base.weights) and set(base.weights.values()) <= set(hashes)


def _weight_keys(base: BaseId) -> list[str]:
    """Two bases that have one of them in common have the same weights, as in `same_weights`."""
    files = [" ".join(sorted(base.weights.values()))] if base.weights else []
    return [*files, f"tensors {base.tensors_sha256}"] if base.tensors_sha256 else files


def named_folder(wanted: str) -> Path | None:
    """The folder that `path:FOLDER`, or a name with a slash, is; None for an id or a hash."""
    folder = expand(wanted.removeprefix("path:"))
    return folder if ("/" in wanted or wanted.startswith("path:")) and is_folder(folder) else None


def identify(resolved: Resolved) -> BaseId:
    """Hash a base's config and weight files.

    Raises:
        NotFoundError: the folder has no readable config.json, or lacks some of its weights.
        IncompatibleError: the index of its weights is malformed.
    """
    config = read_config(resolved.folder)
    found = LocalWeights(resolved.folder, fresh=True)
    return BaseId(
        id=resolved.id,
        source=resolved.source,
        location=resolved.location,
        model_type=config.get("model_type", "unknown"),
        config_sha256=sha256(resolved.folder / "config.json"),
        weights=found.weights,
        tensors_sha256=found.tensors_sha256,
        revision=resolved.revision,
        package=resolved.package,
        licence=resolved.licence,
    )


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        _check_identity(config, path)
    except FileNotFoundError:
        raise NotFoundError(f"{folder} is not a model folder: it has no config.json.") from None
    except RecursionError:
        raise DataError(f"{path} is not a model config: it is nested too deep.") from None
    except ValueError as error:  # not UTF-8, not JSON, a number of a million digits
        raise DataError(f"{path} is not JSON: {error}.") from None
    return dict(config)


def _check_identity(config: Any, path: Path) -> None:
    """Raises DataError: it is no object, or what tells the kind of model in it is malformed."""
    wrong = ""
    if not isinstance(config, dict):
        wrong = f"it holds a {type(config).__name__}, not an object"
    elif not isinstance(kind := config.get("model_type", ""), str) or not kind.isprintable():
        wrong = "its model_type is no name"
    elif not isinstance(config.get("architectures") or [], list):
        wrong = "its architectures are no list"
    if wrong:
        raise DataError(f"{path} is not a model config: {wrong}.")


def weight_files(folder: Path) -> list[Path]:
    """What transformers loads: some folders hold the same weights again, or a probe, under other names.

    Of sharded weights every file that the index names, whether it is there or not.

    Raises:
        IncompatibleError: the index is malformed.
    """
    if (folder / _INDEX).is_file() and not (folder / _WEIGHTS).is_file():
        return [folder / name for name in read_index(folder / _INDEX)]
    found = sorted(folder.glob("*.safetensors"))
    return [path for path in found if path.name.startswith("model")] or found


def read_index(path: Path) -> list[str]:
    """The names of the files that an index of sharded weights lists.

    Raises:
        IncompatibleError: it is malformed, or names what is no weight file of its folder.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise IncompatibleError(f"{path} is not an index of weights: it is not JSON.") from None
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise IncompatibleError(
            f"{path} is not an index of weights: it has no weight_map of tensors to files."
        )
    for name in listed.values():
        is_name = isinstance(name, str) and Path(name).name == name and len(name) <= _LONGEST_NAME
        if not is_name or not name.endswith(".safetensors"):
            raise IncompatibleError(f"{path} names {name!r:.80}, which is no weight file of its folder.")
    return sorted(set(listed.values()))


def has_weights(folder: Path) -> bool:
    """All of them: an interrupted download leaves a folder with a config and some of the weights.

    Raises:
        IncompatibleError: the index is malformed.
    """
    found = weight_files(folder)
    return bool(found) and all(path.is_file() for path in found)


def file_ids(folder: Path) -> dict[str, FileId]:
    """Size and hash of every file in a folder, by name."""
    return {
        path.name: FileId(bytes=path.stat().st_size, sha256=sha256(path)) for path in sorted(folder.iterdir())
    }
