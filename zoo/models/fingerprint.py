"""Which base is this, whatever it is called: canonical ids, aliases and hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, NotFoundError
from zoo.registry.schema import BaseId, FileId

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


def canonical(base_id: str) -> str:
    """`bert-base-cased` -> `google-bert/bert-base-cased`; `hub:`, `pip:` and `@revision` are taken off."""
    bare = base_id.removeprefix("hub:").removeprefix("pip:").partition("@")[0]
    return LEGACY_IDS.get(bare.lower(), bare)


def same_base(bases: Sequence[BaseId], wanted: str) -> list[bool]:
    """Which of `bases` are what `wanted` names: an id, an alias, a weight hash (8 digits or more), a folder.

    A copy of a base under another name has the same weights, so it is found by the id of any of its twins.
    """
    is_wanted = _matcher(wanted)
    named = [is_wanted(base) for base in bases]
    twins = {
        frozenset(base.weights.items())
        for base, hit in zip(bases, named, strict=True)
        if hit and base.weights
    }
    return [hit or frozenset(base.weights.items()) in twins for base, hit in zip(bases, named, strict=True)]


def _matcher(wanted: str) -> Callable[[BaseId], bool]:
    """Is a base what `wanted` names? A folder is hashed once, however many bases are asked about."""
    name = canonical(wanted).lower()
    digits = wanted.removeprefix("sha256:").lower()
    is_hash = len(digits) >= _MIN_HASH and all(c in "0123456789abcdef" for c in digits)
    folder = Path(wanted.removeprefix("path:")).expanduser()
    is_folder = not is_hash and ("/" in wanted or wanted.startswith("path:")) and folder.is_dir()
    inside = weight_hashes(folder) if is_folder else {}

    def is_wanted(base: BaseId) -> bool:
        return (
            canonical(base.id).lower() == name
            or (is_hash and any(value.startswith(digits) for value in base.weights.values()))
            or (bool(inside) and base.weights == inside)
        )

    return is_wanted


def identify(resolved: Resolved) -> BaseId:
    """Hash a base's config and weight files.

    Raises:
        NotFoundError: the folder has no readable config.json.
    """
    config = read_config(resolved.folder)
    return BaseId(
        id=resolved.id,
        source=resolved.source,
        location=resolved.location,
        model_type=config.get("model_type", "unknown"),
        config_sha256=sha256(resolved.folder / "config.json"),
        weights=weight_hashes(resolved.folder),
        revision=resolved.revision,
        package=resolved.package,
        licence=resolved.licence,
    )


def read_config(folder: Path) -> dict[str, Any]:
    import json

    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{folder} is not a model folder: it has no config.json.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from None
    if not isinstance(config, dict):
        raise DataError(f"{path} is not a model config: it holds a {type(config).__name__}, not an object.")
    return config


def weight_files(folder: Path) -> list[Path]:
    """What transformers loads: some folders hold the same weights again, or a probe, under other names."""
    found = sorted(folder.glob("*.safetensors"))
    return [path for path in found if path.name.startswith("model")] or found


def has_weights(folder: Path) -> bool:
    """All of them: an interrupted download leaves a folder with a config and some of the weights."""
    import json

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return all((folder / shard).is_file() for shard in shards)
    return any(folder.glob("*.safetensors"))


def weight_hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in weight_files(folder)}


def file_ids(folder: Path) -> dict[str, FileId]:
    """Size and hash of every file in a folder, by name."""
    return {
        path.name: FileId(bytes=path.stat().st_size, sha256=sha256(path)) for path in sorted(folder.iterdir())
    }


def sha256(path: Path) -> str:
    import hashlib  # a listing has no use for the time that OpenSSL takes to load

    with path.open("rb") as file:
        if hasattr(hashlib, "file_digest"):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()  # Python 3.10
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
