"""The promises of a task, each tried on a tiny base and small data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.adapters import forward
from zoo.errors import DataError
from zoo.registry.schema import Metric
from zoo.runtime.checks import OK, CheckResult, failures
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries
from zoo.tasks.base import Task
from zoo.testing.bench import read_data
from zoo.testing.promises import Promises, expect

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

TOLERANCE = 1e-2
"""Of an example's results, alone and in a batch, relative to what sets examples apart: an untrained model
says nearly the same of all, and padding that it sees changes less than a plain tolerance would notice."""
_ROUNDING = 1e-6
_ROWS = 4


def check_task(task: Task, base: Path, data: Path) -> list[CheckResult]:
    """Every promise of a task, kept or not.

    Args:
        base: folder of a small model, such as the fixture `tiny_models` gives.
        data: what `--data` would name.
    """
    quiet_libraries()
    results = Promises()
    with results.promise("it says what it is: a name, a line of summary, bases, data, columns, a metric"):
        _check_declaration(task)
    with results.promise("data without a usable row is refused with a reason"):
        _check_no_rows(task)
    with results.promise("it makes examples of the data, each with a key that stays the same"):
        bench = _Bench(task, base, data)
        _check_examples(bench)
    if results[-1].status != OK:
        return results
    with results.promise("it encodes each example by itself, with its length, and none too long"):
        _check_encoding(bench)
    with results.promise("the model without weights has the shapes of the one with weights"):
        _check_empty_model(bench)
    with results.promise("a batch has labels, a row of them an example"):
        batch = task.collate(bench.rows, bench.processor)
        expect("labels" in batch, "there are no labels")
        labels = batch["labels"]
        expect(len(labels) == len(bench.rows), f"{len(labels)} labels of {len(bench.rows)} examples")
    if failures(results):
        return results  # what comes now needs a model that takes a batch
    with results.promise("the loss is a finite mean, or the sum divided by the number of items given"):
        _check_loss(bench)
    with results.promise("an example's results are the same alone and padded in a batch"):
        _check_padding(bench)
    with results.promise("it measures its primary metric with n and an interval, and so its baselines"):
        _check_measure(bench)
    with results.promise("what is not data gives results too: the inputs of `probe`"):
        encoded = bench.encode(task.probe())
        found = task.results(*bench.outputs(encoded))
        expect(len(found) == len(encoded), f"results of shape {tuple(found.shape)} for {len(encoded)} inputs")
    if type(task).predict is Task.predict:  # else it has another way to what `zoo predict` prints
        with results.promise("its predictions are one an input, and can be printed as JSON"):
            said = task.predictions(bench.results(bench.rows), bench.labels)
            expect(len(said) == len(bench.rows), f"{len(said)} predictions for {len(bench.rows)} inputs")
            json.dumps(said)
    return results


class _Bench:
    """The parts of a run of the task, each made when a check first asks for it."""

    def __init__(self, task: Task, base: Path, data: Path):
        self.task, self.base = task, base
        self.dataset = read_data(task, data)
        self.labels = self.dataset.labels

    @cached_property
    def processor(self) -> Any:
        return self.task.load_processor(self.base)

    @cached_property
    def loaded(self) -> tuple[nn.Module, list[str]]:
        from transformers import set_seed

        set_seed(0)
        return self.task.load_model(self.base, self.labels)

    @property
    def model(self) -> nn.Module:
        return self.loaded[0].eval()

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A few encoded examples of different lengths where there are such."""
        encoded = self.encode(self.dataset.train)
        by_length = sorted(encoded, key=lambda one: int(one["length"]))
        step = max(1, (len(by_length) - 1) // (_ROWS - 1))
        return by_length[::step][:_ROWS]

    def encode(self, examples: Sequence[Any]) -> list[dict[str, Any]]:
        return self.task.encode(examples, self.processor, min(self.task.max_length, self.room))

    @cached_property
    def room(self) -> int:
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", self.task.max_length)) - 2

    def outputs(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, Tensor | None]:
        batch = self.task.collate(rows, self.processor)
        labels = batch.pop("labels", None)
        return self.model(**batch), labels

    def results(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return forward.forward(self.model, rows, self.task, self.processor, budget=10**6)


def _check_declaration(task: Task) -> None:
    for name in ("name", "summary", "primary_metric"):
        value = getattr(task, name, None)
        expect(isinstance(value, str) and bool(value), f"{name} is {value!r}")
    for name, least in (("bases", 1), ("columns", 1), ("data", 0)):  # a task may be for one's own data alone
        value = getattr(task, name, None)
        expect(isinstance(value, tuple) and len(value) >= least, f"{name} is {value!r}, not a tuple of names")
    for name in ("epochs", "max_length", "batch_tokens", "eval_limit"):
        expect(getattr(task, name) > 0, f"{name} is {getattr(task, name)}")
    expect(task.peft_type is None or isinstance(task.peft_type, str), f"peft_type is {task.peft_type!r}")


def _check_no_rows(task: Task) -> None:
    import pandas

    empty = pandas.DataFrame({name: pandas.Series(dtype="object") for name in task.columns})
    try:
        task.examples({"train": empty}, {}, "empty.csv", Report())
    except DataError as error:
        expect(bool(str(error)), "refused without a reason")
        return
    expect(False, "it made examples of no rows")


def _check_examples(bench: _Bench) -> None:
    rows = bench.dataset.train
    expect(bool(rows) and bool(bench.dataset.held_out), "no rows to train on, or none to evaluate on")
    for row in rows:
        key = bench.task.key(row)
        expect(isinstance(key, str) and bool(key), f"a key is {key!r}")
        expect(bench.task.key(dict(row)) == key, "the same row has two keys")
    expect(all(isinstance(name, str) for name in bench.labels), f"labels are {bench.labels!r}")
    labels = {row["label"] for row in rows if "label" in row}
    expect(labels <= set(range(len(bench.labels))), f"label ids are {labels} of {len(bench.labels)} labels")


def _check_encoding(bench: _Bench) -> None:
    examples = bench.dataset.train[:_ROWS]
    together = bench.encode(examples)
    alone = [bench.encode([one])[0] for one in examples]
    expect(len(together) == len(examples), f"{len(examples)} examples became {len(together)}")
    most = min(bench.task.max_length, bench.room)
    for one, other in zip(together, alone, strict=True):
        expect(one.keys() == other.keys() and one["length"] == other["length"], "its neighbours change it")
        expect(isinstance(one["length"], int) and one["length"] > 0, f"a length is {one['length']!r}")
        expect(one["length"] <= most, f"a length is {one['length']} where {most} is the most")


def _check_empty_model(bench: _Bench) -> None:
    empty, _ = bench.task.empty_model(bench.base, bench.labels)
    real = {name: value.shape for name, value in bench.model.named_parameters()}
    shapes = {name: value.shape for name, value in empty.named_parameters()}
    expect(all(value.is_meta for value in empty.parameters()), "it holds weights")
    different = sorted(name for name in real.keys() | shapes.keys() if real.get(name) != shapes.get(name))
    expect(not different, f"{len(different)} parameters differ, {next(iter(different), '')} among them")
    names = {name for name, _ in bench.model.named_modules()}
    lost = [name for name in bench.loaded[1] if name not in names]
    expect(not lost, f"the head names {', '.join(lost)}, which the model does not have")
    backbone = bench.task.backbone(bench.model)
    expect(any(backbone is one for one in bench.model.modules()), "the backbone is no part of the model")


def _check_loss(bench: _Bench) -> None:
    outputs, labels = bench.outputs(bench.rows)
    assert labels is not None
    items = int((labels != -100).sum())
    loss = bench.task.loss(outputs, labels)
    expect(loss.dim() == 0 and loss.requires_grad, "it is no single number with a gradient")
    mean = loss.item()
    expect(math.isfinite(mean), f"it is {mean}")
    told, twice = (bench.task.loss(outputs, labels, number).item() for number in (items, 2 * items))
    expect(math.isclose(told, mean, rel_tol=1e-4), f"{mean}, but {told} of {items} items")
    expect(math.isclose(told, 2 * twice, rel_tol=1e-4), f"{told} of {items} items, {twice} of twice as many")


def _check_padding(bench: _Bench) -> None:
    import numpy as np

    together = bench.results(bench.rows)
    expect(together.ndim == 2 and len(together) == len(bench.rows), f"results of shape {together.shape}")
    alone = np.concatenate([bench.results([row]) for row in bench.rows])
    worst = float(np.abs(together - alone).max())
    apart, largest = float(np.ptp(alone, axis=0).max()), float(np.abs(alone).max())
    expect(
        worst <= TOLERANCE * apart + _ROUNDING * largest,
        f"they differ by {worst:.1e}, where examples differ by {apart:.1e}",
    )


def _check_measure(bench: _Bench) -> None:
    held_out = bench.encode(bench.dataset.held_out)
    metrics = bench.task.measure(bench.results(held_out), held_out, bench.labels)
    names = [metric.name for metric in metrics]
    expect(bench.task.primary_metric in names, f"it measures {', '.join(names)}")
    baselines = bench.task.baselines(bench.encode(bench.dataset.train), held_out, bench.labels)
    for metric in [*metrics, *(metric for found in baselines.values() for metric in found)]:
        expect(isinstance(metric, Metric), f"{metric!r} is no Metric")
        expect(metric.n > 0, f"{metric.name} has n = {metric.n}")
        expect(metric.low <= metric.value <= metric.high, f"{metric.name} is outside its interval")
    described = bench.task.describe_baselines(bench.encode(bench.dataset.train), bench.labels)
    unknown = sorted(described.keys() - baselines.keys() - {"untrained"})
    expect(not unknown, f"it describes baselines that it does not measure: {', '.join(unknown)}")
