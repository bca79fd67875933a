"""What one training run holds, and what training gives back. Passed whole to every hook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from zoo.plugins.method import Method
    from zoo.registry.schema import AdapterSpec
    from zoo.runtime.console import Report
    from zoo.tasks.base import Task


@dataclass
class Run:
    """One run, complete before the first hook is called."""

    spec: AdapterSpec
    """Every setting resolved: no None is left where training needs a value."""
    method: Method
    task: Task
    params: Any
    """An instance of `method.Params`."""
    model: nn.Module
    """With the adapter attached."""
    processor: Any
    """The tokenizer or processor of the base."""
    labels: Sequence[str]
    train: Sequence[dict[str, Any]]
    """Encoded examples; `length` (tokens) in each."""
    held_out: Sequence[dict[str, Any]]
    folder: Path
    """For checkpoints and other work that need not outlive the run."""
    report: Report
    resume: bool = False
    outputs: Any = None
    """The task's `results` of the held-out rows, as they were last evaluated."""

    @property
    def budget(self) -> int:
        """Tokens in a batch."""
        return self.spec.batch_tokens or self.task.batch_tokens


@dataclass(frozen=True)
class TrainResult:
    steps: int
    loss: float
    """Mean over the last epoch."""
    seconds: float
    examples_per_second: float
    precision: str
