"""Saves the state of a trainer as a checkpoint; a disk that is full does not end the training."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from zoo.plugins.method import one_line
from zoo.plugins.run import Run
from zoo.runtime import distributed
from zoo.runtime.files import is_disk_full
from zoo.training import checkpoints
from zoo.training.progress import Live

LIVE_FILE = "live.json"
EVERY_SECONDS = 300.0
"""Between two checkpoints within an epoch."""
AGAIN_SECONDS = 60.0
"""Until one that could not be written is tried again."""


class Saving:
    """When a checkpoint is due, and how it is written: by every process, and completed by the first."""

    def __init__(self, run: Run, live: Live):
        self._run, self._live = run, live
        self._due = time.monotonic() + EVERY_SECONDS
        self._whole: set[Path] = set()

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def save(self, trainer: Any) -> None:
        """Write a checkpoint of the step that is done; warn where that is not possible."""
        folder, step = self._run.folder, trainer.state.global_step
        if any(checkpoints.step_of(one) == step for one in self._whole):
            return  # the end of an epoch, just after another reason
        problem = self._try(lambda: checkpoints.begin(folder, step), distributed.is_main())
        if not problem:
            problem = self._try(lambda: self._write(trainer, checkpoints.beside(folder, step)))
        if not problem:
            problem = self._try(
                lambda: checkpoints.finish(checkpoints.beside(folder, step), self._whole),
                distributed.is_main(),
            )
        self._due = time.monotonic() + EVERY_SECONDS
        if problem:
            self._due = time.monotonic() + AGAIN_SECONDS
            if distributed.is_main():
                checkpoints.abandon(folder)
            self._run.report.warn(f"the checkpoint of step {step} could not be written: {problem}.")

    def _try(self, action: Any, here: bool = True) -> str:
        """Why it failed in one of the processes; nothing where it did not."""
        problem = ""
        if here:
            from safetensors import SafetensorError

            try:
                action()
            except (OSError, RuntimeError, SafetensorError) as error:  # torch.save raises RuntimeError
                reason = os.strerror(errno.ENOSPC) if is_disk_full(error) else None
                problem = reason or one_line(error)
        return next(filter(None, distributed.gather([problem])), "")

    def _write(self, trainer: Any, folder: Path) -> None:
        from transformers.trainer import TRAINER_STATE_NAME
        from transformers.trainer_callback import ExportableState

        if distributed.is_main():
            trainer._save(str(folder))
            for one in [*trainer.callback_handler.callbacks, trainer.control]:
                if isinstance(one, ExportableState):
                    trainer.state.stateful_callbacks[type(one).__name__] = one.state()
            trainer.state.save_to_json(str(folder / TRAINER_STATE_NAME))
            self._live.save(folder / LIVE_FILE)
        trainer._save_optimizer_and_scheduler(str(folder))
        trainer._save_scaler(str(folder))
        trainer._save_rng_state(str(folder))
