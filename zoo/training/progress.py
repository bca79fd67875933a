"""Tracks a running training: losses, speed, how far it is, and whether it was asked to stop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.plugins.method import Method
from zoo.plugins.run import Run
from zoo.runtime import distributed, signals
from zoo.tasks.base import Task
from zoo.training import runs

if TYPE_CHECKING:
    from torch import Tensor

LOOK_SECONDS = 0.25
"""How often the sums are read: each read synchronises with the GPU."""
_NOTE_SECONDS = 2.0
"""How often `zoo runs` hears how far it is."""
_STOPPING = "stopping: a checkpoint is saved at the end of this step; once more stops at once"


class Live:
    """Sums of losses and hits, kept on the device and read a few times a second."""

    def __init__(self, run: Run):
        self._run = run
        self._task: Task = run.task
        self._method: Method = run.method
        self.progress: Any = None
        self.stopping = False
        self.seen = 0
        """Examples, counted in this process."""
        self.halved_at: list[int] = []
        """Steps before which the batches were halved, from then on."""
        self._before = 0.0
        self._start = time.monotonic()
        self._epoch: tuple[Any, Any] = (0.0, 0.0)
        self._hits: tuple[str, Any, int] = ("", 0, 0)
        self.step: tuple[Any, Any] = (0.0, 0.0)
        """(sum of losses, items) of the step under way."""
        self._looked = self._noted = 0.0
        self._note = ""

    @property
    def seconds(self) -> float:
        """Of training, with those before the run was resumed."""
        return self._before + time.monotonic() - self._start

    def epoch_begin(self) -> None:
        self._epoch, self._hits = (0.0, 0.0), ("", 0, 0)

    def step_begin(self) -> tuple[Any, ...]:
        """What `take_back` needs, so that the step can be computed again."""
        self.step = (0.0, 0.0)
        return self._epoch, self._hits, self.seen

    def take_back(self, before: tuple[Any, ...]) -> None:
        self.step = (0.0, 0.0)
        self._epoch, self._hits, self.seen = before

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """The task's loss over one batch; `num_items_in_batch` counts all batches of the step."""
        value = self._task.loss(outputs, labels, num_items_in_batch)
        items = (labels != -100).sum()
        whole = items if num_items_in_batch is None else num_items_in_batch
        total = value.detach() * whole
        self.seen += len(labels)
        self.step = (self.step[0] + total, self.step[1] + items)
        self._epoch = (self._epoch[0] + total, self._epoch[1] + items)
        metric = self._task.live_metric(outputs, labels)
        if metric is not None:
            name, hits, of = metric
            self._hits = (name, self._hits[1] + hits, self._hits[2] + of)
        penalty = self._method.penalty(self._run.model)
        return value if penalty is None else value + penalty * (items / whole)

    @property
    def mean_loss(self) -> float:
        """Over the epoch."""
        return _mean(self._epoch)

    def step_end(self, done: int, total: int) -> str:
        """The note for the progress line: the last step's loss, and the metric over the epoch so far."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS or not self._note:
            self._note = f"loss {_mean(self.step):.3f}"
            if self._hits[2]:
                self._note += f", training {self._hits[0]} {float(self._hits[1]) / self._hits[2]:.3f}"
            self._looked = now
            if distributed.is_main() and runs.is_asked_to_stop(self._run.folder.parent):
                signals.ask()
                self.stopping = True
        if now - self._noted >= _NOTE_SECONDS and distributed.is_main():
            runs.note_progress(self._run.folder.parent, done, total)
            self._noted = now
        return self._note

    def save(self, path: Path) -> None:
        epoch = [float(part) for part in self._epoch]
        state = {"seconds": self.seconds, "seen": self.seen, "epoch": epoch, "halved_at": self.halved_at}
        path.write_text(json.dumps(state), encoding="utf-8")

    def load(self, path: Path) -> None:
        state = json.loads(path.read_text(encoding="utf-8"))
        self._before, self.seen, self._epoch = state["seconds"], state["seen"], tuple(state["epoch"])
        self.halved_at = state["halved_at"]

    @contextmanager
    def stop_after_this_step(self) -> Iterator[None]:
        """The first signal finishes the step and saves a checkpoint; the second stops at once."""

        def ask() -> None:
            self.stopping = True
            try:
                self._run.report.say(_STOPPING)
            except RuntimeError:  # the signal came while a line was being printed
                os.write(2, f"\n{_STOPPING}\n".encode())

        with signals.handled_by(ask):
            yield


def _mean(sums: tuple[Any, Any]) -> float:
    return float(sums[0]) / max(1.0, float(sums[1]))
