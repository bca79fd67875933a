"""Holds the lock of a registry: one writer at a time, and who waits says for whom."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import AGAIN, LockedError
from zoo.runtime import console

SAY_AFTER = 10.0
"""Seconds after which who waits says so."""
GIVE_UP_AFTER = 600.0
"""Seconds after which it is an error."""
_POLL = 0.05


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which the kernel frees when its holder dies and which is never removed.

    Raises:
        LockedError: another process has held it for `GIVE_UP_AFTER` seconds.
        OSError: the file cannot be made.
    """
    import filelock

    lock = filelock.FileLock(path, preserve_lock_file=True)
    try:
        lock.acquire(timeout=min(SAY_AFTER, GIVE_UP_AFTER), poll_interval=_POLL)
    except filelock.Timeout:
        if SAY_AFTER < GIVE_UP_AFTER:
            console.current().say(f"waiting for {path}: held for {SAY_AFTER:.0f} s by {_holder(path)}")
        try:
            lock.acquire(timeout=max(GIVE_UP_AFTER - SAY_AFTER, 0), poll_interval=_POLL)
        except filelock.Timeout:
            long = f"{GIVE_UP_AFTER / 60:.0f} minutes" if GIVE_UP_AFTER >= 60 else f"{GIVE_UP_AFTER:g} s"
            raise LockedError(f"{_holder(path)} has held {path} for {long}.", AGAIN) from None
    try:
        _note(path, f"{os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        _note(path, "")
        lock.release()


def _note(path: Path, text: str) -> None:
    """Who holds the lock, for those who wait; no matter if the disk is full."""
    with suppress(OSError):
        path.write_text(text, encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # Windows lets nobody read a locked file
        text = ""
    return f"process {text}" if text.isprintable() and text else "another zoo"
