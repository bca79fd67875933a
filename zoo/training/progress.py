"""Tracks a running training: losses, speed, and whether it was asked to stop."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.plugins.method import Method
from zoo.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

LOOK_SECONDS = 0.25
"""How often the sums are read: each read synchronises with the GPU."""


class Live:
    """Sums of losses and hits, kept on the device and read a few times a second."""

    def __init__(self, task: Task, method: Method, model: nn.Module):
        self._task, self._method, self._model = task, method, model
        self.progress: Any = None
        self.stopping = False
        self.seen = 0
        """Examples, counted in this process."""
        self.seconds = 0.0
        """Training time of the resumed run before this process."""
        self._epoch: tuple[Any, Any] = (0.0, 0.0)
        self._hits: tuple[str, Any, int] = ("", 0, 0)
        self._step: tuple[Any, Any] = (0.0, 0.0)
        """(sum of losses, items) of the step under way."""
        self._looked = 0.0
        self._note = ""

    def epoch_begin(self) -> None:
        self._epoch, self._hits = (0.0, 0.0), ("", 0, 0)

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """The task's loss over one batch; `num_items_in_batch` counts all batches of the step."""
        value = self._task.loss(outputs, labels, num_items_in_batch)
        items = (labels != -100).sum()
        whole = items if num_items_in_batch is None else num_items_in_batch
        total = value.detach() * whole
        self.seen += len(labels)
        self._step = (self._step[0] + total, self._step[1] + items)
        self._epoch = (self._epoch[0] + total, self._epoch[1] + items)
        metric = self._task.live_metric(outputs, labels)
        if metric is not None:
            name, hits, of = metric
            self._hits = (name, self._hits[1] + hits, self._hits[2] + of)
        penalty = self._method.penalty(self._model)
        return value if penalty is None else value + penalty * (items / whole)

    @property
    def mean_loss(self) -> float:
        """Mean over the epoch.

        Raises:
            ZooError: it is not finite.
        """
        return _mean(self._epoch)

    def step_end(self) -> str:
        """The note for the progress line: the last step's loss, and the metric over the epoch so far.

        Raises:
            ZooError: the loss is no longer finite.
        """
        if time.monotonic() - self._looked >= LOOK_SECONDS or not self._note:
            self._note = f"loss {_mean(self._step):.3f}"
            _mean(self._epoch)  # a step that was not looked at may have been the one
            if self._hits[2]:
                self._note += f", training {self._hits[0]} {float(self._hits[1]) / self._hits[2]:.3f}"
            self._looked = time.monotonic()
        self._step = (0.0, 0.0)
        return self._note

    def save(self, path: Path, seconds: float, **used: int) -> None:
        """`used`: settings that changed during the run and that resuming must keep."""
        epoch = [float(part) for part in self._epoch]
        state = {"seconds": seconds, "seen": self.seen, "epoch": epoch, "used": used}
        path.write_text(json.dumps(state), encoding="utf-8")

    def load(self, path: Path) -> dict[str, int]:
        state = json.loads(path.read_text(encoding="utf-8"))
        self.seconds, self.seen, self._epoch = state["seconds"], state["seen"], tuple(state["epoch"])
        used: dict[str, int] = state["used"]
        return used

    @contextmanager
    def stop_after_this_step(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM finishes the step and saves a checkpoint; the second stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(signum: int, frame: Any) -> None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _mean(sums: tuple[Any, Any]) -> float:
    mean = float(sums[0]) / max(1.0, float(sums[1]))
    if not math.isfinite(mean):
        raise ZooError("the loss is no longer a finite number.", "--precision fp32")
    return mean
