"""Checks that an adapter's folder is whole and can be read here: its files, its head, its plugins."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.adapters import probe
from zoo.errors import IncompatibleError, NotFoundError
from zoo.models.families import CLASSIFIERS, family
from zoo.models.fingerprint import weight_files
from zoo.models.hash_cache import sha256
from zoo.models.safetensors_header import read_headers
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
_CLASSIFIES = ("SEQ_CLS", "TOKEN_CLS")
"""PEFT's task types whose head is drawn anew on every base: without its own, an adapter predicts noise."""
_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def method_of(record: AdapterRecord) -> Method:
    """Raises NotFoundError: nobody recorded it, or its plugin is not installed."""
    _check_installed("method", record.spec.method, record)
    return manager.load_method(record.spec.method)


def task_of(record: AdapterRecord) -> Task:
    """Raises NotFoundError: nobody recorded it, or its plugin is not installed."""
    _check_installed("task", record.spec.task, record)
    return manager.load_task(record.spec.task)


def changed_files(record: AdapterRecord, folder: Path, *, fast: bool = False) -> tuple[list[str], list[str]]:
    """The files of an adapter that are gone, and those that are not what was saved.

    Args:
        fast: compare their sizes; no hash is taken.
    """
    gone, changed = [], []
    for name, file in record.files.items():
        path = folder / name
        if not path.is_file():
            gone.append(name)
        elif path.stat().st_size != file.bytes if fast else sha256(path) != file.sha256:
            changed.append(name)
    return gone, changed


def check_files(record: AdapterRecord, folder: Path) -> None:
    """
    Raises:
        NotFoundError: a file is gone.
        IncompatibleError: a file is not what was saved.
    """
    gone, changed = changed_files(record, folder)
    if gone:
        raise NotFoundError(f"'{record.name}' has lost its file {folder / gone[0]}.", f"zoo rm {record.name}")
    if changed:
        path = folder / changed[0]
        raise IncompatibleError(f"{path} is not what was saved: its hash differs from {RECORD_FILE}.")


def adapter_files(folder: Path) -> list[Path]:
    """The files of its own weights."""
    return [path for path in weight_files(folder) if path.name != probe.FILE]


def missing_head(
    tensors: Iterable[str], config: Mapping[str, Any], model_type: str, base: Container[str] = ()
) -> list[str]:
    """The modules that loading would draw at random: of the head, or promised as saved, and in neither file.

    Args:
        tensors: the names of the adapter's.
        config: PEFT's: its task type, and the modules that it says are saved.
        model_type: of the base, whose head `zoo.models.families` may know.
        base: the modules that the base has weights for.
    """
    held = [f".{name}." for name in tensors]
    named = config.get("modules_to_save")
    promised = {str(one).rpartition(".")[2] for one in named} if isinstance(named, list) else set()
    kind = config.get("task_type")
    head = family(model_type).classifier if kind == "SEQ_CLS" else ()
    missing = [one for one in head if one not in base and not any(f".{one}.weight." in name for name in held)]
    if not head:  # of the heads that PEFT lists for every adapter it has one
        heads = promised & CLASSIFIERS or (CLASSIFIERS if kind in _CLASSIFIES else frozenset())
        if not any(f".{one}." in name for one in heads for name in held):
            missing = sorted(one for one in heads if one not in base)
    others = sorted(promised - CLASSIFIERS - set(head))
    return missing + [one for one in others if not any(f".{one}." in name for name in held)]


def check_head(
    record: AdapterRecord, method: Method, folder: Path, base: nn.Module, head: Sequence[str]
) -> None:
    """Before anything is put on the `base`: PEFT only warns of a head without weights, and draws it anew.

    Args:
        head: the base's modules without pretrained weights.

    Raises:
        IncompatibleError: the adapter does not bring the weights of one.
    """
    if record.format == _OWN_NAMES and type(method).save is not Method.save:
        return
    files = adapter_files(folder)
    held = [f".{name}" for name in read_headers(files)]
    wanted = [f"{one}.{name}" for one in head for name, _ in base.get_submodule(one).named_parameters()]
    for name in wanted:
        if not any(one.endswith(f".{name}") for one in held):
            raise IncompatibleError(
                f"'{record.name}' has lost its head: {', '.join(path.name for path in files)} "
                f"has no {name}, which the base lacks too."
            )


def _check_installed(kind: str, name: str, record: AdapterRecord) -> None:
    if name == UNKNOWN:
        raise NotFoundError(
            f"nobody recorded the {kind} of '{record.name}'.",
            f"zoo {kind}s",
        )
    package = record.plugins.get(kind, "").partition(" ")[0]
    if name in manager.find(kind) or package == "adapter-zoo" or not _DISTRIBUTION.fullmatch(package):
        return  # where it is not installed, loading it says so, and what is called like it
    raise NotFoundError(
        f"'{record.name}' needs the {kind} '{name}' of the package {package}, which is not installed.",
        f"pip install {package}",
    )
