"""Calls a function of this process on a pseudo-terminal, and reads its screen."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from rich.cells import cell_len

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[=>])")


@dataclass
class Screen:
    code: int
    raw: str
    """With colours."""

    @property
    def lines(self) -> list[str]:
        """Each state of a line that is written over, such as a bar, counts as one."""
        return _ESCAPES.sub("", re.sub("\r\n?", "\n", self.raw)).split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wider_than(self, columns: int) -> list[str]:
        """Lines that could have been broken: a longer path stands alone."""
        return [line for line in self.lines if cell_len(line) > columns and len(line.split()) > 1]


def _pty() -> tuple[str, Callable[[], str]]:
    """The path of a terminal, and what ends it and says all that was written to it."""
    main, terminal = os.openpty()
    blocks: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # what Linux says at the end of a terminal
            while block := os.read(main, 65536):
                blocks.append(block)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def end() -> str:
        os.close(terminal)
        reader.join(timeout=60)
        os.close(main)
        return b"".join(blocks).decode()

    return os.ttyname(terminal), end


def call_on_terminal(monkeypatch: pytest.MonkeyPatch, function: Callable[[], Any], columns: int) -> Screen:
    """What is on the screen after a call, such as that of `zoo.cli.main`."""
    path, end = _pty()
    code = 0
    try:
        with (
            monkeypatch.context() as patch,
            open(path) as stdin,
            open(path, "w") as stdout,
            open(path, "w") as stderr,
        ):
            patch.setenv("COLUMNS", str(columns))  # rich looks at the terminal of the whole process otherwise
            for name, stream in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
                patch.setattr(sys, name, stream)
            function()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        raw = end()
    return Screen(code, raw)
