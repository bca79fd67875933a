"""The default `zoo_train`: the HF Trainer with token-budget batches and checkpoints of what is trained.

The Trainer keeps the loop, so that accelerate's devices, resuming and schedules work; what is ours is which
examples share a batch, the loss (summed and divided by the examples of all accumulated batches, so that a
batch of few long texts weighs what it should), the progress line, and stopping cleanly on Ctrl-C.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.batching import TokenBudgetBatches
from zoo.errors import Interrupted, NotFoundError, ZooError
from zoo.hardware import choose_precision, device
from zoo.hookspecs import hookimpl
from zoo.run import Run, TrainResult

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHT_DECAY = 0.01
WARMUP_SHARE = 0.06
CHECKPOINT_SECONDS = 300.0
_CHECKPOINT_FILE = "trained.safetensors"
_LIVE_FILE = "live.json"


@hookimpl(trylast=True)
def zoo_train(run: Run) -> TrainResult:
    from transformers import TrainingArguments

    precision = choose_precision(run.spec.precision)
    arguments = TrainingArguments(
        output_dir=str(run.folder),
        num_train_epochs=run.spec.epochs,
        learning_rate=run.spec.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=WARMUP_SHARE,
        weight_decay=WEIGHT_DECAY,
        optim="adamw_torch_fused",
        seed=run.spec.seed,
        bf16=precision == "bf16",
        use_cpu=device().type == "cpu",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device().type == "cuda",
    )
    live = _Live(run)
    trainer = _make_trainer(run, arguments, live)
    checkpoint = _last_checkpoint(run.folder) if run.resume else None
    if run.resume and checkpoint is None:
        raise NotFoundError(
            f"there is no checkpoint of '{run.spec.name}' to resume from.", "leave out --resume"
        )
    if checkpoint is not None:
        live.load(checkpoint / _LIVE_FILE)
        run.report.say(f"resuming from {checkpoint.name}")
    else:
        shutil.rmtree(run.folder, ignore_errors=True)
    budget = run.spec.batch_tokens or run.task.batch_tokens
    longer = sum(one["length"] > budget for one in run.train)
    if longer:
        run.report.warn(f"{longer} examples have more than {budget} tokens: each is a batch of its own.")
    steps = len(trainer.get_train_dataloader())
    total = max(1, math.ceil(steps * float(run.spec.epochs or 1)))
    done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    start = time.monotonic()
    with _stop_after_this_step(live), run.report.progress("training", total - done) as progress:
        live.progress = progress
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = live.seconds + time.monotonic() - start
    if live.stopping:
        raise Interrupted(
            f"stopped at step {output.global_step} of {total}; nothing was registered.",
            f"the same command with --name {run.spec.name} --resume goes on from there",
        )
    return TrainResult(
        steps=output.global_step,
        loss=live.mean_loss,
        seconds=seconds,
        examples_per_second=live.seen / seconds,
        precision=precision,
    )


def silence_dropout(trunk: nn.Module) -> None:
    """Turn off every dropout of a trunk that will be frozen. Call it before an adapter brings its own.

    Noise in frozen weights regularises nothing that is trained, and on a CPU it costs more than the
    arithmetic: it keeps attention off its fast path.
    """
    from torch import nn

    for module in trunk.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            # transformers keeps some rates as plain attributes: attention_dropout, layerdrop, dropout_prob
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


class _Live:
    """What the progress line shows, and whether the person wants to stop."""

    def __init__(self, run: Run):
        self._task = run.task
        self.progress: Any = None
        self.stopping = False
        self.seen = 0
        self.seconds = 0.0
        """Trained before this process, by the run that is resumed."""
        self._step = (0.0, 0)
        """(sum of losses, examples) of the step under way."""
        self.epoch_begin()

    def epoch_begin(self) -> None:
        self._epoch = (0.0, 0)
        self._hits = ("", 0, 0)

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """The task's loss, with its value and the live metric kept for the progress line."""
        value = self._task.loss(outputs, labels, num_items_in_batch)
        n = len(labels)
        share = 1.0 if num_items_in_batch is None else n / float(num_items_in_batch)
        mean = float(value.detach()) / share
        if not math.isfinite(mean):
            raise ZooError("the loss is no longer a finite number.", "a smaller --lr, or --precision fp32")
        self.seen += n
        self._step = (self._step[0] + mean * n, self._step[1] + n)
        self._epoch = (self._epoch[0] + mean * n, self._epoch[1] + n)
        metric = self._task.live_metric(outputs, labels)
        if metric is not None:
            name, hits, of = metric
            self._hits = (name, self._hits[1] + hits, self._hits[2] + of)
        return value

    @property
    def mean_loss(self) -> float:
        return self._epoch[0] / max(1, self._epoch[1])

    def save(self, path: Path, seconds: float) -> None:
        state = {"seconds": seconds, "seen": self.seen, "epoch": self._epoch}
        path.write_text(json.dumps(state), encoding="utf-8")

    def load(self, path: Path) -> None:
        state = json.loads(path.read_text(encoding="utf-8"))
        self.seconds, self.seen, self._epoch = state["seconds"], state["seen"], tuple(state["epoch"])

    def step_end(self) -> str:
        """The note for the progress line: this step's loss, and the metric over the epoch so far."""
        note = f"loss {self._step[0] / max(1, self._step[1]):.3f}"
        if self._hits[2]:
            note += f", training {self._hits[0]} {self._hits[1] / self._hits[2]:.3f}"
        self._step = (0.0, 0)
        return note


def _make_trainer(run: Run, arguments: Any, live: _Live) -> Any:
    """The Trainer subclass, made here because naming its base imports torch."""
    from safetensors.torch import load_file, save_file
    from torch.utils.data import DataLoader
    from transformers import PrinterCallback, Trainer, TrainerCallback

    class Callback(TrainerCallback):
        start = saved = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            live.progress.advance(note=live.step_end())
            if live.stopping:
                control.should_save = control.should_training_stop = True
            elif time.monotonic() - self.saved > CHECKPOINT_SECONDS:
                control.should_save = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.saved = time.monotonic()
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            live.save(folder / _LIVE_FILE, live.seconds + self.saved - self.start)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % max(1, state.max_steps // max(1, round(args.num_train_epochs))) == 0:
                live.epoch_begin()

    class TokenBudgetTrainer(Trainer):
        def get_train_dataloader(self) -> Any:
            batches = TokenBudgetBatches(
                [one["length"] for one in run.train],
                run.spec.batch_tokens or run.task.batch_tokens,
                seed=run.spec.seed,
            )
            loader = DataLoader(
                run.train,
                batch_sampler=batches,
                collate_fn=lambda examples: run.task.collate(examples, run.processor),
                pin_memory=arguments.dataloader_pin_memory,
            )
            return self.accelerator.prepare(loader)

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            # a checkpoint holds what is trained: the base lies elsewhere and does not change
            folder = Path(output_dir or arguments.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            model = self.accelerator.unwrap_model(self.model)
            trained = {
                n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad
            }
            save_file(trained, folder / _CHECKPOINT_FILE)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            trained = load_file(Path(resume_from_checkpoint) / _CHECKPOINT_FILE)
            target = model if model is not None else self.model
            unexpected = target.load_state_dict(trained, strict=False).unexpected_keys
            if unexpected:
                raise ZooError(
                    f"the checkpoint is of another model: it holds {unexpected[0]}.", "leave out --resume"
                )

    trainer = TokenBudgetTrainer(
        model=run.model,
        args=arguments,
        train_dataset=run.train,
        compute_loss_func=live.loss,
        callbacks=[Callback()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextmanager
def _stop_after_this_step(live: _Live) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM finishes the step and saves a checkpoint; the second stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signum: int, frame: Any) -> None:
        if live.stopping:
            raise KeyboardInterrupt
        live.stopping = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _last_checkpoint(folder: Path) -> Path | None:
    from transformers.trainer_utils import get_last_checkpoint

    found = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return Path(found) if found else None
