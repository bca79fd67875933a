"""Says which names an adapter can have."""

from __future__ import annotations

import re

from zoo.errors import UsageError

LONGEST_NAME = 96
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Names that Windows gives to devices, with any suffix."""


def check_name(name: str) -> str:
    """An adapter's name is one plain path component on every system.

    Raises:
        UsageError: it is not.
    """
    if not _is_name(name):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:LONGEST_NAME]
        raise UsageError(
            f"'{name}' cannot name an adapter: letters and digits, then '.', '_' and '-' too.",
            f"--name {plain if _is_name(plain) else 'my-adapter'}",
        )
    return name


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not name.endswith(".") and not RESERVED.fullmatch(name)
