"""Recognises the columns of a table that hold a task's texts and label, where none are named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

LABEL = "label"
_LABELS = {
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "target",
    "quality",
    "goldlabel",
    "isduplicate",
}
_TEXTS = {"text", "sentence", "review", "content", "comment", "document", "message", "body"}
_PAIRS = (
    ("sentence1", "sentence2"),
    ("sentencea", "sentenceb"),
    ("text1", "text2"),
    ("texta", "textb"),
    ("question1", "question2"),
    ("1string", "2string"),  # MRPC's own files: `#1 String`
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("query", "passage"),
)
"""Common names, normalised by `_plain`."""
_MOST_CLASSES = 20
"""Distinct values, at most, of a column that may hold labels."""


def recognise(
    frame: DataFrame, roles: Sequence[str], given: Mapping[str, str], location: str
) -> dict[str, str]:
    """Role -> column: the given one, else the role's own name, else the one column of a common name.

    A role without a column keeps its own name.

    Raises:
        DataError: several columns match.
    """
    names = {str(column): _plain(column) for column in frame.columns}
    found = {role: given.get(role, role) for role in roles}
    free = [role for role in roles if role not in given and role not in names]
    texts = [role for role in free if role != LABEL]
    if texts and len([role for role in roles if role != LABEL]) == 1:
        candidates = {column: {texts[0]: column} for column in names if names[column] in _TEXTS}
        found |= _only(candidates, texts[0], location)
    if len(texts) == 2:
        by_plain = {plain: column for column, plain in names.items()}
        couples = [(by_plain[one], by_plain[two]) for one, two in _PAIRS if {one, two} <= by_plain.keys()]
        candidates = {" and ".join(couple): dict(zip(texts, couple, strict=True)) for couple in couples}
        found |= _only(candidates, texts[0], location)
    if LABEL in free:
        candidates = {column: {LABEL: column} for column in names if names[column] in _LABELS}
        found |= _only(candidates, LABEL, location)
    return found


def with_header(frame: DataFrame, roles: Sequence[str]) -> DataFrame:
    """The frame; where its header is a row of data, with that row and the roles as its header.

    A header is data if it has one column per role, none of a known name, and exactly one cell that occurs
    among the values of its own column, as labels do.
    """
    known = {*map(_plain, roles), *_LABELS, *_TEXTS, *(name for pair in _PAIRS for name in pair)}
    if LABEL not in roles or len(frame.columns) != len(roles) or known & set(map(_plain, frame.columns)):
        return frame
    cells = [set(frame.iloc[:, index].astype(str)) for index in range(len(roles))]
    labels = [
        index
        for index, (name, values) in enumerate(zip(frame.columns, cells, strict=True))
        if str(name) in values and len(values) <= _MOST_CLASSES
    ]
    if len(labels) != 1:
        return frame
    names = [role for role in roles if role != LABEL]
    names.insert(labels[0], LABEL)
    import pandas as pd

    first = pd.DataFrame([list(frame.columns)], columns=names)
    return pd.concat([first, frame.set_axis(names, axis="columns")], ignore_index=True)


def few_values(frame: DataFrame) -> list[str]:
    """Columns that may hold labels: few values, each in several rows."""
    columns = {str(name): frame.iloc[:, at].astype(str) for at, name in enumerate(frame.columns)}
    most = min(_MOST_CLASSES, len(frame) // 2)
    return [name for name, column in columns.items() if 2 <= column.nunique() <= most]


def _only(candidates: Mapping[str, dict[str, str]], role: str, location: str) -> dict[str, str]:
    if len(candidates) > 1:
        raise DataError(
            f"{location} has more than one column that may be the {role}: {', '.join(candidates)}.",
            shlex.join(["--column", f"{role}={next(iter(candidates))}"]),
        )
    return next(iter(candidates.values()), {})


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
