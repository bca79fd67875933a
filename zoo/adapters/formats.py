"""Recognises what an untrusted folder holds: a PEFT adapter and its shapes, or another tool's files.

Nothing here reads weights, and no torch is needed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import IncompatibleError, NotFoundError
from zoo.models.fingerprint import has_weights, weight_files
from zoo.models.safetensors_header import Shape, named, read_headers
from zoo.runtime.suggest import instead
from zoo.security.gates import CONFIG_FILE, check_not_pickled
from zoo.security.safe_read import read_object

WEIGHTS = ("adapter_model.safetensors", "adapter.safetensors")
"""PEFT's, and those of a method that PEFT lacks."""
PICKLED = "adapter_model.bin"
_LARGEST_CONFIG = 1 << 20
_OTHERS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"fine_tune_type"}), "is MLX-LM's"),
    (frozenset({"lora_parameters"}), "is MLX-LM's"),
    (frozenset({"lora_layers"}), "is MLX-LM's"),
    (frozenset({"config", "model_class"}), "is of the adapters library (AdapterHub)"),
    (frozenset({"config", "hidden_size", "model_name"}), "is of the adapters library (AdapterHub)"),
    (frozenset({"_class_name"}), "is diffusers' config of a whole model"),
    (frozenset({"architectures", "model_type"}), "is the config of a whole model"),
)
"""Keys that give a tool away, the surest first."""
_SELF_NAMES = ("format", "adapter_type", "architecture", "type", "name")
_OTHER_WEIGHTS = {
    "adapters.safetensors": "MLX-LM's weights",
    "adapters.npz": "MLX-LM's weights",
    "pytorch_adapter.bin": "weights of the adapters library (AdapterHub)",
    "pytorch_lora_weights.safetensors": "diffusers' weights",
    "pytorch_lora_weights.bin": "diffusers' weights",
}
_SHOWN_KEYS = 6


@dataclass(frozen=True)
class Adapter:
    """What an adapter's folder says of itself."""

    config: Mapping[str, Any]
    shapes: Mapping[str, Shape] | None
    """Of every tensor; None where the weights are not here."""
    is_whole: bool
    """A model by itself, which needs no base: fully fine-tuned, or merged."""
    missing: str = ""
    """Why there are no shapes."""


def read_adapter(folder: Path) -> Adapter:
    """
    Raises:
        NotFoundError: there is no adapter in it.
        IncompatibleError: a file is damaged, or is not what its name says.
    """
    config = read_adapter_config(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else None
    for name in WEIGHTS:
        if (folder / name).is_file():
            return Adapter(config or {}, _shapes(folder / name), is_whole=False)
    if config is None:
        if not (folder / "config.json").is_file():
            raise NotFoundError(f"{folder} holds no adapter: it has no {CONFIG_FILE}.")
        if not has_weights(folder):
            return Adapter({}, None, is_whole=True, missing="its weights are not here")
        return Adapter({}, _shapes(*weight_files(folder)), is_whole=True)
    pickled = (folder / PICKLED).is_file()
    missing = f"{PICKLED} is pickled and not read" if pickled else f"it has no {WEIGHTS[0]}"
    return Adapter(config, None, is_whole=False, missing=missing)


def _shapes(*paths: Path) -> dict[str, Shape]:
    return {name: info.shape for name, info in read_headers(paths).items()}


def read_adapter_config(path: Path) -> dict[str, Any]:
    """PEFT's config; the error for any other tells whose it is.

    Raises:
        NotFoundError: there is none.
        IncompatibleError: it is not PEFT's.
    """
    if not path.is_file():
        # published folders may hold several adapters, or checkpoints
        inner = sorted(one.parent.name for one in path.parent.glob(f"*/{CONFIG_FILE}"))
        folder, more, hint = path.parent, "", "zoo search"
        if inner:
            more = f" There are some in {', '.join(map(named, inner[:3]))}."
            hint = instead(str(folder / inner[0]), str(folder))
        elif (folder / "config.json").is_file():
            more = " It is a whole model, which an adapter can be trained on."
            hint = f"zoo train lora bert-imdb --base {shlex.quote(str(folder))}"
        raise NotFoundError(f"{folder} holds no {CONFIG_FILE}: it is not a PEFT adapter.{more}", hint)
    if path.stat().st_size > _LARGEST_CONFIG:
        raise IncompatibleError(f"{path} has more than {_LARGEST_CONFIG:,} bytes: it is no adapter's config.")
    config = read_object(path)
    kind = _foreign(config)
    if kind:
        raise IncompatibleError(f"{path} {kind}, not PEFT's: it has no peft_type.")
    return config


def _foreign(config: Mapping[str, Any]) -> str | None:
    """Whose config it is, if not PEFT's."""
    if isinstance(config.get("peft_type"), str):
        return None
    for keys, whose in _OTHERS:
        if keys <= config.keys():
            return whose
    for key in _SELF_NAMES:
        if isinstance(config.get(key), str):
            return f"is another tool's ({key} '{named(config[key])}')"
    shown = [named(str(key)) for key in config]
    more = f" and {len(shown) - _SHOWN_KEYS} more" if len(shown) > _SHOWN_KEYS else ""
    return f"is another tool's (its keys are {', '.join(shown[:_SHOWN_KEYS]) or 'none'}{more})"


def check_has_weights(where: str, names: Iterable[str], *, convert: bool, remedy: str) -> None:
    """Are there weights that can be imported? `where` is the folder or repository, for the message.

    Raises:
        NotFoundError: there are none at all.
        IncompatibleError: they are pickled, or another tool's.
    """
    found = set(names)
    if found.intersection(WEIGHTS) or (convert and PICKLED in found):
        return
    for name, whose in _OTHER_WEIGHTS.items():
        if name in found:
            raise IncompatibleError(f"{where} holds {whose} ({name}), not PEFT's.")
    try:
        check_not_pickled(found, remedy)
    except IncompatibleError as error:
        raise IncompatibleError(f"{where}: {error}", error.hint) from None
    raise NotFoundError(
        f"{where} has no weights beside its {CONFIG_FILE}: {WEIGHTS[0]} is missing.",
        "fetch the whole folder",
    )
