"""What a plugin promises, and what was found of each promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from zoo.errors import IncompatibleError
from zoo.plugins.method import one_line


@dataclass(frozen=True)
class Finding:
    promise: str
    state: str
    """`kept`, `BROKEN`, `refused` (the plugin says why it does not do this, as it may) or `skipped`."""
    happened: str = ""
    task: str = ""
    """On which task, where the promise is about one."""

    def __str__(self) -> str:
        return f"{self.state}: {self.promise}" + (f" ({self.happened})" if self.happened else "")


class BrokenError(Exception):
    """A promise was not kept; the message says what happened instead."""


class RefusedError(Exception):
    """The plugin says in words that it does not do this."""


class Findings(list[Finding]):
    """Collected one after the other: what a promise raises is what happened to it."""

    def __init__(self, task: str = ""):
        super().__init__()
        self.task = task

    @contextmanager
    def promise(self, promise: str) -> Iterator[None]:
        """Run one check. Any exception but `RefusedError` breaks the promise; the checks after it go on."""
        try:
            yield
        except RefusedError as reason:
            self.note(promise, "refused", str(reason))
        except BrokenError as error:
            self.note(promise, "BROKEN", str(error))
        except (Exception, SystemExit) as error:  # a stranger's code may raise anything
            self.note(promise, "BROKEN", f"{type(error).__name__}: {one_line(error)}")
        else:
            self.note(promise, "kept")

    def note(self, promise: str, state: str, happened: str = "") -> None:
        self.append(Finding(promise, state, happened, self.task))


def broken(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """(promise, what happened) of each that was broken: `assert broken(check_method(...)) == []`."""
    return [
        (f"{one.task}: {one.promise}" if one.task else one.promise, one.happened)
        for one in findings
        if one.state == "BROKEN"
    ]


def expect(kept: bool, otherwise: str) -> None:
    """
    Raises:
        BrokenError: with `otherwise`, what happened.
    """
    if not kept:
        raise BrokenError(otherwise)


@contextmanager
def may_refuse() -> Iterator[None]:
    """An IncompatibleError in here is an answer, if it is in words.

    Raises:
        RefusedError: the plugin refused.
        BrokenError: it refused without a word.
    """
    try:
        yield
    except IncompatibleError as error:
        expect(bool(str(error).strip()), "refused without a reason")
        raise RefusedError(str(error)) from error
