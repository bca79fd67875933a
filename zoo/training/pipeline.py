"""Runs from an AdapterSpec to an AdapterRecord: prepare, train, evaluate, save, compare, register."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.adapters import forward
from zoo.adapters.probe import FILE, batches
from zoo.cards import render
from zoo.data.files import Example
from zoo.data.token_cache import encode
from zoo.errors import Interrupted
from zoo.models.fingerprint import file_ids, identify
from zoo.models.precision import silence_dropout
from zoo.plugins import manager
from zoo.plugins.run import Evaluation, Run, RunConfig, TrainResult
from zoo.registry.schema import AdapterRecord, AdapterSpec, BaseId, Cost, Sample, Training
from zoo.registry.store import Registry
from zoo.runtime import distributed, signals
from zoo.runtime.console import Report
from zoo.runtime.device import describe, keep_memory, peak_memory
from zoo.runtime.trackers import NONE, check_installed
from zoo.training import check_saved, checkpoints, trainer
from zoo.training.parameter_counts import Count, count
from zoo.training.prepare import Prepared, command, prepare

UNTRAINED_ROWS = 1000
"""Held-out rows, at most, on which the untrained base is measured."""
_LIBRARIES = ("adapter-zoo", "peft", "torch", "transformers")


def train(
    spec: AdapterSpec,
    registry: Registry | None = None,
    report: Report | None = None,
    *,
    resume: bool = False,
    tracker: str = NONE,
) -> AdapterRecord:
    """Train, evaluate, save, card and register one adapter.

    Nothing is registered unless all of it succeeded. The checkpoints of a run that stopped are kept, and
    `resume` goes on from them. Under `torchrun` every process calls this; the first writes and reports.

    Args:
        spec: what to train; a field that is None gets the default of the task, the method or the base.
        registry: where the adapter goes; None is the registry that the command line would use.
        report: hears of facts, warnings and progress; None is told nothing.
        resume: go on from the checkpoint of a run with the same name and settings that was stopped.
        tracker: which installed experiment tracker hears of losses, as transformers calls it: `wandb`.

    Raises:
        ZooError: any of the tree in zoo/errors.py, each with the next step.
        Interrupted: Ctrl-C, after a checkpoint was saved.
    """
    check_installed(tracker)
    registry = registry or Registry()
    report = (report if distributed.is_main() else None) or Report()
    prepared = prepare(spec, registry, report, resume=resume)
    work = registry.work_folder(prepared.config.name)
    if distributed.is_main():
        checkpoints.open_work(work, prepared.config, resume)
    distributed.barrier()
    run, head, held_out = _load(prepared, work, report, resume)
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
    try:
        trained = _evaluate(run, hooks, held_out)
        signals.check()
    except KeyboardInterrupt as stop:
        raise Interrupted(
            "stopped while evaluating; nothing was registered, and the trained weights are kept.",
            f"--name {run.spec.name} --resume",
        ) from stop
    if not distributed.is_main():
        distributed.barrier()
        return registry.get(run.spec.name)
    base_id = identify(prepared.base)
    folder = _save(run, base_id, work / "made")
    check_saved.check_saved(run, probe, prepared.base.folder, folder)
    record = _record(prepared, run, base_id, result, counted, untrained, trained, folder)
    (folder / render.FILE).write_text(render.render(record), encoding="utf-8")
    signals.check()
    record = registry.add(record, folder)
    distributed.barrier()
    shutil.rmtree(work, ignore_errors=True)
    return record


@dataclass(frozen=True)
class _Evaluated:
    found: Evaluation
    samples: list[tuple[str, str, str]]
    seconds: float


def _load(
    prepared: Prepared, work: Path, report: Report, resume: bool
) -> tuple[Run, list[str], list[Example]]:
    """The run before its method is attached, the modules without pretrained weights, the held-out rows."""
    keep_memory()
    method, task, dataset = prepared.method, prepared.task, prepared.dataset
    assert dataset is not None, "fetched"
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
        spec=prepared.config,
        method=method,
        task=task,
        params=prepared.params,
        model=model,
        processor=prepared.processor,
        labels=dataset.labels,
        train=encode(task, dataset.train, prepared.processor, length, report),
        held_out=encode(task, dataset.held_out, prepared.processor, length, report),
        folder=checkpoints.folder(work),
        report=report,
        precision=prepared.precision,
        resume=resume,
    )
    for remark in task.remarks(itertools.chain(run.train, run.held_out), length):
        report.warn(remark)
    return run, head, dataset.held_out


def _evaluate(run: Run, hooks: Any, held_out: Sequence[Example]) -> _Evaluated:
    start = time.monotonic()
    found = forward.evaluate_run(hooks, run)
    samples = run.task.samples(run, held_out)
    return _Evaluated(found, samples, time.monotonic() - start)


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


def _record(
    prepared: Prepared,
    run: Run,
    base: BaseId,
    result: TrainResult,
    counted: Count,
    untrained: _Evaluated,
    trained: _Evaluated,
    folder: Path,
) -> AdapterRecord:
    import torch

    assert prepared.dataset is not None, "fetched"
    files = file_ids(folder)
    metrics, before, after = trained.found.metrics, untrained.found.outputs, trained.found.outputs
    if before is not None and after is not None and len(before) == len(after):  # of the same rows
        metrics = metrics + run.task.change(before, after)
    baselines = run.task.baselines(run.train, run.held_out, run.labels)
    baselines["untrained"] = untrained.found.metrics
    return AdapterRecord(
        name=run.spec.name,
        spec=run.spec.as_spec(),
        base=base,
        data=prepared.dataset.id,
        labels=list(run.labels),
        metrics=metrics,
        baselines=baselines,
        flags=run.task.warnings(metrics, baselines, run.task.describe_baselines(run.train, run.labels)),
        cost=Cost(
            train_seconds=round(result.seconds, 3),
            evaluate_seconds=round(untrained.seconds + trained.seconds, 3),
            examples_per_second=round(result.examples_per_second, 3),
            peak_memory_bytes=peak_memory(),
            trainable_parameters=counted.trainable,
            total_parameters=counted.total,
            adapter_bytes=sum(
                file.bytes for name, file in files.items() if name.endswith(".safetensors") and name != FILE
            ),
            hardware=describe(),
        ),
        training=Training(
            steps=result.steps,
            loss=result.loss,
            precision=result.precision,
            base_dropout=run.spec.base_dropout if run.method.freezes_base else "keep",
            threads=torch.get_num_threads(),
        ),
        format=run.method.format,
        files=files,
        command=command(run.spec),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={name: version(name) for name in _LIBRARIES},
        samples=[
            Sample(prompt=prompt, expected=expected, before=was, after=now)
            for (prompt, expected, was), (_, _, now) in zip(untrained.samples, trained.samples, strict=True)
        ],
        plugins={
            kind: manager.find(kind)[one.name].distribution
            for kind, one in (("method", run.method), ("task", run.task))
        },
    )


def _seed(spec: RunConfig) -> None:
    from transformers import set_seed

    set_seed(spec.seed)
