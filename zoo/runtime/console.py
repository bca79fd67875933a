"""Prints messages and progress to stderr: a bar on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo.errors import DataError
from zoo.runtime.terminal import say

_LOG_EVERY = 10.0
"""Seconds between two progress lines where there is no terminal."""


def hint_line(hint: str) -> str:
    """How a hint is shown. The command line puts its own here, which makes it a command to paste."""
    return f"Hint: {hint}"


def say_hint(hint: str) -> None:
    """Print a hint to stderr."""
    label, _, step = hint_line(hint).partition(" ")
    say(step, label)


class Report:
    """Takes messages and progress and prints nothing: the default where the zoo is used as a library.

    Args:
        strict: rows that cannot be used raise an error instead of being left out.
    """

    def __init__(self, strict: bool = False):
        self._strict = strict

    def say(self, line: str, hint: str | None = None) -> None:
        """Print a fact, such as which base is used and why; `hint` is what an error's is, on its own line."""

    def warn(self, line: str, hint: str | None = None) -> None:
        """Print a warning: something that may not be what the user wants."""

    def left_out(self, line: str) -> None:
        """Warn that rows cannot be used and are left out; raise if `strict`.

        Raises:
            DataError: with the same message.
        """
        if self._strict:
            raise DataError(line, "without --strict")
        self.warn(line)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Progress]:
        """Show progress over `total` steps; `advance` of what is yielded moves it."""
        yield Progress()


class RecordingReport(Report):
    """Keeps what it is told, for a caller that decides itself what to show."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def say(self, line: str, hint: str | None = None) -> None:
        self.messages.append(line)

    def warn(self, line: str, hint: str | None = None) -> None:
        self.warnings.append(line)


class Progress:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Add finished steps; `note` is shown after the time, such as the current loss."""


class StderrReport(Report):
    """Prints for the command line. rich is imported only when a bar is drawn on a terminal."""

    def say(self, line: str, hint: str | None = None) -> None:
        say(line)
        if hint:
            say_hint(hint)

    def warn(self, line: str, hint: str | None = None) -> None:
        say(line, "Warning:")
        if hint:
            say_hint(hint)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Progress]:
        if not sys.stderr.isatty():
            yield _Lines(title, total)
            return
        from rich import progress
        from rich.console import Console
        from rich.table import Column

        with progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None, table_column=Column(max_width=24)),  # shrinks first
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("ETA"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        ) as bars:
            yield _Bar(bars, bars.add_task(title, total=total, note=""))


_process = Report()


def current() -> Report:
    """Who hears of what no caller knows of, such as a wait for the network deep in a library."""
    return _process


def speak_through(report: Report) -> None:
    """Make `report` the process's own; the command line calls it once."""
    global _process
    _process = report


class _Bar(Progress):
    def __init__(self, bars: Any, task: Any):
        self._bars, self._task = bars, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._bars.update(self._task, advance=steps, **({"note": note} if note else {}))


class _Lines(Progress):
    """Prints `training 40/126, 2:10 elapsed, ETA 4:40, loss 0.41` every ten seconds and at the end."""

    def __init__(self, title: str, total: int):
        self._title, self._total, self._done = title, total, 0
        self._start = self._spoke = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._spoke < _LOG_EVERY and self._done < self._total:
            return
        self._spoke = now
        elapsed = now - self._start
        left = elapsed / self._done * (self._total - self._done)
        line = f"{self._title} {self._done}/{self._total}, {clock(elapsed)} elapsed, ETA {clock(left)}"
        print(f"{line}, {note}" if note else line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as text: `125.4` -> `2:05`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
