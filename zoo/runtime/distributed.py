"""Knows the processes of one run (`torchrun`, `accelerate launch`): which one writes, and how they agree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that prints, saves and registers."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process has come to this point."""
    if world_size() > 1:
        _state().wait_for_everyone()


def any_process(value: bool) -> bool:
    """Whether the value is true in any process: the same answer in all of them."""
    return any(gather([value]))


def gather(rows: Sequence[Any]) -> list[Any]:
    """The rows of every process, in the order of the processes."""
    if world_size() == 1:
        return list(rows)
    from accelerate.utils import gather_object

    _state()
    found: list[Any] = gather_object(list(rows))
    return found


def _state() -> Any:
    """The process group, which accelerate makes on first use and the Trainer then finds."""
    from accelerate import PartialState

    from zoo.runtime.device import device

    return PartialState(cpu=device().type == "cpu")
