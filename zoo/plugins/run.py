"""Holds one run, as every hook gets it, and what training and evaluation return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.registry.schema import AdapterSpec

if TYPE_CHECKING:
    from torch import nn

    from zoo.plugins.method import Method
    from zoo.registry.schema import Metric
    from zoo.runtime.console import Report
    from zoo.tasks.base import Task


class RunConfig(AdapterSpec, frozen=True, kw_only=True):
    """A spec with every default filled in: no None is left where training needs a value."""

    name: str
    epochs: float
    learning_rate: float
    batch_tokens: int
    max_length: int
    eval_limit: int
    threads: int = 0
    """0 is as many as torch takes, until `prepare` has asked it."""

    @classmethod
    def of(cls, spec: AdapterSpec, method: Method, task: Task, **settled: Any) -> RunConfig:
        """`settled` replaces settings; what is still None gets the default of the method or the task."""
        asked = {field: getattr(spec, field) for field in spec.__struct_fields__} | settled
        defaults = {
            "name": f"{spec.method}-{spec.task}",
            "epochs": task.epochs,
            "learning_rate": method.learning_rate,
            "batch_tokens": task.batch_tokens,
            "max_length": task.max_length,
            "eval_limit": task.eval_limit,
            "threads": 0,
        }
        return cls(**asked | {name: value for name, value in defaults.items() if asked[name] is None})

    def as_spec(self) -> AdapterSpec:
        """As a record keeps it."""
        return AdapterSpec(**{field: getattr(self, field) for field in self.__struct_fields__})


@dataclass
class Run:
    """One run, complete before the first hook is called."""

    spec: RunConfig
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
    precision: str
    """`bf16` or `fp32`: what `spec.precision` comes to on this machine."""
    resume: bool = False
    """Go on from the newest checkpoint in `folder`."""
    id: str = ""
    """That `zoo runs` lists and `zoo resume` takes."""
    halved_at: Sequence[int] = ()
    """Steps before which batches are to be halved, each once: an earlier run found what memory allows."""
    halve_at_start: int = 0
    """How often batches are to be halved from the first step on, because memory does not suffice."""
    tracker: str = "none"
    """The experiment tracker that hears of the training, as transformers' `report_to` calls it."""

    @property
    def budget(self) -> int:
        """Tokens in a batch."""
        return self.spec.batch_tokens


@dataclass(frozen=True)
class Evaluation:
    """What `zoo_evaluate` returns."""

    metrics: list[Metric]
    outputs: Any = None
    """The task's `results` of the held-out rows, an array of (rows, numbers); None where there is none."""


@dataclass(frozen=True)
class TrainResult:
    steps: int
    loss: float
    """Mean over the last epoch."""
    seconds: float
    examples_per_second: float
    precision: str
    halved_at: Sequence[int] = ()
    """Steps before which the batches were halved, because memory ran out."""
