"""What a run would do, found out without reading or fetching a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.dataset import open_dataset
from zoo.errors import NotFoundError, UsageError
from zoo.models.families import family
from zoo.models.fingerprint import read_config
from zoo.plugins import source
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries
from zoo.training.plan import Plan, plan, with_free_name

if TYPE_CHECKING:
    from torch import nn

    from zoo.plugins.method import Method
    from zoo.plugins.source import Resolved
    from zoo.tasks.base import Task
    from zoo.training.memory_estimate import Memory

_LEAST_ROOM = 8
"""Tokens of a text that is still a text."""


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
    adapter_bytes: int
    """Of the tensors that will be saved."""
    memory: Memory
    precision: str


def dry_run(spec: AdapterSpec, registry: Registry, report: Report) -> DryRun:
    """Every check of a real run but those that need weights; Hub data is not downloaded."""
    from zoo.runtime.device import choose_precision
    from zoo.training.memory_estimate import estimate

    made = plan(with_free_name(spec, registry))
    spec, task = made.spec, made.task
    precision = choose_precision(spec.precision)
    base = source.resolve(spec.base, task.bases, "base", report, weights=False)
    labels, rows, data, trouble = list(task.labels), "not downloaded, so not counted", None, None
    try:
        data = source.resolve(spec.data, task.data, "data", report, weights=False)
    except NotFoundError as error:
        trouble, rows = str(error), "none"
    if data is not None and data.path is not None:
        eval_data = source.resolve_eval_data(spec.eval_data, report)
        dataset = open_dataset(task, data, spec, report, eval_data)
        labels = dataset.labels
        rows = f"{len(dataset.train):,} to train on, {len(dataset.held_out):,} held out"
    quiet_libraries()
    model = attach_without_weights(made.method, made.params, task, base.folder, labels)
    saved = sum(value.numel() * value.element_size() for value in made.method.state(model).values())
    length = fitting_length(made.method, made.params, task, model, spec.max_length)
    counted = count(model)
    needed = estimate(
        model,
        task,
        tokens=spec.batch_tokens or task.batch_tokens,
        length=length,
        precision=precision,
        load_options=made.method.load_options(made.params),
        checkpointing=spec.gradient_checkpointing,
    )
    return DryRun(spec, base, data, trouble, labels, rows, counted, saved, needed, precision)


def count(model: nn.Module) -> Count:
    """Parameters of a model, tied ones once, quantised ones by the numbers that they stand for."""
    sizes = [(_numbers(value), value.requires_grad) for value in model.parameters()]
    return Count(sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes))


def _numbers(value: nn.Parameter) -> int:
    state = getattr(value, "quant_state", None)  # of bitsandbytes: it holds two numbers in a byte
    return value.numel() if state is None else math.prod(state.shape)


def attach_without_weights(
    method: Method, params: Any, task: Task, folder: Path, labels: Sequence[str]
) -> nn.Module:
    """The adapted model from `folder/config.json`, on the meta device: shapes that take no memory."""
    import torch

    model, head = task.empty_model(folder, labels)
    with torch.device("meta"):
        return method.attach(model, params, task, head)


def check_fit(made: Plan, base: str | None) -> None:
    """Attach the method to the base without weights: what cannot work is said before they are fetched.

    Raises:
        IncompatibleError: the method does not fit the base.
        UsageError: texts have no room beside what the method takes.
    """
    found = source.resolve(base, made.task.bases, "base", Report(), weights=False)
    quiet_libraries()
    labels = made.task.labels or ("0", "1")
    read_config(found.folder)
    model = attach_without_weights(made.method, made.params, made.task, found.folder, labels)
    fitting_length(made.method, made.params, made.task, model, made.spec.max_length)


def fitting_length(method: Method, params: Any, task: Task, model: Any, asked: int | None) -> int:
    """Tokens of a text: what was asked for, or what the base's positions leave room for if that is less.

    Raises:
        UsageError: more was asked for than there is room, or there is none.
    """
    config = model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None)
    asked = asked or task.max_length
    if most is None:
        return asked
    most -= family(config.model_type).reserved_positions
    taken = method.virtual_tokens(params)
    if most - taken < _LEAST_ROOM:
        raise UsageError(
            f"{method.name}: {taken} virtual tokens leave no room for a text "
            f"in the {most} positions of the base.",
            f"-s num_virtual_tokens={min(20, most // 4)}",
        )
    if asked > most - taken and asked != task.max_length:
        beside = f" beside {taken} virtual tokens" if taken else ""
        raise UsageError(
            f"--max-length {asked} is more than the {most - taken} positions of the base{beside}.",
            f"--max-length {most - taken}",
        )
    return int(min(asked, most - taken))
