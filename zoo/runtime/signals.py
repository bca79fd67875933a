"""Remembers Ctrl-C and SIGTERM, so that a library that catches every exception cannot swallow a stop."""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def listen() -> None:
    """Make both signals raise KeyboardInterrupt and be remembered. The command line calls it once."""
    global _asked
    _asked = False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def check() -> None:
    """Raise again an interrupt that was swallowed. Called between the stages of a run.

    Raises:
        KeyboardInterrupt: the user has asked to stop.
    """
    if _asked:
        raise KeyboardInterrupt


def asked() -> bool:
    """Has the user asked to stop? For threads, in which nothing is raised."""
    return _asked


def _stop(signum: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
