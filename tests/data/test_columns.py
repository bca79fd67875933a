"""Which columns are meant: what the person says, then the role's own name, then the one common name."""

from __future__ import annotations

import pandas as pd
import pytest

from zoo.data.columns import recognise, with_header
from zoo.errors import DataError

TEXT = ("text", "label")
PAIR = ("sentence1", "sentence2", "label")


def table(*columns: str) -> pd.DataFrame:
    return pd.DataFrame([["x"] * len(columns)], columns=list(columns))


@pytest.mark.parametrize(
    ("roles", "columns", "found"),
    [
        (TEXT, ("label", "text"), {"text": "text", "label": "label"}),
        (TEXT, ("sentence", "label"), {"text": "sentence", "label": "label"}),
        (TEXT, ("id", "Review", "Sentiment"), {"text": "Review", "label": "Sentiment"}),
        (TEXT, ("text", "review", "label", "class"), {"text": "text", "label": "label"}),
        (
            PAIR,
            ("#1 ID", "#1 String", "#2 String", "Quality"),
            {"sentence1": "#1 String", "sentence2": "#2 String", "label": "Quality"},
        ),
        (
            PAIR,
            ("is_duplicate", "question2", "question1"),
            {"sentence1": "question1", "sentence2": "question2", "label": "is_duplicate"},
        ),
        (("text",), ("review",), {"text": "review"}),
    ],
)
def test_a_role_is_its_own_column_or_the_one_of_a_common_name(
    roles: tuple[str, ...], columns: tuple[str, ...], found: dict[str, str]
) -> None:
    assert recognise(table(*columns), roles, {}, "rows.csv") == found


def test_what_the_person_says_goes_before_a_name_that_fits() -> None:
    given = {"text": "title", "label": "class"}
    assert recognise(table("text", "title", "label", "class"), TEXT, given, "rows.csv") == given


@pytest.mark.parametrize(
    ("roles", "columns", "said"),
    [
        (TEXT, ("review", "comment", "label"), "the text: review, comment"),
        (TEXT, ("text", "sentiment", "category"), "the label: sentiment, category"),
        (PAIR, ("text_a", "text_b", "question1", "question2", "label"), "text_a and text_b"),
    ],
)
def test_several_columns_that_could_be_it_are_not_chosen_from(
    roles: tuple[str, ...], columns: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError, match="more than one column that may be") as caught:
        recognise(table(*columns), roles, {}, "rows.csv")
    assert said in str(caught.value)
    assert "--column" in (caught.value.hint or "")


def test_a_role_without_a_column_keeps_its_name_for_the_error_that_follows() -> None:
    assert recognise(table("text", "stars"), TEXT, {}, "rows.csv") == {"text": "text", "label": "label"}


def test_half_a_couple_is_no_couple() -> None:
    assert recognise(table("sentence1", "text2", "label"), PAIR, {}, "x")["sentence2"] == "sentence2"


# headers


def test_a_header_that_is_a_row_becomes_the_first_row() -> None:
    frame = pd.DataFrame([["bad", "0"], ["fine", "1"]], columns=["good", "1"])
    found = with_header(frame, TEXT)
    assert found.to_dict("records") == [
        {"text": "good", "label": "1"},
        {"text": "bad", "label": "0"},
        {"text": "fine", "label": "1"},
    ]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([["bad", "0"], ["fine", "1"]], columns=["text", "stars"]),
        pd.DataFrame([["bad", "0"], ["fine", "1"]], columns=["words", "stars"]),
        pd.DataFrame([["bad", "0", "x"]], columns=["good", "0", "x"]),
        pd.DataFrame([["1", "0"], ["0", "1"]], columns=["1", "0"]),
        pd.DataFrame([[f"{index}", f"{index}"] for index in range(30)], columns=["good", "7"]),
    ],
)
def test_a_header_that_may_be_one_is_left_alone(frame: pd.DataFrame) -> None:
    assert with_header(frame, TEXT) is frame
