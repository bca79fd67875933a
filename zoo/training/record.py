"""Makes the record of a run from what was asked for, what came of it, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from zoo.adapters.probe import FILE
from zoo.models.fingerprint import file_ids
from zoo.plugins.run import Evaluation, Run, TrainResult
from zoo.registry.schema import AdapterRecord, AdapterSpec, Cost, Sample, Training
from zoo.runtime.device import describe, peak_memory
from zoo.training.inputs import Inputs
from zoo.training.parameter_counts import Count
from zoo.training.prepare import Prepared, command
from zoo.training.runs import RunState


@dataclass(frozen=True)
class Evaluated:
    found: Evaluation
    samples: list[tuple[str, str, str]]
    seconds: float


def make_record(
    prepared: Prepared,
    run: Run,
    state: RunState,
    result: TrainResult,
    counted: Count,
    untrained: Evaluated,
    trained: Evaluated,
    folder: Path,
) -> AdapterRecord:
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
        base=state.inputs.base,
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
            threads=run.spec.threads,
            halved_at=list(result.halved_at),
            changes=state.changes,
            device=state.inputs.device,
            kernels=state.inputs.kernels,
            processes=state.inputs.processes,
            deterministic=claim(run.spec, state.inputs, state.changes),
        ),
        format=run.method.format,
        files=files,
        command=command(run.spec),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=state.inputs.versions,
        samples=[
            Sample(prompt=prompt, expected=expected, before=was, after=now)
            for (prompt, expected, was), (_, _, now) in zip(untrained.samples, trained.samples, strict=True)
        ],
        plugins=state.inputs.plugins,
        run=state.id,
    )


def claim(spec: AdapterSpec, inputs: Inputs, changes: Sequence[str]) -> str:
    """Where the same training gives the same weights bit for bit, or why that is not claimed."""
    against = [
        what
        for what, holds in (
            ("a GPU", inputs.device != "cpu"),
            ("torch.compile", spec.compile),
            (f"{inputs.processes} processes", inputs.processes > 1),
            ("resumed after changes", changes),
        )
        if holds
    ]
    if against:
        return f"not claimed: {', '.join(against)}"
    where = "every x86-64 processor with AVX2" if spec.portable else inputs.kernels
    threads = "1 thread" if inputs.threads == 1 else f"{inputs.threads} threads"
    return f"bit-identical on {where}, with {threads}"
