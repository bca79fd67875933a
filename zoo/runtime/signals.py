"""Remembers the signals that ask to stop, so that a library that catches every exception cannot swallow one.

Ctrl-C, SIGTERM, SIGHUP (a dropped connection) and SIGUSR1 (a cluster's warning that time is up). A process
that was started to ignore SIGHUP, as by nohup, goes on ignoring it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
_asked = 0


def listen() -> None:
    """Make each signal raise KeyboardInterrupt and be remembered. The command line calls it once."""
    forget()
    for number in _numbers():
        signal.signal(number, _stop)


def forget() -> None:
    """A stop that a caller has caught is no stop of what it does next."""
    global _asked
    _asked = 0


def stop_listening() -> None:
    """The command has ended: a signal now would only tear its last words, or the interpreter's end, apart."""
    for number in _numbers():
        signal.signal(number, lambda number, frame: None)


def check() -> None:
    """Raise again an interrupt that was swallowed. Called between the stages of a run.

    Raises:
        KeyboardInterrupt: the user has asked to stop.
    """
    if _asked:
        raise KeyboardInterrupt


def asked() -> bool:
    """Has the user asked to stop? For threads, in which nothing is raised."""
    return bool(_asked)


def ask() -> None:
    """Do as SIGTERM would: somebody has asked in another way."""
    global _asked
    _asked = signal.SIGTERM


def exit_code() -> int:
    """What a process ends with that a signal stopped: 128 and its number, as for a shell."""
    return 128 + (_asked or signal.SIGINT)


@contextmanager
def handled_by(ask: Callable[[], None]) -> Iterator[None]:
    """`ask` is called for the first signal instead of an interrupt; the next one interrupts at once.

    A thread gets no signals: there it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    again = False

    def first(number: int, frame: FrameType | None) -> None:
        global _asked
        nonlocal again
        _asked = number
        if again:
            raise KeyboardInterrupt
        again = True
        ask()

    before = {number: signal.signal(number, first) for number in _numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers() -> list[signal.Signals]:
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [one for one in found if one.name != "SIGHUP" or signal.getsignal(one) != signal.SIG_IGN]


def _stop(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = number
    raise KeyboardInterrupt
