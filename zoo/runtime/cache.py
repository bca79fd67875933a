"""Keeps files that can be made again in the user's cache folder; a failure here never fails a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def folder(name: str) -> Path | None:
    """`$ZOO_CACHE/name`, or that folder of the user's cache; None where there is no such cache."""
    if given := os.environ.get("ZOO_CACHE"):
        parent = Path(os.path.expanduser(given)).absolute()
    else:
        import platformdirs

        parent = Path(platformdirs.user_cache_dir("adapter-zoo", appauthor=False))
    return parent / name if parent.is_absolute() else None


def read(path: Path, load: Callable[[Path], T]) -> T | None:
    """What `load` makes of a cached file, which is now the most recently used; None if it cannot be read."""
    try:
        value = load(path)
    except Exception:  # missing, damaged, of another version
        return None
    with suppress(OSError):
        os.utime(path)
    return value


def write(path: Path, make: Callable[[Path], object], most_bytes: int | None = None) -> None:
    """Have `make` write a temporary file and move it to `path`; a failure leaves no file, no error."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(beside)
        os.replace(beside, path)
    except Exception:  # a full disk, no permission: any library's exception
        pass
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    if most_bytes is not None:
        prune(path.parent, most_bytes)


def prune(parent: Path, most_bytes: int) -> None:
    """Remove the least recently modified files until at most `most_bytes` are left."""
    with suppress(OSError):
        found = sorted(((path.stat(), path) for path in parent.iterdir()), key=lambda one: -one[0].st_mtime)
        total = 0
        for stat, path in found:
            total += stat.st_size
            if total > most_bytes:
                path.unlink(missing_ok=True)
