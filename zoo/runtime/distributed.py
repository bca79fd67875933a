"""Several processes on one run (`torchrun`, `accelerate launch`): which one writes, and how they agree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def mine() -> int:
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """The process that prints, saves and registers."""
    return mine() == 0


def wait() -> None:
    """Until every process is here."""
    if count() > 1:
        _state().wait_for_everyone()


def any_of(here: bool) -> bool:
    """Does it hold in any process? Every process gets the same answer."""
    if count() == 1:
        return here
    return any(gather([here]))


def gather(rows: Sequence[Any]) -> list[Any]:
    """The rows of every process, in the order of the processes."""
    if count() == 1:
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
