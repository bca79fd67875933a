"""Checks rows as a task reads them, before anything is trained."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.data.dataset import frames_of, place
from zoo.data.files import Example, divide
from zoo.errors import DataError, NotFoundError
from zoo.registry.schema import AdapterSpec
from zoo.runtime.checks import FAILED, OK, WARNING, CheckResult
from zoo.runtime.console import RecordingReport
from zoo.runtime.logging import quiet_libraries

if TYPE_CHECKING:
    from zoo.plugins.source import Resolved
    from zoo.tasks.base import Task

_SAMPLE = 1000
"""Rows of a split, at most, whose tokens are counted: lengths need no more, and pictures take time."""
_NO_LIMIT = 1_000_000
_FEW = 5
"""Rows of a label that are too few to learn it from, let alone to evaluate on."""
_MOST = 0.9
"""A share of one label at which accuracy says little."""
_SHOWN = 60
"""Characters of a row in a message."""


@dataclass(frozen=True)
class Lengths:
    median: int
    most: int
    """The 95th percentile."""
    longest: int


@dataclass
class Split:
    name: str
    columns: list[str]
    rows: int
    usable: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    characters: Lengths | None = None
    tokens: Lengths | None = None


@dataclass
class Checked:
    """What was understood of the rows, up to the first failure."""

    task: str
    data: str
    understood: list[str]
    """The task's messages about columns and formats."""
    splits: list[Split]
    base: str | None = None
    """The base whose tokenizer counted."""
    train: int = 0
    held_out: int = 0
    rule: str = ""
    copies: int = 0
    """Duplicate training rows, labels included."""
    contradictions: int = 0
    """Inputs that come with more than one label."""
    leaked: int = 0
    """Training rows whose input is among the held-out rows too."""
    results: list[CheckResult] = field(default_factory=list)
    """What is wrong with the rows; where one failed, nothing can be trained on them."""


def check(
    task: Task,
    spec: AdapterSpec,
    data: Resolved,
    eval_data: Resolved | None = None,
    base: Resolved | None = None,
) -> Checked:
    """Read the rows of `data` as a run of `spec` would.

    Args:
        eval_data: the held-out rows, where they are not part of `data`.
        base: its tokenizer counts tokens; None leaves them uncounted.

    Raises:
        ZooError: there are no rows to check.
    """
    told = RecordingReport()
    frames = frames_of(task, data, spec, told, eval_data)
    shapes = [Split(name, list(map(str, frame.columns)), len(frame)) for name, frame in frames.items()]
    found = Checked(task.name, str(data), told.messages, shapes)
    try:
        splits, names = task.examples(frames, spec.columns, place(data), told)
        try:
            tokens = _tokens(task, splits, base) if base else {}
        except NotFoundError as error:  # a packed default base has no tokenizer until it is unpacked
            if spec.base is not None:
                raise
            found.understood.append(f"tokens are not counted: {error}")
            tokens, base = {}, None
        found.base = str(base) if base else None
        for split in found.splits:
            rows = splits.get(split.name, ())
            split.usable = len(rows)
            split.labels = _balance(rows, names)
            split.characters = _lengths([sum(map(len, task.inputs(row))) for row in rows])
            split.tokens = _lengths(tokens.get(split.name, []))
        found.results += [*_check_copies(task, splits, found), *_check_labels(splits, names, data)]
        limit = spec.max_length or task.max_length
        cut = [length > limit for lengths in tokens.values() for length in lengths]
        if any(cut):
            share = sum(cut) / len(cut)
            detail = f"{share:.1%} of the rows are longer than {limit} tokens and would be cut."
            longest = max(length for lengths in tokens.values() for length in lengths)
            found.results.append(_warning("length", detail, f"--max-length {longest}"))
        division = divide(splits, task.key, spec, eval_data)
        found.train, found.held_out = len(division.train), len(division.held_out)
        found.rule = division.rule
    except DataError as error:
        found.results.append(CheckResult("rows", FAILED, str(error), error.hint or ""))
    found.results[:0] = [_warning("rows", line) for line in told.warnings]
    if not found.results:
        found.results.append(CheckResult("rows", OK, "nothing is wrong that can be seen without training"))
    return found


def _warning(name: str, detail: str, fix: str = "") -> CheckResult:
    return CheckResult(name, WARNING, detail, fix)


def _tokens(task: Task, splits: Mapping[str, Sequence[Example]], base: Resolved) -> dict[str, list[int]]:
    """Tokens of the rows of each split, special ones included."""
    quiet_libraries()
    processor = task.load_processor(base.folder)
    found = {}
    for name, rows in splits.items():
        encoded = task.encode(rows[:: -(-len(rows) // _SAMPLE)], processor, _NO_LIMIT)
        found[name] = [one["length"] for one in encoded]
    return found


def _lengths(lengths: Sequence[int]) -> Lengths | None:
    if not lengths:
        return None
    ordered = sorted(lengths)
    return Lengths(ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100], ordered[-1])


def _balance(rows: Sequence[Example], names: Sequence[str]) -> dict[str, int]:
    counts = Counter(row["label"] for row in rows if "label" in row)
    return {name: counts[index] for index, name in enumerate(names)}


def _check_copies(
    task: Task, splits: Mapping[str, Sequence[Example]], found: Checked
) -> Iterator[CheckResult]:
    """Results on rows that come more than once; their counts go into `found`."""
    train = Counter((task.key(row), row.get("label")) for row in splits.get("train", ()))
    held_out = {task.key(row) for name, rows in splits.items() if name != "train" for row in rows}
    labels: dict[str, set[Any]] = defaultdict(set)
    for rows in splits.values():
        for row in rows:
            labels[task.key(row)].add(row.get("label"))
    torn = [key for key, given in labels.items() if len(given) > 1]
    leaked = [key for (key, _), count in train.items() for _ in range(count) if key in held_out]
    found.copies = sum(train.values()) - len(train)
    found.contradictions, found.leaked = len(torn), len(leaked)
    if found.copies:
        first = next(key for (key, _), count in train.items() if count > 1)
        yield _warning("copies", f"{found.copies} training rows are copies of others, as {_shown(first)}.")
    if torn:
        yield _warning(
            "labels",
            f"{len(torn)} inputs come with more than one label, as {_shown(torn[0])}.",
            "settle on one label for each: nothing can learn both",
        )
    if leaked:
        yield _warning(
            "held-out rows",
            f"{len(leaked)} training rows are among the held-out rows too, as {_shown(leaked[0])}: "
            "they are left out of the training.",
        )


def _check_labels(
    splits: Mapping[str, Sequence[Example]], names: Sequence[str], data: Resolved
) -> Iterator[CheckResult]:
    if not names:
        return
    counts = _balance(splits.get("train", ()), names)
    rare = [f"'{name}' ({count})" for name, count in counts.items() if count < _FEW]
    if rare:
        yield _warning(
            "labels",
            f"too few training rows to learn a label from: {', '.join(rare[:_FEW])}.",
            "more rows of them, or one label for all that are rare",
        )
    name, most = max(counts.items(), key=lambda one: one[1])
    share = most / max(1, sum(counts.values()))
    if share >= _MOST:
        yield _warning("labels", f"{share:.0%} of the rows are '{name}': look at F1, not accuracy.")
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike["".join(filter(str.isalnum, name.casefold()))].append(name)
    for same in alike.values():
        if len(same) > 1:
            yield _warning(
                "labels",
                f"labels that may be meant to be one: {', '.join(map(repr, same))}.",
                f"write them alike in {data.location.removeprefix('path:')}",
            )


def _shown(key: str) -> str:
    line = " ".join(key.split())
    return f"'{line[:_SHOWN]}...'" if len(line) > _SHOWN else f"'{line}'"
