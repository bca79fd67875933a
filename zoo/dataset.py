"""The rows of a run: read from a resolved source, made into examples by the task, divided, fingerprinted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data import Division, Example, divide, fingerprint
from zoo.errors import UsageError
from zoo.specs import AdapterSpec, DataId

if TYPE_CHECKING:
    from zoo.report import Report
    from zoo.sources import Resolved
    from zoo.tasks import Task


@dataclass(frozen=True)
class Dataset:
    id: DataId
    labels: list[str]
    division: Division

    @property
    def train(self) -> list[Example]:
        return self.division.train

    @property
    def held_out(self) -> list[Example]:
        return self.division.held_out


def open_dataset(task: Task, data: Resolved, spec: AdapterSpec, report: Report) -> Dataset:
    """
    Raises:
        DataError: rows that cannot be trained on.
    """
    splits, labels = read_examples(task, data, spec.columns, report)
    division = divide_rows(task, splits, spec)
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
    )
    return Dataset(identity, labels, division)


def divide_rows(task: Task, splits: dict[str, list[Example]], spec: AdapterSpec) -> Division:
    """The rows to train on and those to judge by, as the spec asks."""
    return divide(
        splits,
        task.key,
        lambda row: row.get("label"),
        limit=spec.limit,
        eval_limit=spec.eval_limit,
        seed=spec.seed,
    )


def read_examples(
    task: Task, data: Resolved, columns: dict[str, str], report: Report
) -> tuple[dict[str, list[Example]], list[str]]:
    """Every usable row by split, undivided, and the labels' names."""
    unknown = sorted(set(columns) - set(task.columns))
    if unknown:
        raise UsageError(
            f"task '{task.name}' has no column '{unknown[0]}': it has {', '.join(task.columns)}.",
            f"--column {task.columns[0]}=NAME",
        )
    return task.examples(task.frames(data), columns, str(data.path or data.id), report)
