"""Reads rows of JSON and JSON Lines files, with errors that name the line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError
from zoo.runtime.suggest import instead

if TYPE_CHECKING:
    from pandas import DataFrame

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""May be half of a character; the other half may follow."""


def read_json(path: Path) -> DataFrame:
    """A list of objects, or one object per line, under either suffix.

    Our own reader because pandas takes an object for columns, and turns texts into dates and numbers. Half of
    a character of two (`"\\ud83d"`, of a text that was cut off) becomes the sign for one that is not known.

    Raises:
        DataError: it is neither; the message names the line.
        UnicodeDecodeError: it is not UTF-8.
    """
    import pandas as pd

    text = path.read_text(encoding="utf-8-sig")
    rows = _lines(path, text) if path.suffix.lower() == ".jsonl" else _list(path, text)
    return pd.DataFrame(_whole(rows) if _HALF.search(text) else rows)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


def _lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    # splitlines() would split at characters inside texts
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            hint = None
            if line.rstrip().endswith(",") and _is_one_object(line):
                hint = "write one object per line, without a comma at its end"
            elif line.strip() in ("[", "{") or line.lstrip().startswith("["):
                hint = _as_list(path)
            raise DataError(
                f"{path} is not a well-formed jsonl file: line {number}: {error}.", hint
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a {_kind(row)}, not an object.")
        rows.append(row)
    return rows


def _as_list(path: Path) -> str:
    """Renamed, a list is read; other objects over several lines are not."""
    try:
        is_list = isinstance(json.loads(path.read_text(encoding="utf-8-sig")), list)
    except ValueError:
        is_list = False
    renamed = path.with_suffix(".json")
    if not is_list or renamed.exists():
        return "write one object per line"
    return f"{shlex.join(['mv', str(path), str(renamed)])} && {instead(str(renamed), str(path))}"


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
            f"{path} is one json object ({', '.join(list(rows)[:5])}) not a list of rows{inside}.",
            "write [{...}, {...}], or one object per line",
        )
    if not isinstance(rows, list):
        raise DataError(f"{path} is a json {_kind(rows)}, not a list of rows.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: a {_kind(row)}, not an object.")
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
