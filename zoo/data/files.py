"""Reads rows from files, splits off the held-out rows by a fixed rule, and fingerprints them."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.json_rows import read_json
from zoo.errors import DataError, NotFoundError, ZooError
from zoo.runtime.suggest import closest, instead

if TYPE_CHECKING:
    from pandas import DataFrame

    from zoo.plugins.source import Resolved
    from zoo.registry.schema import AdapterSpec

Example = dict[str, Any]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
TRAIN_NAMES = ("train", "training")
HELD_OUT_NAMES = ("test", "validation", "valid", "val", "dev", "eval")
"""Split names in order of preference."""
GIVEN = "eval"
"""The split name of held-out rows from another place."""
CLASS_NAMES = "class_names"
"""In `attrs` of a frame: column -> the names of its classes by number, where the source declares them."""
_SHARD = re.compile(r"(.+)-\d+-of-\d+")
HELD_OUT_SHARE = 0.2
HELD_OUT_MOST = 5000
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class Division:
    train: list[Example]
    held_out: list[Example]
    available: int
    """Training rows before `limit`."""
    rule: str
    """Describes how the held-out rows were chosen."""


def read_frames(path: Path, where: Sequence[tuple[str, str]] = ()) -> dict[str, DataFrame]:
    """The rows by split. A file is `train`; in a folder the first or last word of a file's name is its split,
    and the only file there is `train` where its name has none.

    Raises:
        NotFoundError: there is no data file.
        DataError: a file is not what its suffix says, or no row has the values of `where`.
    """
    if path.is_file():
        frames = {"train": _read_file(path)}
    else:
        files = [file for file in sorted(path.iterdir()) if file.is_file() and _is_data(file)]
        if not files:
            raise NotFoundError(f"{path} holds no data file ({', '.join(SUFFIXES)}).")
        frames = _read_splits(path, files)
    for column, value in where:
        frames = {split: frame[frame[column] == value] for split, frame in frames.items()}
    if not any(map(len, frames.values())):
        raise DataError(f"{path} has no row with {' and '.join(f'{key} = {value}' for key, value in where)}.")
    return frames


def columns_of(frame: DataFrame, wanted: Mapping[str, str], location: str) -> DataFrame:
    """The columns that a task needs, under the task's names.

    Raises:
        DataError: one is missing; the message lists the columns.
    """
    check_columns(frame.columns, wanted, location)
    return frame[list(wanted.values())].set_axis(list(wanted), axis="columns")


def check_columns(columns: Iterable[object], wanted: Mapping[str, str], location: str) -> None:
    """Raises DataError: one of the `wanted` is not there; the message lists those that are."""
    has = list(map(str, columns))
    for role, column in wanted.items():
        if column not in has:
            free = [one for one in has if one not in wanted.values()]
            raise DataError(
                f"{location} has no column '{column}': it has {', '.join(has)}.",
                shlex.join(["--column", f"{role}={closest(column, has) or next(iter(free), 'NAME')}"]),
            )


def divide(
    splits: Mapping[str, list[Example]],
    key: Callable[[Example], str],
    spec: AdapterSpec,
    eval_data: Resolved | None = None,
) -> Division:
    """The training rows and the held-out rows, as the spec asks.

    A test split of the data is used, or the rows of `eval_data`. Otherwise a fifth of the rows, at most
    5,000, is held out, stratified by label: those whose text has the smallest SHA-256. The rule depends on
    neither limit nor seed nor the order of the file, so every run on the same rows has the same held-out
    rows. Training rows with the text of a held-out row are left out.

    Raises:
        DataError: too few rows to divide.
    """
    rows = splits.get("train", [])
    given = next((name for name in HELD_OUT_NAMES if splits.get(name)), None)
    if eval_data and not given:
        raise DataError(f"{eval_data.location} has no usable row to evaluate on.")
    if given:
        apart = splits[given]
        rule = f"the rows of {eval_data.location}" if eval_data else f"the data's own {given} split"
    else:
        if len(rows) < _FEWEST_ROWS:
            raise DataError(
                f"only {len(rows)} usable rows: at least {_FEWEST_ROWS} are needed to hold some out."
            )
        count = min(HELD_OUT_MOST, max(2, round(len(rows) * HELD_OUT_SHARE)))
        apart = pick_rows(rows, count, key)
        rule = f"held out of train: {picked(apart, rows)}"
    held_out = apart
    if spec.eval_limit is not None and spec.eval_limit < len(apart):
        held_out = pick_rows(apart, spec.eval_limit, key)
        rule += f", {picked(held_out, apart)}" if given else f"; of these, {picked(held_out, apart)}"
    # unused held-out rows stay out of training too, so that training does not depend on eval_limit
    seen = {key(row) for row in apart}
    train = [row for row in rows if key(row) not in seen]
    available = len(train)
    if not train:
        raise DataError("no row is left to train on.")
    if spec.limit is not None and spec.limit < available:
        train = pick_rows(train, spec.limit, lambda row: f"{spec.seed}\0{key(row)}")
    return Division(train, held_out, available, rule)


def fingerprint(splits: Mapping[str, list[Example]], key: Callable[[Example], str]) -> str:
    """SHA-256 over every usable row, in order, with its split and label."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        for row in splits[split]:
            digest.update(json.dumps([split, row.get("label"), key(row)]).encode())
    return digest.hexdigest()


def pick_rows(rows: Sequence[Example], count: int, key: Callable[[Example], str]) -> list[Example]:
    """`count` rows with distinct keys and the smallest hashes, stratified by label; in input order."""
    shares = _shares(Counter(row.get("label") for row in rows), count)
    hashes: dict[Any, dict[str, int]] = defaultdict(dict)
    for index, row in enumerate(rows):
        digest = hashlib.sha256(key(row).encode("utf-8", "surrogatepass")).hexdigest()
        hashes[row.get("label")].setdefault(digest, index)
    chosen: set[int] = set()
    taken: set[str] = set()
    for name in sorted(hashes, key=str):
        left = shares[name]
        for digest in sorted(hashes[name]):
            if left and digest not in taken:
                taken.add(digest)
                chosen.add(hashes[name][digest])
                left -= 1
    return [rows[index] for index in sorted(chosen)]


def picked(rows: Sequence[Example], of: Sequence[Example]) -> str:
    """Says how `pick_rows` chose `rows`."""
    return f"{len(rows):,} of {len(of):,} rows by smallest SHA-256, stratified"


def _shares(counts: Counter, total: int) -> dict[Any, int]:
    """Divide `total` in proportion to the counts, by largest remainder."""
    whole = sum(counts.values())
    exact = {name: total * count / whole for name, count in counts.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (shares[name] - exact[name], str(name)))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def _read_splits(folder: Path, files: Sequence[Path]) -> dict[str, DataFrame]:
    import pandas as pd

    parts: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        split = _split_of(file) or ("train" if len(files) == 1 else None)
        if split is None:
            raise DataError(
                f"{file} is not named after its split, as train.csv and test.csv are.",
                instead(str(file), str(folder)),
            )
        if parts[split] and not (_SHARD.fullmatch(file.stem) and _SHARD.fullmatch(parts[split][0].stem)):
            raise DataError(f"{folder} holds two files of the {split} split, {file.name} among them.")
        parts[split].append(file)
    return {split: pd.concat(map(_read_file, shards), ignore_index=True) for split, shards in parts.items()}


def _split_of(file: Path) -> str | None:
    """`train.csv`, `msr_paraphrase_test.txt`, `train-00000-of-00002.parquet` -> `train`, `test`, `train`."""
    stem = file.name.partition(".")[0].lower()
    shard = _SHARD.fullmatch(stem)
    words = re.split(r"[-_ ]", shard[1] if shard else stem)
    named = next((word for word in (words[0], words[-1]) if word in TRAIN_NAMES + HELD_OUT_NAMES), None)
    return "train" if named in TRAIN_NAMES else named


def _is_data(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES or (_split_of(file) is not None and _is_tabbed_text(file))


def _is_tabbed_text(file: Path) -> bool:
    """MRPC's own files are tab-separated and end in .txt."""
    if file.suffix.lower() != ".txt":
        return False
    with file.open("rb") as content:
        return b"\t" in content.readline()


def _read_file(path: Path) -> DataFrame:
    suffix = ".tsv" if _is_tabbed_text(path) else path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path} is not a data file that the zoo reads ({', '.join(SUFFIXES)}).")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    try:
        if suffix in (".csv", ".tsv"):
            frame = _read_separated(path, suffix)
        elif suffix == ".parquet":
            frame = _read_parquet(path)
        else:
            frame = read_json(path)
    except ZooError:
        raise
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 (byte {_first_bad_byte(path)}).", _recode(path)) from None
    except OSError as error:
        raise ZooError(f"{path} cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # pandas and pyarrow raise a dozen kinds for a malformed file
        (reason, *_) = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} is not a well-formed {suffix[1:]} file: {reason}") from None
    if frame.empty:
        raise DataError(f"{path} has no rows.")
    return frame


def _read_separated(path: Path, suffix: str) -> DataFrame:
    """Every cell as text, since a review "NA" or "12" is still a review; lines of unequal length are errors.

    Our own reader because pandas silently drops surplus fields and fills missing ones, and names no line.
    Tab-separated files have no quoting: a quotation mark in MRPC and SST-2 is just a character.
    """
    import pandas as pd

    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8-sig") as file:
        if suffix == ".tsv":
            lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            lines = csv.reader(file, strict=True)
        header = next(lines, [])
        rows = []
        for fields in lines:
            if not fields:  # a blank line
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{path}, line {lines.line_num}: {len(fields)} fields; the header has {len(header)}.",
                    "a text that holds the separator must be quoted" if suffix == ".csv" else None,
                )
            rows.append(fields)
    return pd.DataFrame(rows, columns=header, dtype=str)


def _read_parquet(path: Path) -> DataFrame:
    """Raises pyarrow's ArrowInvalid: a text is not UTF-8, which it would say only where it is used."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    table = parquet.read_table(path)
    table.validate(full=True)
    frame: DataFrame = table.to_pandas()
    return frame


def _recode(path: Path) -> str:
    """The command that writes a copy in UTF-8, and then the same command with it."""
    copy = path.with_name(f"{path.stem}-utf8{path.suffix}")
    if copy.exists():
        return instead(str(copy), str(path))
    with path.open("rb") as file:
        has_utf16_mark = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if has_utf16_mark else "latin1"
    source, target = shlex.quote(str(path)), shlex.quote(str(copy))
    return f"iconv -f {encoding} -t utf-8 {source} > {target} && {instead(str(copy), str(path))}"


def _first_bad_byte(path: Path) -> int:
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return 0
