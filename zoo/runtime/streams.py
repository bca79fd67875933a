"""Keeps a process alive whose terminal or reader is gone: what it says is lost, and nothing else is."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


class _Lasting(io.TextIOWrapper):
    """A text stream that goes on into nothing when it can no longer be written to."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())  # with what is still in the buffer
        os.close(nothing)


def make_lasting() -> None:
    """Open what was closed when the process started, and let stderr survive its reader.

    A closed stdin, stdout or stderr leaves its number to the next file that is opened, which would then get
    what is printed. The command line calls it once; streams that a caller has put in place are left alone.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the whole process
    if sys.stderr is not sys.__stderr__ or not isinstance(sys.stderr, io.TextIOWrapper):
        return
    with suppress(ValueError, io.UnsupportedOperation):
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
        lasting = _Lasting(sys.stderr.detach(), encoding=encoding, errors=errors, line_buffering=True)
        for name in ("stderr", "__stderr__"):
            setattr(sys, name, lasting)
