"""Knows what an adapter may be called: one plain path component on every system."""

from __future__ import annotations

import re
from collections.abc import Callable

from zoo.errors import UsageError

LONGEST = 96
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Names that Windows gives to devices, with any suffix."""
_PLAIN = 80
"""Characters of a name that is made from another text."""


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        UsageError: it cannot name an adapter; the hint has one that can.
    """
    if not _is_name(name):
        raise UsageError(
            f"'{name}' cannot name an adapter: letters and digits, then '.', '_' and '-' too.",
            f"--name {plain_name(name)}",
        )
    return name


def plain_name(text: str) -> str:
    """A name made from any text: `my adapter (final)` -> `my-adapter-final`."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:_PLAIN].rstrip("-._")
    return plain if _is_name(plain) else f"adapter-{plain}".rstrip("-")


def first_free(name: str, is_taken: Callable[[str], bool]) -> str:
    """`name`, or `name-2`, `name-3`...: the first that is not taken."""
    candidate, number = name, 1
    while is_taken(candidate):
        number += 1
        suffix = f"-{number}"
        candidate = name[: LONGEST - len(suffix)] + suffix
    return candidate


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not name.endswith(".") and not RESERVED.fullmatch(name)
