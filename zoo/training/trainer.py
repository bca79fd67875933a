"""Implements the default `zoo_train`: the HF Trainer with token-budget batches and small checkpoints.

The Trainer runs the loop, with accelerate's devices and processes, resuming and schedules. Ours are the
batches, the loss (a sum divided by the examples of all batches of a step, on every process, so that a batch
of few long texts has the right weight), the progress line, the checkpoints, smaller batches after running out
of memory, the watch over numbers that are not finite, and stopping cleanly on a signal.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.batching import TokenBudgetBatches
from zoo.errors import Interrupted, ZooError
from zoo.models.precision import settle
from zoo.plugins.hookspecs import hookimpl
from zoo.plugins.run import Run, TrainResult
from zoo.runtime import distributed
from zoo.runtime.device import device
from zoo.runtime.trackers import NONE
from zoo.training import checkpoints, feature_cache, finite
from zoo.training.progress import Live
from zoo.training.saving import LIVE_FILE, Saving
from zoo.training.smaller_batches import SmallerBatches

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_DECAY = 0.01
WARMUP_SHARE = 0.06
_LOG_SHARE = 0.01
"""Of a run, between two reports to an experiment tracker."""
_LOGS = "runs"
"""Where TensorBoard looks by itself; $TENSORBOARD_LOGGING_DIR names another folder."""
_CHECKPOINT_FILE = "trained.safetensors"
_SCHEDULE = "schedule/"
"""Prefix of the tensors of a method's schedule, which are not in the model."""


@hookimpl(trylast=True)
def zoo_train(run: Run) -> TrainResult:
    settle(run.model, run.precision)
    checkpoint = _newest(run) if run.resume else None
    with feature_cache.reuse_frozen_features(run) as above:
        return _train(run, above, checkpoint)


def _newest(run: Run) -> Path | None:
    """The checkpoint to go on from: the first process looks, and says which are skipped."""
    found: tuple[Path | None, list[str]] = (None, [])
    if distributed.is_main():
        found = checkpoints.newest(run.folder)
    checkpoint: Path | None
    checkpoint, skipped = distributed.gather([found])[0]
    for line in skipped:
        run.report.warn(f"{line}.")
    if checkpoint is None:
        run.report.say("there is no whole checkpoint to go on from: training starts from the beginning")
    return checkpoint


def _train(run: Run, above: feature_cache.Above, checkpoint: Path | None) -> TrainResult:
    from accelerate.utils.memory import should_reduce_batch_size

    live = Live(run)
    if checkpoint is not None:
        live.load(checkpoint / LIVE_FILE)
        run.report.say(f"resuming from {checkpoint.name}")
    longer = sum(one["length"] > run.budget for one in run.train)
    if longer:
        run.report.warn(f"{longer} examples have more than {run.budget} tokens: each is a batch of its own.")
    good = _trained(run)
    trainer = _make_trainer(run, above, live)
    steps = math.ceil(len(trainer.get_train_dataloader()) / run.spec.gradient_accumulation)
    total = max(1, math.ceil(steps * run.spec.epochs))
    run.method.training_starts(run.model, total)
    done = checkpoints.step_of(checkpoint) if checkpoint else 0
    try:
        with live.stop_after_this_step(), run.report.progress("training", total - done) as progress:
            live.progress = progress
            output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if not live.stopping:
            trainer.watch.check()
    except finite.NotFiniteError as error:
        raise finite.explain(error, run, above, good) from None
    except Exception as error:
        if not should_reduce_batch_size(error):
            raise
        raise ZooError(
            "out of memory in the step of the optimizer. Nothing was registered.",
            f"zoo methods {run.method.name}",
        ) from error
    seconds = live.seconds + above.seconds
    if live.stopping:
        saved = checkpoints.find(run.folder)
        kept = f"; the last checkpoint is of step {checkpoints.step_of(saved[0])}" if saved else ""
        raise Interrupted(
            f"stopped at step {output.global_step} of {total}{kept}; nothing was registered.",
            f"zoo resume {run.id}",
        )
    # a packed row does not say how many examples it holds
    seen = len(run.train) * run.spec.epochs if run.spec.packing else live.seen * distributed.world_size()
    return TrainResult(
        steps=output.global_step,
        loss=live.mean_loss,
        seconds=seconds,
        examples_per_second=seen / seconds,
        precision=run.precision,
        halved_at=live.halved_at,
    )


def _arguments(run: Run) -> Any:
    from transformers import TrainingArguments

    place = device().type
    arguments = TrainingArguments(
        output_dir=str(run.folder),
        num_train_epochs=run.spec.epochs,
        learning_rate=run.spec.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=WARMUP_SHARE,
        weight_decay=WEIGHT_DECAY,
        optim=run.method.optimizer(place),
        seed=run.spec.seed,
        bf16=run.precision == "bf16",
        use_cpu=place == "cpu",
        gradient_accumulation_steps=run.spec.gradient_accumulation,
        gradient_checkpointing=run.spec.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        torch_compile=run.spec.compile,
        # our batches differ in size and come in multiples of the processes
        accelerator_config={"even_batches": False},
        ddp_find_unused_parameters=False,
        save_strategy="epoch",
        report_to=run.tracker,
        run_name=run.spec.name,
        project="adapter-zoo",  # of trackio; the others have variables of their own
        logging_strategy="no" if run.tracker == NONE else "steps",
        logging_steps=_LOG_SHARE,
        logging_nan_inf_filter=False,  # it reads every loss from the device; `finite` sees to them
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=place == "cuda",
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are used by several processes, never by threads
    return arguments


def _make_trainer(run: Run, above: feature_cache.Above, live: Live) -> Any:
    """The Trainer subclass, made here because naming its base imports torch."""
    from safetensors.torch import load_file, save_file
    from torch.utils.data import DataLoader
    from transformers import PrinterCallback, Trainer, TrainerCallback

    arguments = _arguments(run)

    class Callback(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            batches.step_begin(state.global_step + 1)

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            run.method.after_step(run.model, state.global_step + 1)
            run.task.after_step(run.model)
            watch.after_step(live.step[0], state.global_step + 1, (one for _, one in batches.batches))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            live.progress.advance(note=live.step_end(state.global_step, state.max_steps))
            live.stopping = distributed.any_process(live.stopping)
            if live.stopping:
                control.should_save = control.should_training_stop = True
            elif distributed.any_process(saving.is_due):
                control.should_save = True
            return control

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % max(1, state.max_steps // max(1, round(args.num_train_epochs))) == 0:
                live.epoch_begin()

    class TokenBudgetTrainer(Trainer):
        def get_train_dataloader(self) -> Any:
            sampler = TokenBudgetBatches(
                [one["length"] for one in run.train],
                run.budget,
                seed=run.spec.seed,
                multiple=self.accelerator.num_processes,
            )
            loader = DataLoader(
                above.rows,
                batch_sampler=sampler,
                collate_fn=batches.collate,
                pin_memory=arguments.dataloader_pin_memory,
            )
            prepared = self.accelerator.prepare(loader)
            if prepared.batch_sampler is not sampler:
                # dealt to several processes: that is where `set_epoch` is looked for after both
                prepared.batch_sampler.sampler = sampler
            return prepared

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            return batches.compute(model, inputs, num_items_in_batch, self.state.global_step + 1)

        def _clip_grad_norm(self, model: Any) -> Any:
            watch.norm = super()._clip_grad_norm(model)
            return watch.norm

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            watch.check()  # one does not hold what is not finite
            saving.save(self)

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            # a checkpoint holds what is trained: the base is stored elsewhere and does not change
            folder = Path(output_dir or arguments.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            schedule = {
                f"{_SCHEDULE}{name}": value.cpu().contiguous()
                for name, value in run.method.schedule(run.model).items()
            }
            save_file(_trained(run) | schedule, folder / _CHECKPOINT_FILE)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            trained = load_file(Path(resume_from_checkpoint) / _CHECKPOINT_FILE)
            schedule = {
                name.removeprefix(_SCHEDULE): trained.pop(name)
                for name in list(trained)
                if name.startswith(_SCHEDULE)
            }
            run.method.resume_schedule(run.model, schedule)
            unexpected = run.model.load_state_dict(trained, strict=False).unexpected_keys
            if unexpected:
                raise ZooError(f"the checkpoint is of another model: it holds {unexpected[0]}.", "--fresh")

    watch, saving = finite.Watch(run.model), Saving(run, live)
    batches = SmallerBatches(
        run, live, above.collate, lambda *args: super(TokenBudgetTrainer, trainer).training_step(*args)
    )
    trainer = TokenBudgetTrainer(
        model=above.model,
        args=arguments,
        train_dataset=above.rows,
        compute_loss_func=live.loss,
        callbacks=[Callback()],
    )
    trainer.watch = watch
    trainer.remove_callback(PrinterCallback)
    for callback in trainer.callback_handler.callbacks:
        if (
            getattr(callback, "logging_dir", "") is None
        ):  # TensorBoard's: else in the folder of the checkpoints
            callback.logging_dir = str(Path(_LOGS) / run.spec.name)
            run.report.say(f"tensorboard --logdir {_LOGS} shows the training")
    return trainer


def _trained(run: Run) -> dict[str, Tensor]:
    """A copy of what is trained, on the CPU."""
    return {
        name: value.detach().cpu().clone().contiguous()
        for name, value in run.model.named_parameters()
        if value.requires_grad
    }
