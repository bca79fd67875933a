"""Estimates the memory that a run needs from shapes alone: a model on the meta device takes none.

It is for choosing a machine: kernels have workspaces, and allocators keep freed memory. It is our own because
accelerate's estimator counts a full model, and neither adapters nor the activations of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.models.precision import settle
from zoo.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

_STATE = 12
"""Bytes per trained element for its gradient and Adam's two moments."""
_PROCESS = 1_400_000_000
"""Bytes of libraries, rows and workspaces, measured on a CPU with a linear probe on a small base."""
_WORKED_ON = 2
"""Factor on the kept activations: the backward pass allocates as much again, and the heap keeps it."""


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    weights: int
    training: int
    """Gradients and the optimizer's state."""
    activations: int | None
    """Kept for the backward pass of one batch; None where the model does not run without weights."""
    loading: int
    """While the base is loaded in float32, before its matrices are rounded."""
    rows: int = 1
    """Examples of the longest kind in a batch: in no more parts can it be computed."""

    @property
    def peak(self) -> int:
        return self.peak_in(1)

    def peak_in(self, parts: int) -> int:
        """Where batches are computed in parts."""
        batch = _WORKED_ON * (self.activations or 0) // parts
        return _PROCESS + max(self.loading, self.weights + self.training + batch)

    def halvings(self, free: int) -> int | None:
        """How often batches are to be halved so that the peak is below `free`; None where it never is."""
        most = self.rows.bit_length()
        return next((number for number in range(most) if self.peak_in(1 << number) <= free), None)


def ceiling(parameters: int, tokens: int) -> int:
    """Bytes that a training takes at most, without a look at the model: enough for one that is small.

    An activation is a sum over products with parameters, so that a token has no more of them than the model
    has parameters, times what is kept beside (norms, dropout, attention of short texts).
    """
    return _PROCESS + parameters * (4 + _STATE) + _WORKED_ON * 4 * parameters * tokens


def estimate(
    model: nn.Module,
    task: Task,
    *,
    tokens: int,
    length: int,
    precision: str,
    load_options: Mapping[str, Any],
    checkpointing: bool = False,
) -> Memory:
    """
    Args:
        model: with the adapter attached, on the meta device; its types are changed.
        tokens: of a batch; `length`: of an example.
    """
    frozen = [value for value in model.parameters() if not value.requires_grad]
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    config = load_options.get("quantization_config")
    # bytes per element of a matrix that is quantised while loading, with its scales
    per_weight = 0.55 if getattr(config, "load_in_4bit", False) else None
    if getattr(config, "load_in_8bit", False):
        per_weight = 1.02
    settle(model, precision)
    held = sum(
        value.numel() * (per_weight if per_weight and value.dim() > 1 else value.element_size())
        for value in frozen
    )
    loading = sum(value.numel() for value in frozen) * (per_weight or 4) + 4 * trained
    return Memory(
        weights=round(held) + 4 * trained,
        training=_STATE * trained,
        activations=_activations(model, task, tokens, length, precision, checkpointing),
        loading=round(loading),
        rows=max(1, tokens // length),
    )


def _activations(
    model: nn.Module, task: Task, tokens: int, length: int, precision: str, checkpointing: bool
) -> int | None:
    """Bytes that autograd keeps of a forward pass, counted by running one on the meta device."""
    import torch

    parameters = {value.untyped_storage()._cdata for value in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in parameters:
            kept[storage._cdata] = storage.nbytes()
            alive.append(value)  # or its address may be reused
        return value

    if checkpointing and hasattr(model, "gradient_checkpointing_enable"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if precision == "bf16":  # autocast does not support the meta device
        model.to(torch.bfloat16)
    model.train()
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            model(**task.blank(tokens, length))
    except Exception:  # a third-party method may read values, which meta tensors lack
        return None
    return sum(kept.values())
