"""Is an adapter's folder whole, and is here what it takes to read it: its files, its head, its plugins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.adapters import probe
from zoo.errors import IncompatibleError, NotFoundError
from zoo.models.fingerprint import sha256, weight_files
from zoo.plugins import manager
from zoo.plugins.method import Method
from zoo.registry.schema import UNKNOWN, AdapterRecord
from zoo.registry.store import RECORD_FILE

if TYPE_CHECKING:
    from torch import nn

    from zoo.tasks.base import Task

WHOLE = "transformers"
"""The format of a folder that is a whole model by itself: fully fine-tuned, or merged."""
_OWN_NAMES = "zoo"
"""The format of methods that may save by names of their own."""
_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def method_of(record: AdapterRecord) -> Method:
    """
    Raises:
        NotFoundError: nobody recorded it, or its plugin is not installed.
    """
    _check_installed("method", record.spec.method, record)
    return manager.load_method(record.spec.method)


def task_of(record: AdapterRecord) -> Task:
    """
    Raises:
        NotFoundError: nobody recorded it, or its plugin is not installed.
    """
    _check_installed("task", record.spec.task, record)
    return manager.load_task(record.spec.task)


def check_files(record: AdapterRecord, folder: Path) -> None:
    """
    Raises:
        NotFoundError: a file is gone.
        IncompatibleError: a file is not what was saved.
    """
    for name, file in record.files.items():
        path = folder / name
        if not path.is_file():
            raise NotFoundError(f"'{record.name}' has lost its file {path}.", f"zoo rm {record.name}")
        if sha256(path) != file.sha256:
            raise IncompatibleError(f"{path} is not what was saved: its hash differs from {RECORD_FILE}.")


def adapter_files(folder: Path) -> list[Path]:
    """The files of its own weights."""
    return [path for path in weight_files(folder) if path.name != probe.FILE]


def check_head(
    record: AdapterRecord, method: Method, folder: Path, base: nn.Module, head: Sequence[str]
) -> None:
    """Before anything is put on the `base`: PEFT only warns of a head without weights, and draws it anew.

    Args:
        head: the base's modules without pretrained weights.

    Raises:
        IncompatibleError: the adapter does not bring the weights of one.
    """
    from zoo.models.safetensors_header import read_header

    if record.format == _OWN_NAMES and type(method).save is not Method.save:
        return
    files = adapter_files(folder)
    held = [f".{name}" for path in files for name in read_header(path)]
    for module in head:
        for name, _ in base.get_submodule(module).named_parameters():
            if not any(one.endswith(f".{module}.{name}") for one in held):
                raise IncompatibleError(
                    f"'{record.name}' has lost its head: {', '.join(path.name for path in files)} "
                    f"has no {module}.{name}, which the base lacks too."
                )


def _check_installed(kind: str, name: str, record: AdapterRecord) -> None:
    if name == UNKNOWN:
        raise NotFoundError(
            f"nobody recorded the {kind} of '{record.name}'.",
            f"zoo import FOLDER --{kind} NAME; zoo {kind}s lists them",
        )
    package = record.plugins.get(kind, "").partition(" ")[0]
    if name in manager.find(kind) or package == "adapter-zoo" or not _DISTRIBUTION.fullmatch(package):
        return  # where it is not installed, loading it says so, and what is called like it
    raise NotFoundError(
        f"'{record.name}' needs the {kind} '{name}' of the package {package}, which is not installed.",
        f"pip install {package}",
    )
