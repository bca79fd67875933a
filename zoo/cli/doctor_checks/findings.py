"""What a look at a zoo brings up: what is wrong, where, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.registry.store import Registry, locate

BROKEN = "broken"
"""Something does not work until it is mended."""
WARNING = "warning"
"""All works; somebody should know."""
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    state: str
    """`broken` or `warning`."""
    what: str
    where: str
    mend: str
    """What to type."""


def zoo_command(registry: Registry, *words: str) -> str:
    """`zoo WORDS`, quoted for a shell, and meant for this registry: the one at hand may be another."""
    aside = [] if registry.path == locate() else ["--registry", str(registry.path)]
    return shlex.join(["zoo", *words, *aside])


def some(names: Sequence[str]) -> str:
    """`a, b, c and 997 more`."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
