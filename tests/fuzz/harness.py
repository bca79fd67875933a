"""Feeds a parser inputs that nobody would write, and says what it may do with them.

A parser returns a value, or refuses by an error of ours or of click, which the command line prints as one
line. It takes no more than `LONGEST` of the processor. `ZOO_FUZZ=50000 pytest tests/fuzz` feeds as many to
each, and other ones each time; by default there are few, and always the same.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable
from functools import lru_cache, wraps
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import click
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import LONGEST_RECIPE, Input, Recipe
from zoo import cli
from zoo.errors import ZooError

LONGEST = 2.0
"""Seconds of a processor for one input."""
QUICK = 50
INPUTS = int(os.environ.get("ZOO_FUZZ", QUICK))
_CONTROLS = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u2029"} - {"\n", "\t"}

P = ParamSpec("P")
T = TypeVar("T")


class Hang(BaseException):
    """An input took longer than `LONGEST`."""


def fuzz(input: Input[Any], *known: Any, share: float = 1.0) -> Callable[[Callable[..., None]], Any]:
    """A test that is called with each of many inputs, as its last argument.

    Many are drawn by a plain loop: what hypothesis remembers of each takes longer than most parsers do.

    Args:
        known: inputs that were once more than the parser could take; they come first.
        share: of the inputs, where each takes long.
    """
    count = max(1, round(INPUTS * share))

    def decorate(test: Callable[..., None]) -> Any:
        signature = inspect.signature(test)
        *others, last = signature.parameters.values()

        @wraps(test)
        def run(**fixtures: Any) -> None:
            def try_one(value: Any) -> None:
                try:
                    test(**fixtures, **{last.name: value})
                except BaseException as error:
                    error.add_note(f"the input: {value!r:.4000}")
                    raise

            def try_recipe(recipe: bytes) -> None:
                try_one(input.make(Recipe(recipe)))

            for value in known:
                try_one(value)
            if count > QUICK:
                for _ in range(count):
                    try_recipe(os.urandom(LONGEST_RECIPE))
            else:
                profile = settings(max_examples=count, derandomize=True, database=None, deadline=None)
                profile(given(st.binary(min_size=8, max_size=LONGEST_RECIPE))(try_recipe))()

        del run.__wrapped__
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def survives(call: Callable[P, T], *args: P.args, **settings: P.kwargs) -> T | None:
    """What `call` returns; None where it refuses, which takes one line."""
    before = signal.signal(signal.SIGVTALRM, _hangs)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        return call(*args, **settings)
    except ZooError as error:
        check_error(str(error), error.hint)
    except click.ClickException as error:
        check_error(error.format_message(), None)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return None


@lru_cache(maxsize=4096)
def check_error(message: str, hint: str | None) -> None:
    """What the command line prints of an error is a line, and the next step another."""
    lines = cli.error_lines(message, hint)
    assert lines[0].removeprefix("Error:").strip(), "an error says something"
    assert not {"\n", "\t"} & {*lines[0]}
    assert len(lines) == (2 if hint else 1)
    for line in lines:
        assert not _CONTROLS & {*line}, repr(line)
        line.encode()  # no half characters, which no terminal takes


def _hangs(signum: int, frame: FrameType | None) -> None:
    raise Hang(f"took more than {LONGEST} s")
