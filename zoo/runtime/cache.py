"""The user's cache folder: things that can be made again, so nothing here may fail a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def folder(name: str) -> Path | None:
    """`$ZOO_CACHE/name`, or the one that the system keeps for caches; None where the user has none."""
    if given := os.environ.get("ZOO_CACHE"):
        parent = Path(os.path.expanduser(given)).absolute()
    else:
        import platformdirs

        parent = Path(platformdirs.user_cache_dir("adapter-zoo", appauthor=False))
    return parent / name if parent.is_absolute() else None


def write(path: Path, make: Callable[[Path], object]) -> None:
    """Have `make` write a file beside `path` and put it there: whole or not at all, and no matter if not."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(beside)
        os.replace(beside, path)
    except Exception:  # no room, no permission, in the words of whoever writes
        pass
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def prune(parent: Path, most_bytes: int) -> None:
    """Remove the longest unused files until the rest is no more than `most_bytes`."""
    with suppress(OSError):
        found = sorted(((path.stat(), path) for path in parent.iterdir()), key=lambda one: -one[0].st_mtime)
        total = 0
        for stat, path in found:
            total += stat.st_size
            if total > most_bytes:
                path.unlink(missing_ok=True)
