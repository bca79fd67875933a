"""Defines the result of a check, for every command that checks something.

`zoo check`, `verify`, `doctor`, `publish`, `data check` and `plugin check` all report a list of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
_SHOWN = 3


class CheckResult(Struct, frozen=True):
    """The result of one check."""

    name: str
    """Which check, or what was checked."""
    status: str
    """`ok`, `warning`, `failed`, or `skipped` where something that the check needs is missing."""
    detail: str
    fix: str = ""
    """The command that fixes it, to type as it is."""


def some(names: Sequence[str], separator: str = ", ") -> str:
    """`a, b, c and 997 more`."""
    shown = separator.join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def failures(results: Iterable[CheckResult]) -> list[CheckResult]:
    return [one for one in results if one.status == FAILED]
