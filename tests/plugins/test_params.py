"""`-s key=value` becomes a typed parameter, or one line that says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from zoo.errors import OptionError
from zoo.plugins import params
from zoo.plugins.method import NoParams

OWNER = "method 'demo'"


@dataclass(frozen=True)
class Params:
    r: int = 8
    dropout: float = 0.1
    bias: bool = False
    targets: tuple[str, ...] | None = None
    ranks: tuple[int, ...] = (4, 8)
    init: Literal["gauss", "zero"] = "gauss"
    note: str = "none"
    alpha: int | None = None

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"r must be at least 1, got {self.r}.")


@dataclass(frozen=True)
class Needy:
    needed: int


def parse(**given: Any) -> Params:
    made = params.parse(Params, given, OWNER)
    assert isinstance(made, Params)
    return made


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert params.split_pairs(("r=16", "note=a=b", " alpha = 32 ")) == {
        "r": "16",
        "note": "a=b",
        "alpha": "32",
    }


def test_the_last_of_two_pairs_with_one_key_wins() -> None:
    assert params.split_pairs(("r=4", "r=16")) == {"r": "16"}


@pytest.mark.parametrize(
    ("pair", "hint"), [("r", "r=VALUE instead of r"), ("=16", None), (" =16", None), ("", None)]
)
def test_a_pair_without_key_or_equals_sign_is_refused(pair: str, hint: str | None) -> None:
    with pytest.raises(OptionError, match="is not key=value") as caught:
        params.split_pairs((pair,))
    assert caught.value.hint == hint


def test_without_pairs_every_default_holds() -> None:
    assert parse() == Params()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("r", "16", 16),
        ("dropout", "0.25", 0.25),
        ("dropout", "1e-3", 1e-3),
        ("dropout", "1", 1.0),
        ("bias", "true", True),
        ("bias", "True", True),
        ("bias", "FALSE", False),
        ("bias", "1", True),
        ("targets", "query,value", ("query", "value")),
        ("targets", " query , value ,", ("query", "value")),
        ("targets", "query", ("query",)),
        ("targets", "none", None),
        ("targets", "None", None),
        ("ranks", "1,2,3", (1, 2, 3)),
        ("init", "zero", "zero"),
        ("note", "none", "none"),
        ("note", "true", "true"),
        ("note", "12", "12"),
        ("alpha", "none", None),
        ("alpha", "32", 32),
    ],
)
def test_text_becomes_the_type_of_its_parameter(key: str, text: str, value: object) -> None:
    found = getattr(parse(**{key: text}), key)
    assert found == value
    assert type(found) is type(value)


def test_values_that_are_typed_already_pass_unchanged() -> None:
    """A record's params go through the same door when an adapter is loaded."""
    given = {"r": 4, "dropout": 0.5, "bias": True, "targets": ["query"], "init": "zero", "alpha": None}
    made = parse(**given)
    assert made == Params(r=4, dropout=0.5, bias=True, targets=("query",), init="zero")


@pytest.mark.parametrize(
    ("key", "text", "wants"),
    [
        ("r", "big", "a whole number"),
        ("r", "1.5", "a whole number"),
        ("r", "", "a whole number"),
        ("r", "none", "a whole number"),
        ("dropout", "little", "a number"),
        ("bias", "perhaps", "true or false"),
        ("init", "one", "gauss|zero"),
        ("alpha", "big", "a whole number"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_is_wanted(key: str, text: str, wants: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(**{key: text})
    assert str(caught.value) == f"'{key}' wants {wants}, got '{text}'."


@pytest.mark.parametrize(
    ("params_type", "given", "message"),
    [
        (Params, {"ranks": "1,two"}, "'ranks' wants int,..., got '1,two'."),
        (
            Params,
            {"droput": "0.2"},
            f"{OWNER} has no parameter 'droput': it has r, dropout, bias, targets, ranks, init, note, alpha."
            " Did you mean 'dropout'?",
        ),
        (NoParams, {"r": "16"}, f"{OWNER} has no parameter 'r': it has none."),
        (Params, {"r": "0"}, f"{OWNER}: r must be at least 1, got 0."),
        (Needy, {}, f"{OWNER}: Needy.__init__() missing 1 required positional argument: 'needed'"),
    ],
    ids=["a member of a list", "unknown", "none are known", "the dataclass refuses", "required"],
)
def test_what_cannot_be_a_parameter_is_refused_in_one_line(
    params_type: type, given: dict[str, str], message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        params.parse(params_type, given, OWNER)
    assert str(caught.value) == message


def test_describe_gives_type_and_default_of_every_parameter() -> None:
    found = params.describe(Params)
    assert {name: (one["type"], one["default"]) for name, one in found.items()} == {
        "r": ("int", "8"),
        "dropout": ("float", "0.1"),
        "bias": ("bool", "False"),
        "targets": ("str,...", "None"),
        "ranks": ("int,...", "4,8"),
        "init": ("gauss|zero", "gauss"),
        "note": ("str", "none"),
        "alpha": ("int", "None"),
    }


def test_describe_leaves_the_default_of_a_needed_parameter_empty() -> None:
    assert params.describe(Needy) == {"needed": {"type": "int", "default": "", "range": "", "help": ""}}
    assert params.describe(NoParams) == {}
