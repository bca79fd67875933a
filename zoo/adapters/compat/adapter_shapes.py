"""Reads the config of an adapter and the shapes of its tensors, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.adapters.compat.base_shapes import Shape
from zoo.adapters.formats import PICKLED, WEIGHTS, read_adapter_config
from zoo.errors import NotFoundError
from zoo.models.fingerprint import has_weights, weight_files
from zoo.models.safetensors_header import read_headers
from zoo.security.gates import CONFIG_FILE


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
