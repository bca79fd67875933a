"""What a run would do, found out without reading or fetching a weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import sources
from zoo.dataset import open_dataset
from zoo.errors import NotFoundError
from zoo.plan import plan, with_free_name
from zoo.registry import Registry
from zoo.report import Report
from zoo.specs import AdapterSpec

if TYPE_CHECKING:
    from torch import nn

    from zoo.methods import Method
    from zoo.sources import Resolved
    from zoo.tasks import Task


@dataclass(frozen=True)
class Count:
    trainable: int
    total: int

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters ({100 * self.trainable / self.total:.2f}%)"


@dataclass(frozen=True)
class DryRun:
    spec: AdapterSpec
    base: Resolved
    data: Resolved | None
    trouble: str | None
    """Why the run would fail for want of data."""
    labels: list[str]
    rows: str
    count: Count
    precision: str


def dry_run(spec: AdapterSpec, registry: Registry, report: Report) -> DryRun:
    """Every check of a real run but those that need weights; Hub data is not downloaded."""
    from zoo.hardware import choose_precision
    from zoo.quiet import quiet_libraries

    made = plan(with_free_name(spec, registry))
    spec, task = made.spec, made.task
    precision = choose_precision(spec.precision)
    base = sources.resolve(spec.base, task.bases, "base", report, weights=False)
    labels, rows, data, trouble = list(task.labels), "not downloaded, so not counted", None, None
    try:
        data = sources.resolve(spec.data, task.data, "data", report, weights=False)
    except NotFoundError as error:
        trouble, rows = str(error), "none"
    if data is not None and data.path is not None:
        dataset = open_dataset(task, data, spec, report)
        labels = dataset.labels
        rows = f"{len(dataset.train):,} to train on, {len(dataset.held_out):,} held out"
    quiet_libraries()
    counted = count_without_weights(made.method, made.params, task, base.folder, labels)
    return DryRun(spec, base, data, trouble, labels, rows, counted, precision)


def count(model: nn.Module) -> Count:
    """Parameters of a model, tied ones once."""
    sizes = [(value.numel(), value.requires_grad) for value in model.parameters()]
    return Count(sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes))


def count_without_weights(
    method: Method, params: Any, task: Task, folder: Path, labels: Sequence[str]
) -> Count:
    """Exact, from `folder/config.json`, on the meta device: shapes that take no memory."""
    import torch

    model, head = task.empty_model(folder, labels)
    with torch.device("meta"):
        return count(method.attach(model, params, task, head))
