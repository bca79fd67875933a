"""Finds the command that trains a first adapter with the base and the data that this machine already has."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import ZooError
from zoo.models.families import FAMILIES
from zoo.models.fingerprint import read_config, weight_files
from zoo.plugins import manager
from zoo.plugins.source import Offer, local_offers
from zoo.registry.store import Registry, locate

if TYPE_CHECKING:
    from zoo.tasks.base import Task

_METHOD = "lora"
"""What a first adapter is trained with; where it is not installed, the first method that is."""
_ROWS = 2000
"""Rows that a CPU trains on in minutes."""


class Start(NamedTuple):
    """A task for which a base is local."""

    task: Task
    base: str
    data: str | None
    """None where none of the task's data sets is local."""


def first_command(registry: Registry | None = None) -> str | None:
    """`zoo train METHOD TASK` with a base and data that are here, None where no task has both.

    Nothing is asked of the network and nothing heavy is imported: sources say what they have.

    Args:
        registry: where the adapter should go; it is named where the command would not find it by itself.
    """
    start = None
    with suppress(Exception):  # a third party's source or task may raise anything
        start = find_start(local_offers("base"), local_offers("data"))
    if start is None or start.data is None:
        return None
    where: tuple[str, ...] = ()
    if registry is not None and registry.path.absolute() != locate().absolute():
        where = ("--registry", str(registry.path))
    return train_command(start.task.name, start.base, start.data, *where)


def train_command(task: str, base: str | None = None, data: str | None = None, *more: str) -> str:
    """As typed; without a base or data the task's own are meant."""
    methods = manager.find("method")
    words = ["zoo", "train", _METHOD if _METHOD in methods else next(iter(methods), "METHOD"), task]
    words += [*(["--base", base] if base else ()), *(["--data", data] if data else ())]
    return shlex.join([*words, "--limit", str(_ROWS), *more])


def find_start(bases: Sequence[Offer], data: Sequence[Offer]) -> Start | None:
    """The first task that has a base and data here; else the first that has a base."""
    found: Start | None = None
    for _, task, _ in manager.load_all("task"):
        base = _base(task, bases) if task is not None else None
        if base is None:
            continue
        rows = preferred(task.data, data)
        if rows:
            return Start(task, base, rows)
        found = found or Start(task, base, None)
    return found


def preferred(references: Iterable[str], offers: Iterable[Offer]) -> str | None:
    """The first that is offered; `hub:ID:CONFIG@REVISION` is where `hub:ID` is."""
    here = {offer.location.lower() for offer in offers}
    for one in references:
        scheme, *name = one.partition("@")[0].lower().split(":")
        if f"{scheme}:{''.join(name[:1])}" in here:
            return one
    return None


def _base(task: Task, bases: Sequence[Offer]) -> str | None:
    """A local base of the task's own list, else the smallest other one that it takes."""
    if one := preferred(task.bases, bases):
        return one
    fitting = [offer for offer in bases if offer.path and offer.path.is_dir() and _takes(task, offer.path)]
    return min(fitting, key=_weight_bytes).location if fitting else None


def _takes(task: Task, folder: Path) -> bool:
    with suppress(ZooError):
        config = read_config(folder)
        return config.get("model_type") in FAMILIES and task.refuses_base(folder, config) is None
    return False


def _weight_bytes(offer: Offer) -> int:
    return sum(path.stat().st_size for path in weight_files(offer.path)) if offer.path else 0
