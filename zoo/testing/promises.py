"""Runs the checks of a plugin: each promise becomes a CheckResult, and one that is refused is skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from zoo.plugins.method import one_line
from zoo.runtime.checks import FAILED, OK, SKIPPED, CheckResult, Status, failures


class BrokenError(Exception):
    """A promise was not kept; the message says what happened instead."""


class RefusedError(Exception):
    """The plugin refuses, with its reason."""


class Promises(list[CheckResult]):
    """The results so far; a result's name is the promise, after the task that it was checked on."""

    def __init__(self, task: str = ""):
        super().__init__()
        self.task = task

    @contextmanager
    def promise(self, promise: str) -> Iterator[None]:
        """Run one check. Any exception but `RefusedError` breaks the promise; the checks after it go on."""
        try:
            yield
        except RefusedError as reason:
            self.note(promise, SKIPPED, str(reason))
        except BrokenError as error:
            self.note(promise, FAILED, str(error))
        except (Exception, SystemExit) as error:  # third-party code may raise anything
            self.note(promise, FAILED, f"{type(error).__name__}: {one_line(error)}")
        else:
            self.note(promise, OK)

    def note(self, promise: str, status: Status, detail: str = "") -> None:
        self.append(CheckResult(f"{self.task}: {promise}" if self.task else promise, status, detail))


def broken(results: Iterable[CheckResult]) -> list[tuple[str, str]]:
    """(promise, what happened) of each that was broken: `assert broken(check_method(...)) == []`."""
    return [(one.name, one.detail) for one in failures(results)]


def expect(kept: bool, otherwise: str) -> None:
    """Raises BrokenError: with `otherwise`, what happened."""
    if not kept:
        raise BrokenError(otherwise)
