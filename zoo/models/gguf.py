"""A base that is packed as GGUF, unpacked once into the cache as what every method takes: safetensors."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from zoo.errors import AGAIN, ZooError
from zoo.models.hash_cache import sha256
from zoo.runtime import cache
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries


def unpack_gguf(packed: Path, report: Report, *, weights: bool = True) -> Path:
    """The folder with config, tokenizer and bf16 weights; without weights if not `weights`.

    bf16 holds what 4 and 8 bits say to within its rounding, in half the bytes of float32. The same file
    gives the same bytes everywhere, so that its hashes identify the base.

    Raises:
        ZooError: there is no cache folder.
    """
    folder = unpacked_folder(packed)
    if folder.is_dir():
        return folder
    if not weights:
        light = folder.with_name(f"{folder.name}-without-weights")
        return light if light.is_dir() else _whole(light, lambda beside: _write_rest(packed, beside))
    report.say(f"unpacking {packed.name} into {folder}: once, up to 60 seconds")
    return _whole(folder, lambda beside: _write_model(packed, beside))


def unpacked_folder(packed: Path) -> Path:
    """Where `unpack_gguf` puts the weights, or has put them.

    Raises:
        ZooError: there is no cache folder.
    """
    parent = cache.folder("gguf")
    if parent is None:
        raise ZooError(
            "there is no cache folder to unpack a base into.", f"export ZOO_CACHE=FOLDER && {AGAIN}"
        )
    return parent / f"{packed.stem}-{sha256(packed)[:16]}"


def _whole(folder: Path, make: Callable[[Path], None]) -> Path:
    """Have `make` fill a folder beside, then give it its name: another process sees all of it or nothing."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        make(beside)
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _write_rest(packed: Path, folder: Path) -> Any:
    """The config, which is returned, and the tokenizer."""
    from transformers import AutoConfig, AutoTokenizer

    quiet_libraries()
    where: dict[str, Any] = {"gguf_file": packed.name, "local_files_only": True}
    config = AutoConfig.from_pretrained(str(packed.parent), **where)
    config._name_or_path = ""  # the file's own title for the model, which is no id
    config.save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(str(packed.parent), **where).save_pretrained(str(folder))
    return config


def _write_model(packed: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    config = _write_rest(packed, folder)
    with redirect_stderr(io.StringIO()):  # a bar that no setting turns off
        read = AutoModelForCausalLM.from_pretrained(
            str(packed.parent), gguf_file=packed.name, local_files_only=True, dtype=torch.float32
        )
    # a model that was read from GGUF counts as quantised, and does not save
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(str(folder))
