"""AdapterSpec in, AdapterRecord out: one run from its words to its place in the registry."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from zoo.adapters import forward
from zoo.adapters.probe import FILE, batches
from zoo.data.dataset import Dataset, open_dataset
from zoo.errors import Interrupted, UsageError
from zoo.models.fingerprint import file_ids, identify
from zoo.plugins import manager, source
from zoo.registry.schema import AdapterRecord, AdapterSpec, BaseId, Cost, Metric, Sample, Training
from zoo.registry.store import SPEC_FILE, Registry, dump
from zoo.runtime import distributed, signals
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries
from zoo.training import check_saved, trainer
from zoo.training.plan import Plan, command, plan, with_free_name

if TYPE_CHECKING:
    from zoo.plugins.run import Evaluation, Run, TrainResult
    from zoo.training.preflight import Count

UNTRAINED_ROWS = 1000
"""Held-out rows, at most, on which the untrained base is measured."""
_LIBRARIES = ("adapter-zoo", "peft", "torch", "transformers")


def train(
    spec: AdapterSpec, registry: Registry | None = None, report: Report | None = None, *, resume: bool = False
) -> AdapterRecord:
    """Train, evaluate, save, card and register one adapter.

    Nothing is registered unless all of it succeeded. The checkpoints of a run that stopped are kept, and
    `resume` goes on from them. Under `torchrun` every process calls this; the first writes and reports.

    Args:
        spec: what to train; a field that is None gets the default of the task, the method or the base.
        registry: where the adapter goes; None is the registry that the command line would use.
        report: hears of facts, warnings and progress; None is told nothing.
        resume: go on from the checkpoint of a run with the same name and settings that was stopped.

    Raises:
        ZooError: any of the tree in zoo/errors.py, each with the next step.
        Interrupted: Ctrl-C, after a checkpoint was saved.
    """
    registry = registry or Registry()
    report = (report if distributed.is_main() else None) or Report()
    made = plan(spec if resume else with_free_name(spec, registry))
    work = registry.work_folder(made.name)
    _check_unused(made.name, registry)
    registry.check_writable()

    from zoo.cards import render
    from zoo.runtime.device import choose_precision, keep_memory
    from zoo.training.preflight import check_fit, count

    keep_memory()
    precision = choose_precision(made.spec.precision)
    check_fit(made, spec.base)
    base = source.resolve(spec.base, made.task.bases, "base", report)
    data = source.resolve(spec.data, made.task.data, "data", report)
    eval_data = source.resolve_eval_data(made.spec.eval_data, report)
    dataset = open_dataset(made.task, data, made.spec, report, eval_data)
    report.say(
        f"rows: {len(dataset.train):,} of {dataset.division.available:,} to train on; "
        f"{len(dataset.held_out):,} to judge by ({dataset.division.rule})"
    )
    base_id = identify(base)
    settled = msgspec.structs.replace(
        made.spec, base=base.location, data=data.location, eval_data=dataset.id.eval_location
    )
    if distributed.is_main():
        _remember(work, settled, resume)
    distributed.barrier()

    from zoo.models.precision import silence_dropout

    run, head = _load(made, settled, base.folder, dataset, work, report, resume, precision)
    probe = batches(run.task, run.processor, run.spec.max_length)
    hooks = manager.hooks(made.method, made.task, trainer, forward)
    start = time.monotonic()
    report.say(f"measuring the untrained base{' with its fresh head' if head else ''}, for comparison")
    baselines = made.task.baselines(run.train, run.held_out, run.labels)
    few = _few_held_out(run)
    untrained = forward.evaluate_run(hooks, few)
    baselines["untrained"] = untrained.metrics
    before = made.task.samples(run, dataset.held_out)
    del few  # or it keeps the model in memory while what was saved is proved
    evaluate_seconds = time.monotonic() - start

    if made.method.freezes_base and settled.base_dropout == "off":
        silence_dropout(made.task.backbone(run.model))
    _seed(settled)  # again, so that the adapter is drawn alike whatever was measured before
    run.model = made.method.attach(run.model, made.params, made.task, head)
    counted = count(run.model)
    signals.check()
    report.say(f"{made.method.name} trains {counted} in {precision}")
    result: TrainResult = hooks.zoo_train(run=run)
    start = time.monotonic()
    try:
        metrics = _metrics(run, forward.evaluate_run(hooks, run), untrained)
        after = made.task.samples(run, dataset.held_out)
        signals.check()
    except KeyboardInterrupt as stop:
        raise Interrupted(
            "stopped while measuring; nothing was registered, and the trained weights are kept.",
            f"the same command with --name {made.name} --resume measures them",
        ) from stop
    evaluate_seconds += time.monotonic() - start
    if not distributed.is_main():
        distributed.barrier()
        return registry.get(made.name)

    folder = _save(run, base_id, work / "made")
    check_saved.prove(run, probe, base.folder, folder)
    samples = [
        Sample(prompt=prompt, expected=expected, before=was, after=now)
        for (prompt, expected, was), (_, _, now) in zip(before, after, strict=True)
    ]
    record = _record(
        made, run, base_id, dataset, result, counted, metrics, baselines, samples, evaluate_seconds, folder
    )
    (folder / render.FILE).write_text(render.render(record), encoding="utf-8")
    signals.check()
    record = registry.add(record, folder)
    distributed.barrier()
    shutil.rmtree(work, ignore_errors=True)
    return record


def _load(
    made: Plan,
    spec: AdapterSpec,
    base: Path,
    dataset: Dataset,
    work: Path,
    report: Report,
    resume: bool,
    precision: str,
) -> tuple[Run, list[str]]:
    """The run with its model not yet adapted, and the names of the modules without pretrained weights."""
    from zoo.data.token_cache import encode
    from zoo.plugins.run import Run, RunConfig
    from zoo.training.preflight import fitting_length

    quiet_libraries()
    task = made.task
    processor = task.load_processor(base)
    _seed(spec)  # before the head is drawn, or the seed decides nothing
    model, head = task.load_model(base, dataset.labels, **made.method.load_options(made.params))
    length = fitting_length(made.method, made.params, task, model, made.spec.max_length)
    run = Run(
        spec=RunConfig.of(spec, made.method, task, max_length=length),
        method=made.method,
        task=task,
        params=made.params,
        model=model,
        processor=processor,
        labels=dataset.labels,
        train=encode(task, dataset.train, processor, length),
        held_out=encode(task, dataset.held_out, processor, length),
        folder=work / "checkpoints",
        report=report,
        precision=precision,
        resume=resume,
    )
    for remark in task.remarks(itertools.chain(run.train, run.held_out), length):
        report.warn(remark)
    return run, head


def _few_held_out(run: Run) -> Run:
    """Every so-manieth held-out row: a baseline near chance needs no more, and the person is waiting."""
    if run.task.measured_together:
        return run
    step = math.ceil(len(run.held_out) / UNTRAINED_ROWS)
    return dataclasses.replace(run, held_out=run.held_out[::step])


def _metrics(run: Run, trained: Evaluation, untrained: Evaluation) -> list[Metric]:
    """With the change row by row, where both evaluations give the outputs of the same rows."""
    before, after = untrained.outputs, trained.outputs
    if before is None or after is None or len(before) != len(after):
        return trained.metrics
    return trained.metrics + run.task.change(before, after)


def _save(run: Run, base: BaseId, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run.method.save(run.model, folder, base)
    run.processor.save_pretrained(str(folder))
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner can read
    return folder


def _record(
    made: Plan,
    run: Run,
    base: BaseId,
    dataset: Dataset,
    result: TrainResult,
    counted: Count,
    metrics: list[Metric],
    baselines: dict[str, list[Metric]],
    samples: list[Sample],
    evaluate_seconds: float,
    folder: Path,
) -> AdapterRecord:
    import torch

    from zoo.runtime.device import describe, peak_memory

    files = file_ids(folder)
    return AdapterRecord(
        name=made.name,
        spec=run.spec.as_spec(),
        base=base,
        data=dataset.id,
        labels=list(run.labels),
        metrics=metrics,
        baselines=baselines,
        flags=made.task.warnings(metrics, baselines, made.task.describe_baselines(run.train, run.labels)),
        cost=Cost(
            train_seconds=round(result.seconds, 3),
            evaluate_seconds=round(evaluate_seconds, 3),
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
            base_dropout=run.spec.base_dropout if made.method.freezes_base else "keep",
            threads=torch.get_num_threads(),
        ),
        format=made.method.format,
        files=files,
        command=command(run.spec),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={name: version(name) for name in _LIBRARIES},
        samples=samples,
        plugins={"method": made.method_plugin.distribution, "task": made.task_plugin.distribution},
    )


def _check_unused(name: str, registry: Registry) -> None:
    if name in registry:
        raise UsageError(f"an adapter is already called '{name}'.", f"--name OTHER, or zoo rm {name}")
    if registry.adapter_folder(name).exists():
        raise UsageError(
            f"{registry.adapter_folder(name)} exists but is not registered.",
            "zoo registry rebuild, or --name OTHER",
        )


def _remember(work: Path, spec: AdapterSpec, resume: bool) -> None:
    """Keep the settings beside the checkpoints, so that only the same run resumes them.

    Raises:
        UsageError: the interrupted run had other settings; the message names them.
    """
    path = work / SPEC_FILE
    if resume and path.is_file():
        before, now = (
            msgspec.to_builtins(one)
            for one in (msgspec.json.decode(path.read_bytes(), type=AdapterSpec), spec)
        )
        changed = [key for key in now if before[key] != now[key]]
        if changed:
            said = ", ".join(f"{key} was {before[key]}" for key in changed)
            raise UsageError(
                f"the interrupted run had other settings: {said}.", "the same command, or no --resume"
            )
        return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    path.write_bytes(dump(spec))


def _seed(spec: AdapterSpec) -> None:
    from transformers import set_seed

    set_seed(spec.seed)
