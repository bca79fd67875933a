"""Computes a step in smaller parts after memory ran out, so that nothing of it is lost.

The gradient of a step is a sum over its examples, so that a batch in two halves gives what the whole gives
but for rounding. The step that failed is computed again from its beginning, with the random numbers that it
began with: a run that halves the batches at the same step by plan computes the same.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.plugins.run import Run
from zoo.runtime import distributed
from zoo.training.progress import Live

if TYPE_CHECKING:
    from torch import Tensor, nn

Examples = Sequence[Mapping[str, Any]]
Batch = Mapping[str, Any]


class SmallerBatches:
    """The batches of the step under way, and in how many parts each is computed.

    Args:
        collate: examples -> batch.
        compute: forward and backward of one batch: (model, batch, items of the step) -> loss.
    """

    def __init__(
        self,
        run: Run,
        live: Live,
        collate: Callable[[Examples], Batch],
        compute: Callable[[nn.Module, Batch, Any], Tensor],
    ):
        self._run, self._live, self._collate, self._compute = run, live, collate, compute
        self._parts = 1
        self._coming: deque[Examples] = deque()
        self.batches: list[tuple[Batch, Examples]] = []
        """Of the step under way, as far as it is."""
        self._state: Any = None
        self._before: tuple[Any, ...] = ()
        for _ in live.halved_at:
            self._halve()

    def collate(self, examples: Examples) -> Batch:
        """For the loader, which asks for the batches in the order in which they are computed."""
        self._coming.append(examples)
        return self._collate(examples)

    def step_begin(self, step: int) -> None:
        """Remember how the step begins; halve first what the run is told to."""
        planned, done = (list(one).count(step) for one in (self._run.halved_at, self._live.halved_at))
        at_start = self._run.halve_at_start - len(self._live.halved_at)
        for _ in range(max(planned - done, at_start)):
            self._halve()
            self._live.halved_at.append(step)
        self.batches, self._state = [], _random_state()
        self._before = self._live.step_begin()

    def compute(self, model: nn.Module, batch: Batch, items: Any, step: int) -> Tensor:
        """The loss of one batch, with its gradients added.

        Raises:
            ZooError: memory does not suffice for one example.
        """
        from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

        self.batches.append((batch, self._coming.popleft()))
        try:
            return self._in_parts(model, *self.batches[-1], items)
        except Exception as error:
            if not should_reduce_batch_size(error):
                raise
            problem = error
        while True:
            problem.__traceback__ = None  # its frames hold what was computed
            told = self._more(problem)
            self._run.report.warn(f"out of memory at step {step}: from there on {told}.")
            self._live.halved_at.append(step)
            model.zero_grad()
            gc.collect()
            clear_device_cache()
            _restore(self._state)
            self._live.take_back(self._before)
            try:
                for one, examples in self.batches:
                    loss = self._in_parts(model, one, examples, items)
                return loss
            except Exception as error:
                if not should_reduce_batch_size(error):
                    raise
                problem = error

    def _in_parts(self, model: nn.Module, batch: Batch, examples: Examples, items: Any) -> Tensor:
        size = -(-len(examples) // self._parts)
        if size >= len(examples):
            return self._compute(model, batch, items)
        losses = [
            self._compute(model, self._collate(examples[start : start + size]), items)
            for start in range(0, len(examples), size)
        ]
        return sum(losses[1:], losses[0])

    def _more(self, error: BaseException) -> str:
        """Halve; what is done now, in words."""
        if distributed.world_size() > 1:
            raise ZooError(
                "out of memory, and processes that share a step cannot halve it by themselves.",
                f"--batch-tokens {self._run.budget // 2}",
            ) from error
        largest = max(len(examples) for _, examples in self.batches)
        told = self._halve() if self._run.task.measured_together or self._parts < largest else None
        if told is None:
            tokens = max((one["length"] for one in self._run.train), default=0)
            raise ZooError(
                f"out of memory with one example at a time; the longest has {tokens} tokens.",
                f"--max-length {tokens // 2}"
                if self._run.spec.gradient_checkpointing
                else "--gradient-checkpointing",
            ) from error
        return told

    def _halve(self) -> str | None:
        told = self._run.task.reduce_memory(self._run.model, self._run.budget)
        if told is None and not self._run.task.measured_together:
            self._parts *= 2
            told = f"batches are computed in {self._parts} parts"
        return told


def _random_state() -> tuple[Tensor, list[Tensor]]:
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _restore(state: tuple[Tensor, list[Tensor]]) -> None:
    import torch

    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
