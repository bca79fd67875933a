"""The tree that the docstring draws is the tree that the code has."""

from __future__ import annotations

import inspect
import re

import pytest

from zoo import errors
from zoo.errors import ZooError
from zoo.runtime.suggest import did_you_mean

_LINE = re.compile(r"^    (?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+) +exit (?P<code>\d+)   \S", re.MULTILINE)


def drawn() -> list[tuple[str, str | None, int]]:
    """(name, parent, exit code) of each line of the docstring's tree."""
    found: list[tuple[str, str | None, int]] = []
    above: list[tuple[int, str]] = []
    for line in _LINE.finditer(errors.__doc__ or ""):
        depth = len(line["indent"])
        while above and above[-1][0] >= depth:
            above.pop()
        found.append((line["name"], above[-1][1] if above else None, int(line["code"])))
        above.append((depth, line["name"]))
    return found


@pytest.mark.parametrize(("name", "parent", "code"), drawn(), ids=lambda value: str(value))
def test_a_class_of_the_drawn_tree_exists_with_that_parent_and_exit_code(
    name: str, parent: str | None, code: int
) -> None:
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert kind.__bases__ == ((getattr(errors, parent) if parent else Exception),)


def test_every_class_of_the_tree_is_drawn() -> None:
    defined = {
        name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ZooError)
    }
    assert {name for name, _, _ in drawn()} == defined


def test_an_error_carries_its_message_and_the_next_step() -> None:
    error = ZooError("it failed.", "zoo list")
    assert str(error) == "it failed."
    assert error.hint == "zoo list"
    assert ZooError("it failed.").hint is None


def test_an_interruption_is_not_a_failure() -> None:
    """`except ZooError` and `except Exception` must both let Ctrl-C through."""
    stopped = errors.Interrupted("stopped after step 3.", "--resume")
    assert isinstance(stopped, KeyboardInterrupt)
    assert not isinstance(stopped, Exception)
    assert (str(stopped), stopped.hint) == ("stopped after step 3.", "--resume")


def test_a_near_word_is_suggested() -> None:
    assert did_you_mean("lroa", ["full", "head", "lora"]) == " Did you mean 'lora'?"


@pytest.mark.parametrize("known", [[], ["full", "head"]])
def test_nothing_is_suggested_when_no_word_is_near(known: list[str]) -> None:
    assert did_you_mean("quantise", known) == ""


def test_any_iterable_of_words_will_do() -> None:
    assert did_you_mean("ful", (word for word in ("full",))) == " Did you mean 'full'?"
    assert did_you_mean("ful", {"full": 1}) == " Did you mean 'full'?"
