"""Evaluates adapters again: each data set is read once, however many of them are evaluated on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from zoo.adapters import forward
from zoo.adapters.load import Adapters, LoadedAdapter, load
from zoo.data.dataset import read_examples, read_splits
from zoo.data.files import Division, Example, divide, fingerprint, pick_rows, picked
from zoo.data.token_cache import encode
from zoo.errors import IncompatibleError, NotFoundError
from zoo.plugins import manager, source
from zoo.plugins.run import Run
from zoo.registry.schema import AdapterRecord, Metric
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.runtime.device import PRECISIONS, choose_precision
from zoo.runtime.logging import quiet_libraries
from zoo.tasks.base import Task

T = TypeVar("T")


@dataclass(frozen=True)
class Scores:
    """The metrics of an adapter beside those of answers that need no model."""

    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    flags: list[str]


def evaluate(
    adapter: str | LoadedAdapter,
    registry: Registry | None = None,
    report: Report | None = None,
    *,
    data: str | None = None,
    columns: dict[str, str] | None = None,
    limit: int | None = None,
    precision: str | None = None,
) -> Scores:
    """Measure on the adapter's own held-out rows, or on every row of other data.

    Args:
        adapter: its name or folder, or what `load` returned.
        registry: where the name is looked up; None is the registry that the command line would use.
        data: other data, as `--data` takes it.
        columns: role -> the column of that data that has it, where it has another name.
        limit: measure on at most this many of these rows: always the same ones, stratified by label.
        precision: `auto`, `bf16` or `fp32`; None is that of the training.

    Raises:
        IncompatibleError: the adapter's own data has changed since, so it may have seen the held-out rows.
        NotFoundError: nobody recorded which data is its own.
        DataError: other data with labels that the adapter does not know.
    """
    report = report or Report()
    loaded = load(adapter, registry, report=report) if isinstance(adapter, str) else adapter
    precision = choose_precision(precision or loaded.record.precision)
    return _measure(loaded, HeldOut(report, data, columns, limit), precision, report)


def evaluate_all(
    names: Sequence[str],
    registry: Registry,
    report: Report | None = None,
    *,
    data: str | None = None,
    columns: dict[str, str] | None = None,
    limit: int | None = None,
    precision: str | None = None,
    base: str | None = None,
    allow_other: bool = False,
) -> Iterator[tuple[str, Scores]]:
    """`evaluate` each in turn, to the same numbers: what they share is read, hashed and encoded once.

    Raises:
        ZooError: what `load` and `evaluate` raise, before the first is measured wherever it can be known.
    """
    report = report or Report()
    if precision not in (None, *PRECISIONS):
        choose_precision(precision)  # raises; that of the others may need torch
    adapters = Adapters(names, registry, base, allow_other, report)
    held_out = HeldOut(report, data, columns, limit)
    for name in names:
        held_out.rows(adapters[name].record, adapters[name].task)
    quiet_libraries(report)
    settled = {name: choose_precision(precision or adapters[name].record.precision) for name in names}
    for name in settled:
        yield name, _measure(adapters.load(name), held_out, settled[name], report)


class HeldOut:
    """Held-out rows of each adapter's own data, or every row of the `data` that is given; at most `limit`."""

    def __init__(
        self,
        report: Report,
        data: str | None = None,
        columns: Mapping[str, str] | None = None,
        limit: int | None = None,
    ):
        self._report, self._data, self._columns, self._limit = report, data, dict(columns or {}), limit
        self._made: dict[Any, Any] = {}

    def rows(self, record: AdapterRecord, task: Task) -> tuple[list[Example], list[Example]]:
        """The rows to measure on, and those that a baseline may know. Errors: see `evaluate`."""
        if self._data is not None:
            data, labels = self._data, record.labels
            every = self._once((task.name, *labels), lambda: self._relabelled(data, labels, task))
            return self._once((task.name, *labels, self._limit), lambda: self._some(data, every, task)), every
        if record.data is None:
            raise NotFoundError(
                f"nobody recorded which rows '{record.name}' was trained and evaluated on.",
                f"zoo evaluate {record.name} --data FILE",
            )
        location, recorded = record.data.location, record.data.n_held_out
        limits = [one for one in (record.spec.eval_limit, self._limit) if one is not None]
        spec = replace(record.spec, eval_limit=min(limits, default=None))
        key = (task.name, location, spec.split, spec.eval_data, tuple(sorted(spec.columns.items())))

        def read() -> tuple[Any, str, Any]:
            self._report.say(f"reading the held-out rows of {location}")
            found = source.resolve(location, (), "data", Report())
            eval_data = source.resolve_eval_data(spec.eval_data, Report())
            splits, _ = read_splits(task, found, spec, self._report, eval_data)
            return splits, fingerprint(splits, task.key), eval_data

        splits, now, eval_data = self._once(key, read)
        if now != record.data.fingerprint:
            raise IncompatibleError(
                f"{location} has changed since '{record.name}' was trained: "
                "it may have seen the held-out rows.",
                f"zoo evaluate {record.name} --data FILE",
            )
        # without a limit the seed chooses nothing
        parts = (*key, spec.limit, spec.eval_limit, spec.seed if spec.limit is not None else None)

        def part() -> Division:
            found = divide(splits, task.key, spec, eval_data)
            if len(found.held_out) < recorded:
                self._report.say(f"evaluating on fewer rows: {found.rule}")
            return found

        division = self._once(parts, part)
        return division.held_out, division.train

    def _some(self, data: str, rows: list[Example], task: Task) -> list[Example]:
        if self._limit is None or self._limit >= len(rows):
            return rows
        found = pick_rows(rows, self._limit, task.key)
        self._report.say(f"evaluating on fewer rows of {data}: {picked(found, rows)}")
        return found

    def encoded(self, loaded: LoadedAdapter) -> Sequence[dict[str, Any]]:
        """The rows to measure on as the model's inputs, once for adapters that share rows and processor."""
        rows, _ = self.rows(loaded.record, loaded.task)
        key = (id(loaded.processor), loaded.max_length, tuple(map(id, rows)))
        # the processor is kept beside, so that its id stays its own
        return self._once(
            key,
            lambda: (
                loaded.processor,
                encode(loaded.task, rows, loaded.processor, loaded.max_length, self._report),
            ),
        )[1]

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def _relabelled(self, data: str, labels: Sequence[str], task: Task) -> list[Example]:
        found = source.resolve(data, (), "data", self._report)
        splits, names = read_examples(task, found, self._columns, self._report)
        task.relabel(splits, names, labels)
        return [row for split in splits.values() for row in split]


def _measure(loaded: LoadedAdapter, held_out: HeldOut, precision: str, report: Report) -> Scores:
    record, task = loaded.record, loaded.task
    train = [{"labels": row.get("label")} for row in held_out.rows(record, task)[1]]
    encoded = held_out.encoded(loaded)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            spec=loaded.config,
            method=loaded.method,
            task=task,
            params=loaded.params,
            model=loaded.model,
            processor=loaded.processor,
            labels=record.labels,
            train=(),
            held_out=encoded,
            folder=Path(folder),
            report=report,
            precision=precision,
        )
        metrics = forward.evaluate_run(manager.hooks(loaded.method, task, forward), run).metrics
    baselines = task.baselines(train, encoded, record.labels)
    flags = task.warnings(metrics, baselines, task.describe_baselines(train, record.labels))
    return Scores(metrics, baselines, flags)
