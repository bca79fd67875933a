"""Trains above a frozen backbone on features that are computed once.

Used only where the result is the same: nothing below the head is trained or has dropout, and on a few
examples the logits from cached features equal those from the texts.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.adapters.forward import batches, forward
from zoo.models.precision import autocast
from zoo.plugins.run import Run
from zoo.runtime.console import Progress
from zoo.runtime.device import device

if TYPE_CHECKING:
    from torch import Tensor, nn

_PROBED = 8
"""Examples on which cached and computed logits are compared."""
_TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2}
"""Largest difference of logits, relative to the largest: products of other shapes round differently."""
_OF_TEXT = {"input_ids", "attention_mask", "token_type_ids", "length", "labels"}
_POSITIONS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "first": lambda example: 0,
    "last": lambda example: int(example["length"]) - 1,
}
"""The token whose features a head reads: the first in encoders, the last in decoders. Found by trying."""


@dataclass(frozen=True)
class Above:
    """What is trained: the run's model on its texts, or the same model on its backbone's features."""

    model: nn.Module
    rows: Sequence[Mapping[str, Any]]
    collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]]
    seconds: float = 0.0
    """Time spent on the features."""


@contextmanager
def reuse_frozen_features(run: Run) -> Iterator[Above]:
    """The cached features to train on where that gives the same result, else the run unchanged."""
    start = time.monotonic()
    part = _frozen_part(run)
    position = None if part is None else _position(run, part)
    if part is None or position is None:
        batch = run.task.pack if run.spec.packing else run.task.collate
        yield Above(run.model, run.train, lambda examples: batch(examples, run.processor))
        return
    with run.report.progress("features of the frozen backbone", len(run.train)) as progress:
        rows, kind = _compute(run, run.train, part, position, progress)
    with _answering(run.model, part, kind) as model:
        yield Above(model, rows, _collate, time.monotonic() - start)


def _frozen_part(run: Run) -> nn.Module | None:
    """The largest part of a text model that computes the same for an example in every epoch.

    The whole backbone; where some of it is trained (a pooler that the checkpoint lacks), what precedes that.
    """
    backbone = run.task.backbone(run.model)
    example = run.train[0]
    if backbone is run.model or not set(example) <= _OF_TEXT or isinstance(example.get("labels"), list):
        return None
    if _is_fixed(backbone):
        return backbone
    before = list(itertools.takewhile(_is_fixed, backbone.children()))
    return before[-1] if before else None


def _is_fixed(part: nn.Module) -> bool:
    from torch import nn

    values = list(part.parameters())
    noise = any(isinstance(module, nn.Dropout) and module.p > 0 for module in part.modules())
    return bool(values) and not noise and not any(value.requires_grad for value in values)


def _position(run: Run, part: nn.Module) -> str | None:
    """The only token whose features the rest of the model reads; None if there is no such token.

    None also where trained parameters would be bypassed, such as soft prompts before the backbone.
    """
    import torch

    place = device()
    trained = [value for value in run.model.parameters() if value.requires_grad]
    probe = [run.train[index] for index in range(0, len(run.train), -(-len(run.train) // _PROBED))]
    for position in _POSITIONS:
        rows, kind = _compute(run, probe, part, position, Progress())
        if kind is None:
            return None
        inputs = {name: value.to(place) for name, value in _collate(rows).items() if name != "labels"}
        with _answering(run.model, part, kind) as model, autocast(place, run.precision):
            found = model(**inputs).logits.float()
        if not found.requires_grad:
            return None
        gradients = torch.autograd.grad(found.sum(), trained, allow_unused=True)
        if any(gradient is None for gradient in gradients):
            return None
        outputs = forward(run.model, probe, run.task, run.processor, run.budget, run.precision)
        expected = torch.from_numpy(outputs)
        worst = (found.detach().cpu() - expected).abs().max() / expected.abs().max()
        if worst < _TOLERANCE[run.precision]:
            return position
    return None


def _compute(
    run: Run, examples: Sequence[Mapping[str, Any]], part: nn.Module, position: str, progress: Progress
) -> tuple[list[dict[str, Any]], Any]:
    """Rows of features, and the type of the part's outputs; None for a part that gives no hidden states.

    A row's `hidden` are the features at the position, (width,), and `pooled` where the part gives such.
    """
    seen: list[Any] = []
    rows: list[dict[str, Any]] = [{} for _ in examples]
    with part.register_forward_hook(lambda module, inputs, output: seen.append(output)):
        found = batches(run.model, examples, run.task, run.processor, run.budget, run.precision)
        for indexes, _, _ in found:
            output = seen.pop()
            hidden = getattr(output, "last_hidden_state", None)
            if hidden is None:
                return [], None
            pooled = getattr(output, "pooler_output", None)
            for place, index in enumerate(indexes):
                example = examples[index]
                row = {"hidden": hidden[place, _POSITIONS[position](example)].cpu().clone()}
                if pooled is not None:
                    row["pooled"] = pooled[place].cpu().clone()
                rows[index] = {**row, "labels": example["labels"], "length": example["length"]}
            progress.advance(len(indexes))
    return rows, type(output)


def _collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    import torch

    batch = {
        name: torch.stack([row[name] for row in rows]) for name in ("hidden", "pooled") if name in rows[0]
    }
    return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}


@contextmanager
def _answering(model: nn.Module, part: nn.Module, kind: Any) -> Iterator[nn.Module]:
    """A model that takes rows of features: `part` returns them instead of computing."""
    import torch
    from torch import nn

    given: dict[str, Any] = {}

    @functools.wraps(part.forward)  # PEFT inspects its parameters
    def answer(*args: Any, **kwargs: Any) -> Any:
        pooled = {"pooler_output": given["pooled"]} if "pooled" in given else {}
        return kind(last_hidden_state=given["hidden"][:, None], **pooled)

    class OnFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = model

        def forward(self, **features: Tensor) -> Any:
            given.update(features)
            # one token per example, whose id is not used
            shape = (len(features["hidden"]), 1)
            token = torch.zeros(shape, dtype=torch.long, device=features["hidden"].device)
            return self.whole(input_ids=token, attention_mask=torch.ones_like(token))

    before = part.__dict__.get("forward")
    part.forward = answer
    try:
        yield OnFeatures()
    finally:
        del part.__dict__["forward"]
        if before is not None:
            part.__dict__["forward"] = before
