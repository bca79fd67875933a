"""Defines the result of a check, for every command that checks something.

`zoo check`, `verify`, `doctor`, `publish`, `data check` and `plugin check` all report a list of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

Status = Literal["ok", "warning", "failed", "skipped"]
OK: Status = "ok"
WARNING: Status = "warning"
FAILED: Status = "failed"
SKIPPED: Status = "skipped"
_SHOWN = 3


class CheckResult(Struct, frozen=True):
    """The result of one check."""

    name: str
    """Which check, or what was checked."""
    status: Status
    """`skipped` where something that the check needs is missing."""
    detail: str
    fix: str = ""
    """The command that fixes it, to type as it is."""


def some(names: Sequence[str], separator: str = ", ") -> str:
    """`a, b, c and 997 more`."""
    shown = separator.join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def failures(results: Iterable[CheckResult]) -> list[CheckResult]:
    return [one for one in results if one.status == FAILED]
