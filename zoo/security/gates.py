"""Checks which files of an adapter are fetched, imported and published: only those allowed by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zoo.errors import IncompatibleError
from zoo.models.fingerprint import read_index
from zoo.models.safetensors_header import check_finite, named, read_header
from zoo.registry.names import RESERVED
from zoo.security.adapter_config import check_config, without_unknown
from zoo.security.remote_code import check_json, check_template
from zoo.security.safe_read import read_object, read_text
from zoo.security.secrets import secret_in

CONFIG_FILE = "adapter_config.json"
PROCESSOR_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""What tokenizers and processors are kept in."""
INCOMING = (
    CONFIG_FILE,
    "adapter_model.safetensors",
    "adapter.safetensors",
    "zoo.json",
    "probe.safetensors",
    "README.md",
    *PROCESSOR_FILES,
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
)
"""Files that are fetched, imported and published: an adapter's, its processor's, a whole model's."""
LARGEST = {CONFIG_FILE: 1 << 20, "zoo.json": 1 << 24, "README.md": 1 << 22, "chat_template.jinja": 1 << 20}
_LARGEST_OTHER = 1 << 28
"""Bytes; the largest tokenizers have a tenth of it. Weights have no limit but the disk's."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_LONGEST_NAME = 255
_OUTWARD = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\~]|^[A-Za-z]:\S|[\x00-\x1f\x7f-\x9f]")
"""Upwards, absolute, of a drive, of a home, or with control characters."""
_STATE = re.compile(
    r"(optimizer|scheduler|scaler|rng_state|trainer_state|training_args|random_states)[\w.-]*"
)
_KEY_FILE = re.compile(
    r"(id_(rsa|dsa|ecdsa|ed25519)[\w.]*|.*\.(pem|key|p12|pfx|ppk|jks|kdbx)|.*credential.*)"
)
_DATA = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".txt", ".zip", ".gz", ".tar", ".db", ".xlsx")
_MOST_NAMED = 8
"""Files or keys that a warning names."""


def check_file_name(name: str) -> str:
    """`name`, where it is one normal component of a path on every system.

    Raises:
        IncompatibleError: it would leave its folder, or is no name that a disk takes.
    """
    is_bare = name == name.strip(" ").rstrip(".") and not set(name) & set('<>"|?*')
    problems = {
        "it is no name": name in ("", ".", ".."),
        "it has a separator": "/" in name or "\\" in name,
        "it names a drive or a stream": ":" in name,
        "it has control characters": not name.isprintable(),
        "Windows takes no such name": RESERVED.fullmatch(name) or not is_bare,
        "it is too long": len(name.encode("utf-8", "replace")) > _LONGEST_NAME,
    }
    if why := next((why for why, applies in problems.items() if applies), None):
        raise IncompatibleError(f"the file name '{named(name)}' is refused: {why}.")
    return name


def is_incoming(name: str) -> bool:
    """Is a file of this name fetched at all?"""
    return "/" not in name and any(fnmatchcase(name, pattern) for pattern in INCOMING)


def incoming(names: Iterable[str]) -> list[str]:
    """Those of a repository's files that are fetched.

    Raises:
        IncompatibleError: a name, fetched or not, is made to leave the folder: that is no accident.
    """
    names = list(names)
    for name in names:
        if _OUTWARD.search(name):
            raise IncompatibleError(f"the file name '{named(name)}' is made to leave its folder.")
    return [check_file_name(name) for name in names if is_incoming(name)]


def check_incoming(folder: Path) -> list[str]:
    """Every gate on an untrusted adapter's folder; warnings about what passes.

    Raises:
        IncompatibleError: a file is a threat, or not what its name says; the message names both.
    """
    warnings = []
    files = {path.name: path for path in sorted(folder.iterdir()) if is_incoming(path.name)}
    for name, path in files.items():
        check_file(path)
        if name.endswith(".safetensors"):
            if not read_header(path):
                raise IncompatibleError(f"{path} holds no tensor.")
            check_finite(path)
        elif name == CONFIG_FILE:
            config = read_object(path)
            check_config(config, str(path))
            if unknown := without_unknown(config)[1]:
                warnings.append(f"{name} has keys that PEFT 0.21 does not know: {_listed(unknown)}")
        elif name in ("zoo.json", "model.safetensors.index.json"):
            _check_names(path)
        elif name.endswith(".json"):
            check_json(path)
        elif name.endswith(".jinja"):
            check_template(path, read_text(path))
        elif name.endswith((".md", ".txt")):
            read_text(path)
    if (config_file := files.get(CONFIG_FILE)) and (weights := files.get("adapter_model.safetensors")):
        _check_sizes(read_object(config_file), config_file, weights)
    return [*warnings, *_passed_over(folder, files)]


def outgoing(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The files of an adapter's folder that are published, and the name and reason of each that is not.

    Raises:
        IncompatibleError: a file that would go holds a secret or damaged weights.
    """
    files, left_out = [], []
    for path in sorted(folder.iterdir()):
        if reason := _stays(path):
            left_out.append((path.name, reason))
            continue
        files.append(path)
        if path.suffix == ".safetensors":
            read_header(path)
            check_finite(path)
            with path.open("rb") as file:  # its metadata is text, too
                content = file.read(int.from_bytes(file.read(8), "little"))
        else:
            content = path.read_bytes()
        if kind := secret_in(content):
            raise IncompatibleError(
                f"{path} holds {kind} and is not published.", "revoke it, take it out, and publish again"
            )
    return files, left_out


def check_file(path: Path) -> None:
    """A link may point at any file of this machine; the Hub's cache is made of links, to files of its own.

    Raises:
        IncompatibleError: it is no plain file of a plausible size, with a plain name.
    """
    check_file_name(path.name)
    if path.is_symlink():
        target = path.resolve()
        blobs = path.parent.resolve().parent.parent / "blobs"
        if target.parent not in (blobs, path.parent.resolve()):
            raise IncompatibleError(f"{path} is a link to a file elsewhere.", "copy the file in its place")
    if not path.is_file():
        raise IncompatibleError(f"{path} is no file.")
    largest = LARGEST.get(path.name, _LARGEST_OTHER)
    if path.suffix != ".safetensors" and path.stat().st_size > largest:
        raise IncompatibleError(f"{path} has {path.stat().st_size:,} bytes; {largest:,} are allowed.")


def _check_names(path: Path) -> None:
    """The files that a record or an index of shards names are opened by these names."""
    listed = read_object(path).get("files")
    names = list(listed) if isinstance(listed, dict) else []
    if path.name != "zoo.json":
        names = read_index(path)
    for name in names:
        try:
            check_file_name(name)
        except IncompatibleError as error:
            raise IncompatibleError(f"{path}: {error}") from None
        if path.name != "zoo.json" and not is_incoming(name):
            raise IncompatibleError(f"{path} names weights in '{named(name)}', which is no weight file.")


def _check_sizes(config: dict[str, Any], config_file: Path, weights: Path) -> None:
    """PEFT makes matrices of this rank before it reads the weights: one number may take all memory.

    Only of LoRA's: with other methods a rank beyond the tensors' sizes may mean "no decomposition".
    """
    tensors = read_header(weights)
    largest = max((side for info in tensors.values() for side in info.shape), default=0)
    sizes = [("num_virtual_tokens", config.get("num_virtual_tokens"))]
    if any(".lora_" in name for name in tensors):
        pattern = config.get("rank_pattern")
        patterns = pattern.values() if isinstance(pattern, dict) else ()
        sizes += [("r", rank) for rank in (config.get("r"), *patterns)]
    for key, size in sizes:
        if type(size) is int and size > largest:
            raise IncompatibleError(
                f"{config_file} asks for {key} = {size:,}, which no tensor of {weights.name} has."
            )


def _passed_over(folder: Path, files: dict[str, Path]) -> list[str]:
    """Pickled weights are a warning beside safetensors; without these, the adapter is refused for them."""
    others = sorted(path.name for path in folder.iterdir() if path.name not in files)
    if not any(name.endswith(".safetensors") and name != "probe.safetensors" for name in files):
        check_not_pickled(others)
    return [f"left out: {_listed(others)}"] if others else []


def check_not_pickled(names: Iterable[str], remedy: str | None = None) -> None:
    """Of a folder or a repository without safetensors weights: pickled ones are named for what they are.

    Raises:
        IncompatibleError: there are pickled weights.
    """
    for name in sorted(names):
        if name.lower().endswith(_PICKLES) and not _STATE.fullmatch(name.lower()):
            raise IncompatibleError(
                f"{named(name)} is pickled, and pickle runs code: only safetensors are loaded.", remedy
            )


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(map(named, names[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


def _stays(path: Path) -> str | None:
    """Why a file is not published."""
    name = path.name.lower()
    if path.is_symlink():
        return "a link"
    if path.is_dir():
        return "a checkpoint" if name.startswith("checkpoint") else "a folder"
    if name.startswith("."):
        return "a hidden file"
    if not path.is_file():
        return "no file"
    if is_incoming(path.name):
        return None
    if _KEY_FILE.fullmatch(name):
        return "a key"
    if _STATE.fullmatch(name):
        return "state of the training"
    if name.endswith(_PICKLES):
        return "pickled"
    return "data" if name.endswith(_DATA) else "no file of an adapter"
