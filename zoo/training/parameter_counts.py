"""What each method would train on a task's base: counted without weights, and kept to be listed at once.

Counting needs torch and a base's config, which may be on the Hub; a listing must wait for neither.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from zoo.errors import IncompatibleError, ZooError
from zoo.models.fingerprint import read_config
from zoo.models.hash_cache import sha256
from zoo.plugins import manager, source
from zoo.plugins.manager import Plugin
from zoo.plugins.method import Method, one_line
from zoo.plugins.params import parse
from zoo.runtime import cache
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries

if TYPE_CHECKING:
    from torch import nn

    from zoo.tasks.base import Task

_LIBRARIES = ("adapter-zoo", "peft", "transformers")


@dataclass(frozen=True)
class Count:
    trainable: int
    total: int

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters ({100 * self.trainable / self.total:.2f}%)"


@dataclass(frozen=True)
class Counted:
    key: str
    """Of the code that decides it."""
    trainable: int | None
    """None where the method does not fit the base."""
    reason: str = ""
    """Why it does not."""


class _Counts(msgspec.Struct):
    """The content of a file."""

    config: str = ""
    """SHA-256 of the base's config."""
    methods: dict[str, Counted] = {}


def count(model: nn.Module) -> Count:
    """Parameters of a model, tied ones once, quantised ones by the numbers that they stand for."""
    sizes = []
    for value in model.parameters():
        state = getattr(value, "quant_state", None)  # of bitsandbytes: it holds two numbers in a byte
        sizes.append((value.numel() if state is None else math.prod(state.shape), value.requires_grad))
    return Count(sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes))


def attach_without_weights(
    method: Method, params: Any, task: Task, folder: Path, labels: Sequence[str]
) -> nn.Module:
    """The adapted model from `folder/config.json`, on the meta device: shapes that take no memory.

    Raises:
        IncompatibleError: the task cannot use a base of this kind, or the method does not fit it.
    """
    import torch

    try:
        model, head = task.empty_model(folder, labels)
    except ValueError as error:  # transformers lists every config class that it would take
        kind = read_config(folder).get("model_type", "unnamed")
        raise IncompatibleError(
            f"{task.name} cannot use {folder}: transformers has no such model of type '{kind}'.",
            "zoo tasks",
        ) from error
    with torch.device("meta"):
        return method.attach(model, params, task, head)


def kept(task: Plugin, methods: Sequence[Plugin], base: str | None = None) -> dict[str, Counted]:
    """By method, what was counted before and still holds, on `base` or the default one. Reads one file."""
    counted = _read(_path(task.name, base)).methods
    return {
        method.name: counted[method.name]
        for method in methods
        if method.name in counted and counted[method.name].key == _key(task, method)
    }


def count_methods(
    task: Plugin, methods: Sequence[Plugin], base: str | None, report: Report
) -> dict[str, Counted]:
    """By method, with its default parameters, on the meta device. Only what changed is counted again.

    Raises:
        NotFoundError: there is no such base.
    """
    made = manager.load_task(task.name)
    found = source.resolve(base, made.bases, "base", report, weights=False)
    config, path = sha256(found.folder / "config.json"), _path(task.name, base)
    known = kept(task, methods, base) if _read(path).config == config else {}
    missing = [method for method in methods if method.name not in known]
    if missing:
        quiet_libraries()
        with report.progress("counting", len(missing)) as progress:
            for method in missing:
                known[method.name] = _count(task, method, found.folder)
                progress.advance()
        if path is not None:
            content = msgspec.json.encode(_Counts(config, known))
            cache.write(path, lambda beside: beside.write_bytes(content))
    return known


def _count(task: Plugin, method: Plugin, folder: Path) -> Counted:
    key = _key(task, method)
    made, other = manager.load_task(task.name), manager.load_method(method.name)
    try:
        params = parse(other.Params, {}, method.name)
        reason = other.refuses(made, params)
        if reason is not None:
            return Counted(key, None, reason)
        model = attach_without_weights(other, params, made, folder, made.labels or ("0", "1"))
        return Counted(key, count(model).trainable)
    except ZooError as error:
        return Counted(key, None, str(error))
    except Exception as error:  # third-party code may raise anything
        return Counted(key, None, f"{type(error).__name__}: {one_line(error)}")


def _key(task: Plugin, method: Plugin) -> str:
    digest = hashlib.sha256(" ".join(map(version, _LIBRARIES)).encode())
    for plugin in (task, method):
        digest.update(plugin.distribution.encode())
        file = manager.load_module(plugin).__file__
        digest.update(Path(file).read_bytes() if file else b"")
    return digest.hexdigest()


def _path(task: str, base: str | None) -> Path | None:
    parent = cache.folder("counts")
    which = "default" if base is None else hashlib.sha256(base.encode()).hexdigest()[:16]
    return parent / f"{task}-{which}.json" if parent else None


def _read(path: Path | None) -> _Counts:
    found = (
        cache.read(path, lambda path: msgspec.json.decode(path.read_bytes(), type=_Counts)) if path else None
    )
    return found or _Counts()
