"""Runs from an AdapterSpec to an AdapterRecord: prepare, train, evaluate, save, compare, register."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from zoo.adapters import forward, integrity
from zoo.adapters.probe import batches
from zoo.cards import render
from zoo.data.files import Example
from zoo.data.token_cache import encode
from zoo.errors import IncompatibleError, Interrupted, UsageError, ZooError
from zoo.models.precision import silence_dropout
from zoo.plugins import manager
from zoo.plugins.method import one_line
from zoo.plugins.run import Run, RunConfig
from zoo.registry.schema import AdapterRecord, AdapterSpec, BaseId
from zoo.registry.store import RECORD_FILE, Registry, dump
from zoo.runtime import distributed, signals
from zoo.runtime.console import Report
from zoo.runtime.device import (
    free_on_gpu,
    keep_memory,
    use_threads,
)
from zoo.runtime.files import is_disk_full, write_whole
from zoo.runtime.free_memory import free_memory
from zoo.runtime.trackers import NONE, check_installed
from zoo.training import check_saved, checkpoints, runs, trainer
from zoo.training.inputs import input_differences, inputs_of, setting_differences
from zoo.training.memory_estimate import ceiling
from zoo.training.parameter_counts import count
from zoo.training.prepare import Prepared, command, prepare
from zoo.training.record import Evaluated, make_record

UNTRAINED_ROWS = 1000
"""Held-out rows, at most, on which the untrained base is measured."""


def train(
    spec: AdapterSpec,
    registry: Registry | None = None,
    report: Report | None = None,
    *,
    resume: bool = False,
    fresh: bool = False,
    allow_changes: bool = False,
    tracker: str = NONE,
) -> AdapterRecord:
    """Train, evaluate, save, card and register one adapter.

    Nothing is registered unless all of it succeeded. A run that stopped is kept with its checkpoints, and the
    same call goes on with it. Under `torchrun` every process calls this; the first writes and reports.

    Args:
        spec: what to train; a field that is None gets the default of the task, the method or the base.
        registry: where the adapter goes; None is the registry that the command line would use.
        report: hears of facts, warnings and progress; None is told nothing.
        resume: go on with the stopped run of that name, which must be there and have these settings.
        fresh: start over where there is a stopped run of the same call.
        allow_changes: go on with a run though its settings, base, data, threads or versions are others now.
            The record says so.
        tracker: which installed experiment tracker hears of losses, as transformers calls it: `wandb`.

    Raises:
        ZooError: any of the tree in zoo/errors.py, each with the next step.
        Interrupted: Ctrl-C or another signal, after a checkpoint was saved.
    """
    check_installed(tracker)
    signals.forget()
    registry = registry or Registry()
    report = (report if distributed.is_main() else None) or Report()
    prepared = prepare(spec, registry, report, resume=resume, fresh=fresh)
    if prepared.resumed is not None and prepared.resumed.finished:
        return _register_finished(prepared.resumed, registry, report)
    return _run(spec, prepared, registry, report, fresh, allow_changes, tracker)


def resume(
    run: runs.Run,
    registry: Registry,
    report: Report,
    *,
    threads: int | None = None,
    allow_changes: bool = False,
    tracker: str = NONE,
) -> AdapterRecord:
    """Go on with a run from its last whole checkpoint, or register its adapter if only that is left to do.

    Args:
        threads: of the CPU; None is as many as before.

    Raises:
        As `train`.
    """
    signals.forget()
    report = (report if distributed.is_main() else None) or Report()
    if run.finished:
        return _register_finished(run, registry, report)
    spec = run.state.config
    if threads is not None:
        spec = msgspec.structs.replace(spec, threads=threads)
    prepared = prepare(spec, registry, report, run=run)
    return _run(run.state.asked, prepared, registry, report, False, allow_changes, tracker)


def _run(
    asked: AdapterSpec,
    prepared: Prepared,
    registry: Registry,
    report: Report,
    fresh: bool,
    allow_changes: bool,
    tracker: str,
) -> AdapterRecord:
    with use_threads(prepared.config.threads):
        opened = None
        if distributed.is_main():
            opened = _open(asked, prepared, registry, report, fresh, allow_changes)
        run: runs.Run = distributed.gather([opened and opened.run])[0]
        try:
            record = train_in(run, prepared, report, tracker=tracker)
            if record is not None:
                record = _register(run, record, registry)
            distributed.barrier()
            return record or registry.get(run.name)
        except KeyboardInterrupt as stop:
            raise _interrupted(stop, run) from stop
        except Exception as error:
            if opened is not None:
                opened.failed(one_line(error), final=isinstance(error, ZooError))
            if is_disk_full(error):
                raise _out_of_space(run) from error
            raise
        finally:
            if opened is not None:
                opened.close()


def _register_finished(run: runs.Run, registry: Registry, report: Report) -> AdapterRecord:
    assert run.finished is not None, "the caller has looked"
    record = run.finished
    gone, changed = integrity.changed_files(record, run.made)
    if gone or changed:
        raise IncompatibleError(
            f"the finished adapter of run {run.id} has been altered: {', '.join(gone + changed)}.",
            f"zoo runs rm {run.id}",
        )
    report.say(f"'{run.name}' is trained and saved; only its registration was left to do")
    return _register(run, record, registry)


def _fit_memory(prepared: Prepared, report: Report) -> int:
    """Compare the estimate with what is free; how often batches are to be halved, so that it suffices.

    Where it does, freed memory is kept for the next step, which is faster and takes more.
    """
    free = free_on_gpu() or free_memory()
    most = ceiling(prepared.count.total, prepared.config.batch_tokens)
    if free is None or most <= free.bytes or (needed := prepared.memory()).peak <= free.bytes:
        keep_memory()
        return 0
    told = f"the training is estimated to take {needed.peak / 1e9:.1f} GB of memory, and {free.of} has"
    told = f"{told} {free.bytes / 1e9:.1f} GB free"
    halvings = needed.halvings(free.bytes)
    if halvings is not None:
        report.warn(f"{told}: batches are computed in {1 << halvings} parts.")
        return halvings
    report.warn(f"{told}, which may not suffice: batches are computed one example at a time.")
    return needed.rows.bit_length() - 1


def train_in(
    opened: runs.Run,
    prepared: Prepared,
    report: Report,
    *,
    tracker: str = NONE,
    halved_at: Sequence[int] | None = None,
) -> AdapterRecord | None:
    """Train, evaluate, save and card an adapter in the folder of its run; nothing is registered.

    Args:
        halved_at: steps before which batches are to be halved, each once, as an earlier run found; None is to
            find out.

    Returns:
        The record of what is in `opened.made`; None in a process that does not write.
    """
    run, head, held_out = _load(prepared, opened, report, halved_at)
    run.tracker = tracker
    hooks = manager.hooks(run.method, run.task, trainer, forward)
    probe = batches(run.task, run.processor, run.spec.max_length)
    report.say(f"evaluating the untrained base{' with its fresh head' if head else ''}, for comparison")
    untrained = _evaluate(_few_held_out(run), hooks, held_out)
    _attach(run, head)
    counted = count(run.model)
    signals.check()
    report.say(f"{run.method.name} trains {counted} in {run.precision}")
    result = hooks.zoo_train(run=run)
    trained = _evaluate(run, hooks, held_out)
    signals.check()
    if not distributed.is_main():
        return None
    base_id = opened.state.inputs.base
    folder = _save(run, base_id, opened.made)
    check_saved.check_saved(run, probe, prepared.base.folder, folder)
    record = make_record(prepared, run, opened.state, result, counted, untrained, trained, folder)
    (folder / render.FILE).write_text(render.render(record), encoding="utf-8")
    write_whole(folder / RECORD_FILE, dump(record))
    signals.check()
    return record


def _register(run: runs.Run, record: AdapterRecord, registry: Registry) -> AdapterRecord:
    try:
        record = registry.add(record, run.made)
    except ZooError as error:
        kept = "The adapter is trained and kept."
        raise type(error)(f"{error} {kept}", f"zoo resume {run.id}") from error
    shutil.rmtree(run.folder, ignore_errors=True)
    return record


def _open(
    asked: AdapterSpec,
    prepared: Prepared,
    registry: Registry,
    report: Report,
    fresh: bool,
    allow_changes: bool,
) -> runs.Opened:
    """Compare a run that is gone on with, and take its folder, or one for a new run."""
    config, before = prepared.config, prepared.resumed
    now = inputs_of(prepared)
    changes: list[str] = []
    if before is not None:
        settings = list(setting_differences(before.state.config, config))
        others = list(input_differences(before.state.inputs, now))
        if settings and not allow_changes:
            raise UsageError(f"the interrupted run had other settings: {', '.join(settings)}.", "--fresh")
        if others and not allow_changes:
            raise IncompatibleError(
                f"run {before.id} cannot go on as it began: {', '.join(others)}.", "--allow-changes"
            )
        changes = [*before.state.changes, *settings, *others]
        total = f" of {before.total}" if before.total else ""
        report.say(
            f"going on with run {before.id}, stopped at step {before.step}{total}; --fresh starts over"
        )
        for change in settings + others:
            report.warn(f"{change}.")
    if fresh:
        for run in runs.stopped(registry, asked, config.name):
            entry = runs.remove(registry, run, f"{command(config)} --fresh")
            report.say(f"run {run.id} of '{run.name}' is removed; zoo undo {entry.number} brings it back")
    return runs.open_run(registry, asked, config.as_spec(), now, before, changes=changes)


def _out_of_space(run: runs.Run) -> ZooError:
    told = f"no space is left for {run.folder}"
    if not checkpoints.find(run.checkpoints):
        return ZooError(f"{told}; nothing was registered.", "--registry FOLDER")
    return ZooError(f"{told}; nothing was registered, and what is trained is kept.", f"zoo resume {run.id}")


def _interrupted(stop: KeyboardInterrupt, run: runs.Run) -> Interrupted:
    """What the trainer has not said: where else the run was stopped, and how to go on with it."""
    if isinstance(stop, Interrupted):
        return stop
    if run.finished or checkpoints.find(run.checkpoints):
        return Interrupted(
            "stopped; nothing was registered, and what is trained is kept.", f"zoo resume {run.id}"
        )
    return Interrupted("stopped before the first checkpoint; nothing was registered.")


def _load(
    prepared: Prepared, opened: runs.Run, report: Report, halved_at: Sequence[int] | None
) -> tuple[Run, list[str], list[Example]]:
    """The run before its method is attached, the modules without pretrained weights, the held-out rows."""
    method, task, dataset = prepared.method, prepared.task, prepared.dataset
    assert dataset is not None, "fetched"
    halvings = 0
    if halved_at is None:
        halvings = _fit_memory(prepared, report)
    elif not halved_at:
        keep_memory()
    report.say(
        f"rows: {len(dataset.train):,} of {dataset.id.n_train_available:,} to train on; "
        f"{len(dataset.held_out):,} held out ({dataset.id.split})"
    )
    length = prepared.config.max_length
    _seed(prepared.config)  # before the head is initialised
    options = method.load_options(prepared.params)
    report.say(f"loading the base {prepared.base.id}")
    model, head = task.load_model(prepared.base.folder, dataset.labels, **options)
    run = Run(
        spec=msgspec.structs.replace(prepared.config, name=opened.name),
        method=method,
        task=task,
        params=prepared.params,
        model=model,
        processor=prepared.processor,
        labels=dataset.labels,
        train=encode(task, dataset.train, prepared.processor, length, report),
        held_out=encode(task, dataset.held_out, prepared.processor, length, report),
        folder=opened.checkpoints,
        report=report,
        precision=prepared.precision,
        resume=prepared.resumed is not None,
        halved_at=halved_at or (),
        halve_at_start=halvings,
        id=opened.id,
    )
    for remark in task.remarks(itertools.chain(run.train, run.held_out), length):
        report.warn(remark)
    return run, head, dataset.held_out


def _evaluate(run: Run, hooks: Any, held_out: Sequence[Example]) -> Evaluated:
    start = time.monotonic()
    found = forward.evaluate_run(hooks, run)
    samples = run.task.samples(run, held_out)
    return Evaluated(found, samples, time.monotonic() - start)


def _attach(run: Run, head: Sequence[str]) -> None:
    if run.method.freezes_base and run.spec.base_dropout == "off":
        silence_dropout(run.task.backbone(run.model))
    _seed(run.spec)  # again: the adapter's initial weights must not depend on the evaluation
    run.model = run.method.attach(run.model, run.params, run.task, head)


def _few_held_out(run: Run) -> Run:
    """Every n-th held-out row: a baseline near chance needs no more, and it delays the training."""
    if run.task.measured_together:
        return run
    step = math.ceil(len(run.held_out) / UNTRAINED_ROWS)
    return dataclasses.replace(run, held_out=run.held_out[::step])


def _save(run: Run, base: BaseId, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run.method.save(run.model, folder, base)
    run.processor.save_pretrained(str(folder))
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors creates files that only their owner can read
    return folder


def _seed(spec: RunConfig) -> None:
    from transformers import set_seed

    set_seed(spec.seed)
