"""The default `zoo_evaluate`: run a model over encoded examples and let the task measure the outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.batching import by_length
from zoo.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from zoo.report import Report
    from zoo.run import Run
    from zoo.specs import Metric
    from zoo.tasks import Task


_LARGER = 4


@hookimpl(trylast=True)
def zoo_evaluate(run: Run) -> list[Metric]:
    from zoo.hardware import choose_precision

    outputs = forward(
        run.model,
        run.held_out,
        run.task,
        run.processor,
        budget=run.spec.batch_tokens or run.task.batch_tokens,
        precision=choose_precision(run.spec.precision),
        report=run.report,
        title="evaluating",
    )
    return run.task.measure(outputs, run.held_out, run.labels)


def forward(
    model: nn.Module,
    encoded: Sequence[Mapping[str, Any]],
    task: Task,
    processor: Any,
    *,
    budget: int,
    precision: str,
    report: Report,
    title: str,
) -> np.ndarray:
    """The model's logits, shape (examples, labels), float32, in the order of `encoded`.

    Batches are made by length and may hold four times the tokens of a training batch: no activation is kept.
    """
    import numpy as np
    import torch

    from zoo.hardware import device

    place = device()
    model.to(place).eval()
    cast: Any = (
        torch.autocast(place.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    )
    rows: list[np.ndarray | None] = [None] * len(encoded)
    with report.progress(title, len(encoded)) as progress, torch.inference_mode(), cast:
        for indexes in by_length([one["length"] for one in encoded], _LARGER * budget):
            batch = task.collate([encoded[index] for index in indexes], processor)
            batch.pop("labels", None)
            logits = (
                model(**{name: value.to(place) for name, value in batch.items()}).logits.float().cpu().numpy()
            )
            for index, row in zip(indexes, logits, strict=True):
                rows[index] = row
            progress.advance(len(indexes))
    return np.stack([row for row in rows if row is not None])
