"""A method on a task, set up by the pieces of a real run: what the checks of the kit work on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.adapters import forward
from zoo.data.dataset import Dataset, open_dataset
from zoo.data.token_cache import encode
from zoo.models.fingerprint import identify
from zoo.models.precision import silence_dropout
from zoo.plugins import manager, source
from zoo.plugins.run import Run, RunConfig
from zoo.registry.schema import AdapterSpec, BaseId
from zoo.runtime.console import Progress, Report
from zoo.runtime.device import choose_precision
from zoo.runtime.logging import quiet_libraries
from zoo.training import trainer
from zoo.training.prepare import fitting_length

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from zoo.plugins.method import Method
    from zoo.tasks.base import Task

EPOCHS = 2
_BATCHES = 2
_ROWS = 12
SEED, OTHER_SEED = 0, 1
"""What is drawn freshly when a base is loaded again must not be what was drawn in training."""


def read_data(task: Task, data: Path) -> Dataset:
    """The rows of a file or folder, divided as a run divides them."""
    found = source.resolve(f"path:{data}", (), "data", Report())
    spec = AdapterSpec(method="", task=task.name, limit=_ROWS, eval_limit=_ROWS, seed=SEED)
    return open_dataset(task, found, spec, Report())


@dataclass
class Bench:
    """Everything that a run needs but its model: each model it makes is a fresh one."""

    method: Method
    params: Any
    task: Task
    base: Path
    dataset: Dataset
    folder: Path
    """For checkpoints and adapters; it may be empty or lacking."""

    def __post_init__(self) -> None:
        quiet_libraries()
        self.processor = self.task.load_processor(self.base)

    @property
    def base_id(self) -> BaseId:
        return identify(source.resolve(f"path:{self.base}", (), "base", Report()))

    def fresh(self, number: int = OTHER_SEED, **load_options: Any) -> tuple[nn.Module, list[str]]:
        """The base as the task loads it, and its modules without pretrained weights."""
        from transformers import set_seed

        set_seed(number)
        return self.task.load_model(self.base, self.dataset.labels, **load_options)

    def restored(self, saved: Path, **load_options: Any) -> nn.Module:
        """What `zoo predict` would load, on a base loaded with these options."""
        if not self.method.needs_base:
            model, _ = self.task.load_model(saved, self.dataset.labels)
        else:
            model, _ = self.fresh(**load_options)
        return self.method.restore(model, saved, self.params, self.task).eval()

    def run(self, name: str, *, precision: str = "fp32", resume: bool = False) -> Run:
        """A run with the adapter attached, always from the same random numbers."""
        from transformers import set_seed

        model, head = self.fresh(SEED, **self.method.load_options(self.params))
        config = model.config.get_text_config()
        length = fitting_length(self.method, self.params, self.task, config, self.task.max_length)
        train, held_out = (
            encode(self.task, rows, self.processor, length)
            for rows in (self.dataset.train, self.dataset.held_out)
        )
        if self.method.freezes_base:
            silence_dropout(self.task.backbone(model))
        set_seed(SEED)
        longest = max(one["length"] for one in train)
        return Run(
            spec=RunConfig(
                method=self.method.name,
                task=self.task.name,
                name=name,
                params=vars(self.params),
                epochs=float(EPOCHS),
                learning_rate=self.method.learning_rate,
                batch_tokens=longest * -(-len(train) // _BATCHES),
                max_length=length,
                eval_limit=_ROWS,
                seed=SEED,
                precision=precision,
            ),
            method=self.method,
            task=self.task,
            params=self.params,
            model=self.method.attach(model, self.params, self.task, head),
            processor=self.processor,
            labels=self.dataset.labels,
            train=train,
            held_out=held_out,
            folder=self.folder / name,
            report=Report(),
            precision=choose_precision(precision),
            resume=resume,
        )

    def train(self, run: Run) -> Any:
        """By the engine of real runs, or by the plugins' own."""
        return manager.hooks(self.method, self.task, trainer, forward).zoo_train(run=run)

    def outputs(self, model: nn.Module, rows: Sequence[Mapping[str, Any]], budget: int) -> np.ndarray:
        """What the task keeps of each row, in fp32: shape (rows, numbers)."""
        return forward.forward(model, rows, self.task, self.processor, budget=budget)


def values(model: nn.Module) -> dict[str, tuple[bool, Tensor]]:
    """(is it trained, a copy of what it holds) of each parameter by name, of frozen ones too."""
    return {
        name: (value.requires_grad, value.detach().cpu().clone()) for name, value in model.named_parameters()
    }


@contextmanager
def power_failure_after_checkpoint(run: Run) -> Iterator[None]:
    """End the run in the first step after it has left a checkpoint; one that leaves none goes to its end."""

    class Failing(Progress):
        def advance(self, steps: int = 1, note: str = "") -> None:
            if any(run.folder.glob("checkpoint-*")):
                raise _PowerFailure

    class Watch(Report):
        @contextmanager
        def progress(self, title: str, total: int) -> Iterator[Progress]:
            yield Failing()

    run.report = Watch()
    with suppress(_PowerFailure):
        yield


class _PowerFailure(BaseException):
    """Nobody's `except Exception` may stop it."""
