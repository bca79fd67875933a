"""Makes paths of what people type, and asks for them without an exception for a name that no disk takes."""

from __future__ import annotations

import os
from pathlib import Path


def expand(typed: str) -> Path:
    """`~/zoo` in full; where there is no such home, as in `~nobody/zoo`, it stays as it is."""
    return Path(os.path.expanduser(typed))


def is_there(path: Path) -> bool:
    """False also for a name that is too long, or has NUL in it."""
    return os.path.exists(path)


def is_folder(path: Path) -> bool:
    """As `is_there`."""
    return os.path.isdir(path)
