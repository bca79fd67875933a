"""Opens the rows of a run: read, made into examples by the task, split and fingerprinted."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.columns import with_header
from zoo.data.files import GIVEN, HELD_OUT_NAMES, Example, divide, fingerprint
from zoo.errors import DataError, UsageError
from zoo.registry.schema import AdapterSpec, DataId
from zoo.runtime.console import Report
from zoo.runtime.suggest import closest, instead

if TYPE_CHECKING:
    from pandas import DataFrame

    from zoo.plugins.source import Resolved
    from zoo.tasks.base import Task


@dataclass(frozen=True)
class Dataset:
    id: DataId
    labels: list[str]
    train: list[Example]
    held_out: list[Example]


def open_dataset(
    task: Task, data: Resolved, spec: AdapterSpec, report: Report, eval_data: Resolved | None = None
) -> Dataset:
    """
    Args:
        eval_data: the held-out rows, where they are not part of `data`.

    Raises:
        DataError: the rows cannot be trained on.
    """
    splits, labels = read_splits(task, data, spec, report, eval_data)
    division = divide(splits, task.key, spec, eval_data)
    identity = DataId(
        id=data.id,
        source=data.source,
        location=data.location,
        fingerprint=fingerprint(splits, task.key),
        n_train=len(division.train),
        n_train_available=division.available,
        n_held_out=len(division.held_out),
        split=division.rule,
        columns=spec.columns,
        revision=data.revision,
        package=data.package,
        licence=data.licence,
        config=data.config,
        eval_location=eval_data.location if eval_data else None,
    )
    return Dataset(identity, labels, division.train, division.held_out)


def read_splits(
    task: Task, data: Resolved, spec: AdapterSpec, report: Report, eval_data: Resolved | None = None
) -> tuple[dict[str, list[Example]], list[str]]:
    """Usable training rows, as the split `train`, and held-out ones, where any are given."""
    frames = frames_of(task, data, spec, report, eval_data)
    return task.examples(frames, spec.columns, place(data), report)


def frames_of(
    task: Task, data: Resolved, spec: AdapterSpec, report: Report, eval_data: Resolved | None = None
) -> dict[str, DataFrame]:
    """The splits that a run reads: `train`, and held-out ones or the rows of `eval_data`.

    Raises:
        DataError: no split of that name, or none to train on.
    """
    frames = _read(task, data, spec.columns, report)
    train = spec.split or "train"
    if train not in frames and spec.split is None and len(frames) == 1:
        (train,) = frames
        report.say(f"the only split is '{train}': it is the one to train on")
    if train not in frames:
        raise DataError(
            f"{place(data)} has no split '{train}': it has {', '.join(frames)}.",
            f"--split {shlex.quote(next(iter(frames)))}",
        )
    chosen = {"train": frames.pop(train)}
    if eval_data is None:
        return chosen | {name: frames[name] for name in HELD_OUT_NAMES if name in frames}
    given = _read(task, eval_data, spec.columns, report)
    split = next((name for name in HELD_OUT_NAMES if name in given), next(iter(given)))
    return {**chosen, GIVEN: given[split]}


def read_examples(
    task: Task, data: Resolved, columns: dict[str, str], report: Report
) -> tuple[dict[str, list[Example]], list[str]]:
    """Every usable row by split, undivided, and the labels' names."""
    return task.examples(_read(task, data, columns, report), columns, place(data), report)


def _read(task: Task, data: Resolved, columns: dict[str, str], report: Report) -> dict[str, DataFrame]:
    """Every split; a first line that is no header becomes a row, unless columns are named."""
    check_roles(task, columns)
    frames = task.frames(data)
    headed = {name: frame if columns else with_header(frame, task.columns) for name, frame in frames.items()}
    for name, frame in headed.items():
        if frame is not frames[name]:
            report.say(
                f"{place(data)}: {name} has no header; its columns are taken to be {', '.join(frame.columns)}"
            )
    return headed


def check_roles(task: Task, columns: dict[str, str]) -> None:
    """Raises UsageError: a role that the task does not have."""
    unknown = sorted(set(columns) - set(task.columns))
    if unknown:
        near = closest(unknown[0], task.columns) or task.columns[0]
        raise UsageError(
            f"task '{task.name}' has no column '{unknown[0]}': it has {', '.join(task.columns)}.",
            instead(f"{near}={columns[unknown[0]]}", f"{unknown[0]}={columns[unknown[0]]}"),
        )


def place(data: Resolved) -> str:
    """Its name in messages."""
    return str(data.path or data.id)
