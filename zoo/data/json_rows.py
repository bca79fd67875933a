"""Rows of JSON and JSON-lines files, read so that what is wrong is said with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame


def read_json(path: Path) -> DataFrame:
    """A list of objects, or an object a line, whichever of the two suffixes it has.

    pandas reads an object as a table of columns, makes dates of texts and numbers of words.

    Raises:
        DataError: it is neither; the message names the line.
        UnicodeDecodeError: it is not UTF-8.
    """
    import pandas as pd

    text = path.read_text(encoding="utf-8-sig")
    return pd.DataFrame(_lines(path, text) if path.suffix.lower() == ".jsonl" else _list(path, text))


def _lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    # splitlines() would cut at characters that are inside of texts
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            hint = None
            if line.rstrip().endswith(",") and _is_one_object(line):
                hint = "each line is an object by itself: take the commas off the ends of the lines"
            elif line.strip() in ("[", "{") or line.lstrip().startswith("["):
                hint = f"one object a line; a list of objects goes into a .json file: {path.stem}.json"
            raise DataError(
                f"{path} is not a well-formed jsonl file: line {number}: {error}.", hint
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a {_kind(row)}, and not an object.")
        rows.append(row)
    return rows


def _list(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        if _is_one_object(text.strip().partition("\n")[0]):
            return _lines(path, text)
        raise DataError(f"{path} is not a well-formed json file: {error}.") from None
    if isinstance(rows, dict):
        within = [key for key, value in rows.items() if isinstance(value, list)]
        inside = f"; under {within[0]!r} it has a list" if within else ""
        raise DataError(
            f"{path} is one json object ({', '.join(list(rows)[:5])}) and not a list of rows{inside}.",
            "a file with [{...}, {...}], or with an object a line",
        )
    if not isinstance(rows, list):
        raise DataError(f"{path} is a json {_kind(rows)} and not a list of rows.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: a {_kind(row)}, and not an object.")
    return rows


def _is_one_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line.strip().rstrip(",")), dict)
    except ValueError:
        return False


def _kind(value: Any) -> str:
    return {"str": "text", "int": "number", "float": "number", "NoneType": "null", "bool": "truth value"}.get(
        type(value).__name__, type(value).__name__
    )
