"""Ctrl-C and SIGTERM, remembered: a library that catches everything must not turn a stop into a go-on."""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def listen() -> None:
    """Let both signals raise KeyboardInterrupt and be remembered. For the command line, once."""
    global _asked
    _asked = False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def check() -> None:
    """Raise again what was swallowed. Called between the stages of a run.

    Raises:
        KeyboardInterrupt: the person has asked to stop.
    """
    if _asked:
        raise KeyboardInterrupt


def _stop(signum: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
