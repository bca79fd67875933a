"""Runs a model over encoded examples and has the task measure the outputs: the default `zoo_evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.data.batching import by_length
from zoo.models.precision import autocast, fit_cpu, held
from zoo.plugins.hookspecs import hookimpl
from zoo.plugins.run import Evaluation, Run
from zoo.runtime import distributed
from zoo.runtime.console import Report
from zoo.runtime.device import device
from zoo.tasks.base import Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


_LARGER = 2
"""Times the tokens of a training batch: no activation is kept. More gains nothing on a CPU."""


def evaluate_run(hooks: Any, run: Run) -> Evaluation:
    """Ask `zoo_evaluate`; a plugin made for 0.1.0 returns metrics alone and may set `run.outputs`."""
    found = hooks.zoo_evaluate(run=run)
    outputs = vars(run).pop("outputs", None)
    return found if isinstance(found, Evaluation) else Evaluation(found, outputs)


@hookimpl(trylast=True)
def zoo_evaluate(run: Run) -> Evaluation:
    title = f"evaluating {run.spec.name}"
    outputs = forward(
        run.model, run.held_out, run.task, run.processor, run.budget, run.precision, run.report, title
    )
    return Evaluation(run.task.measure(outputs, run.held_out, run.labels), outputs)


def forward(
    model: nn.Module,
    encoded: Sequence[Mapping[str, Any]],
    task: Task,
    processor: Any,
    budget: int,
    precision: str = "fp32",
    report: Report | None = None,
    title: str = "",
) -> np.ndarray:
    """The task's `results` of every example, shape (examples, numbers), float32, in the order of `encoded`.

    Where several processes run, each takes its share of the rows and all get the whole.
    """
    import numpy as np

    mine = range(distributed.rank(), len(encoded), distributed.world_size())
    found: list[tuple[int, np.ndarray]] = []
    with (report or Report()).progress(title, len(mine)) as progress:
        for indexes, outputs, labels in batches(
            model, [encoded[row] for row in mine], task, processor, budget, precision
        ):
            rows_found = task.results(outputs, labels).float().cpu().numpy()
            found += zip((mine[index] for index in indexes), rows_found, strict=True)
            progress.advance(len(indexes))
    found = distributed.gather(found)
    rows: list[np.ndarray | None] = [None] * len(encoded)
    for index, row in found:
        rows[index] = row
    return np.stack([row for row in rows if row is not None])


def batches(
    model: nn.Module,
    encoded: Sequence[Mapping[str, Any]],
    task: Task,
    processor: Any,
    budget: int,
    precision: str,
) -> Iterator[tuple[list[int], Any, Tensor | None]]:
    """(indexes into `encoded`, the model's outputs, the labels) of all rows, by length, without gradients."""
    import torch

    place = device()
    model.to(place).eval()
    fit_cpu(model, precision)
    with held(model, precision):
        for indexes in by_length([one["length"] for one in encoded], _LARGER * budget):
            batch = task.collate([encoded[index] for index in indexes], processor)
            batch = {name: value.to(place) for name, value in batch.items()}
            labels = batch.pop("labels", None)
            with torch.inference_mode(), autocast(place, precision):
                outputs = model(**batch)
            yield indexes, outputs, labels
