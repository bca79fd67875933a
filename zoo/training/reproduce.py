"""Trains an adapter again from its record alone, and says whether the weights are the same bit for bit."""

from __future__ import annotations

import itertools
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from zoo.adapters import find_base, integrity
from zoo.adapters.probe import FILE
from zoo.errors import IncompatibleError, Interrupted, NotFoundError, UsageError, ZooError
from zoo.plugins import source
from zoo.registry.schema import AdapterRecord, AdapterSpec, DataId, Training
from zoo.registry.store import Registry
from zoo.runtime import signals
from zoo.runtime.console import Report
from zoo.runtime.device import cpu_name, has_bf16, use_kernels, use_threads
from zoo.training import pipeline, runs
from zoo.training.inputs import Inputs, content_differences, inputs_of, machine_differences
from zoo.training.prepare import prepare

if TYPE_CHECKING:
    from torch import Tensor


_HINTS = ("--base FOLDER", "--data FILE")


class Remeasured(Struct, frozen=True, kw_only=True):
    """A metric of the adapter that was trained again, beside the recorded one."""

    name: str
    value: float
    recorded: float
    low: float
    """Of the recorded interval."""
    high: float
    n: int
    within: bool
    """Is the value in that interval?"""


class Reproduced(Struct, frozen=True, kw_only=True):
    """What came of training an adapter again."""

    name: str
    identical: bool
    """Are all weights the same, bit for bit?"""
    files: dict[str, bool]
    """Weight file -> has it the recorded sha256? A file of 0.1.0 may hold the same weights in another one."""
    largest_difference: float | None
    """Of one weight; null where the recorded files are not here to be compared with."""
    largest_weight: float | None
    """What the difference is to be compared with."""
    tensor: str | None
    """Which tensor differs most."""
    metrics: list[Remeasured]
    differences: list[str]
    """What was another thing at the recorded training: `torch was 2.9.0, and is 2.13.0`."""
    claim: str | None
    """Where the record says that the weights are the same; null in one of adapter-zoo 0.1.0."""


def reproduce(
    name: str,
    registry: Registry | None = None,
    report: Report | None = None,
    *,
    base: str | None = None,
    data: str | None = None,
) -> Reproduced:
    """Train an adapter again: from the recorded base, rows and settings, with the recorded choices.

    Threads, precision, the kernels of a CPU and the steps at which batches were halved are those of the
    record, and nothing is measured anew. Nothing is registered or kept.

    Args:
        name: of a registered adapter, or a folder with a zoo.json.
        base: where its base is, if not where it was.
        data: where its rows are, if not where they were.

    Raises:
        NotFoundError: no such adapter; it was not trained by a zoo; or its base or data are not here.
        IncompatibleError: the base or the rows are others, or this machine cannot train it as it was.
        Interrupted: Ctrl-C or another signal.
    """
    signals.forget()
    registry, report = registry or Registry(), report or Report()
    record, folder = registry.locate(name)
    report.say(f"looking for the base and the rows of {record.name}")
    try:
        with tempfile.TemporaryDirectory(prefix="zoo-reproduce-") as work:
            return _reproduce(record, folder, Path(work), report, base, data)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; '{record.name}' is as it was, and nothing else is kept.") from stop
    except ZooError as error:
        if (error.hint or "").startswith(("-", "without")) and error.hint not in _HINTS:
            error.hint = None  # an option of zoo train: the settings are those of the record
        if isinstance(error, UsageError):
            told = f"'{record.name}' cannot be trained again as it was: {error}"
            raise IncompatibleError(told, error.hint) from error
        raise


def _reproduce(
    record: AdapterRecord, folder: Path, work: Path, report: Report, base: str | None, data: str | None
) -> Reproduced:
    training, rows = _recorded(record)
    if training.device == "cpu" and training.kernels:
        use_kernels(training.kernels)  # before anything imports torch; what comes of it is compared below
    integrity.method_of(record)
    integrity.task_of(record)
    where = _find_rows(record, rows, data)
    spec = msgspec.structs.replace(
        record.spec,
        name=record.name,
        base=find_base.find(record, base).location,
        data=where,
        eval_data=rows.eval_location,
        threads=training.threads,
        precision=training.precision,
    )
    if training.precision == "bf16" and not has_bf16():
        raise IncompatibleError(f"'{record.name}' was trained in bf16, which this machine does not have.")
    prepared = prepare(spec, Registry(work / "registry.json"), report)
    now = inputs_of(prepared)
    if others := list(content_differences(record.base, rows, now)):
        raise IncompatibleError(
            f"'{record.name}' cannot be reproduced from this: {', '.join(others)}.",
            "--base FOLDER" if "base" in others[0] else "--data FILE",
        )
    differences = list(_differences(record, training, rows, now))
    for one in differences:
        report.warn(f"{one}.")
    run = runs.Run(_state(record, spec, now), work / "run")
    run.folder.mkdir()
    with use_threads(prepared.config.threads):
        made = pipeline.train_in(run, prepared, report, halved_at=training.halved_at)
    assert made is not None, "one process"
    assert made.training is not None, "just trained"
    if made.training.halved_at != training.halved_at:
        steps = [", ".join(map(str, one.halved_at)) or "no step" for one in (training, made.training)]
        differences.append(f"batches were halved before {steps[0]}, and are before {steps[1]}")
    return _compared(record, made, folder, run.made, differences)


def _recorded(record: AdapterRecord) -> tuple[Training, DataId]:
    if record.training is None or record.data is None:
        raise NotFoundError(
            f"nobody recorded how '{record.name}' was trained, so it cannot be trained again.",
            shlex.join(["zoo", "verify", record.name]),
        )
    if record.training.changes:
        raise IncompatibleError(
            f"no training gives '{record.name}' again: when it was resumed, "
            f"{', '.join(record.training.changes)}."
        )
    return record.training, record.data


def _find_rows(record: AdapterRecord, rows: DataId, asked: str | None) -> str:
    try:
        return source.resolve(asked or rows.location, (), "data", Report(), weights=False).location
    except NotFoundError as error:
        if asked is not None:
            raise
        told = f"the data of '{record.name}', {rows.id}, is not here: {error}"
        raise type(error)(told, "--data FILE") from error


def _differences(record: AdapterRecord, training: Training, rows: DataId, now: Inputs) -> Iterator[str]:
    """What the weights may depend on beside settings, base and rows, and is another thing than recorded."""
    before = Inputs(
        base=record.base,
        data=rows,
        threads=training.threads,
        precision=training.precision,
        device=training.device or now.device,
        kernels=training.kernels or now.kernels,
        processes=training.processes,
        versions=record.versions,
        plugins=record.plugins,
    )
    yield from machine_differences(before, now)
    processor = (record.cost.hardware or "").rpartition(",")[0]
    if now.device == "cpu" and processor and processor != cpu_name():
        yield f"the processor was {processor}, and is {cpu_name()}"
    if training.kernels is None:
        yield f"its instruction set is not on record, and is {now.kernels} here"


def _state(record: AdapterRecord, spec: AdapterSpec, inputs: Inputs) -> runs.RunState:
    return runs.RunState(
        id="reproduce",
        name=record.name,
        asked=spec,
        config=spec,
        inputs=inputs,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        host="",
        pid=os.getpid(),
    )


def _compared(
    record: AdapterRecord, made: AdapterRecord, folder: Path, again: Path, differences: list[str]
) -> Reproduced:
    names = sorted(filter(_holds_weights, {*record.files, *made.files}))
    files = {name: record.files.get(name) == made.files.get(name) for name in names}
    distance = None if all(files.values()) else _distance(record, folder, again)
    identical = all(files.values()) or (distance is not None and distance.same)
    found = {one.name: one.value for one in made.metrics}
    return Reproduced(
        name=record.name,
        identical=identical,
        files=files,
        largest_difference=0.0 if identical else distance.size if distance else None,
        largest_weight=distance.scale if distance else None,
        tensor=distance.tensor if distance and not identical else None,
        metrics=[
            Remeasured(
                name=one.name,
                value=found[one.name],
                recorded=one.value,
                low=one.low,
                high=one.high,
                n=one.n,
                within=one.low <= found[one.name] <= one.high,
            )
            for one in record.metrics
            if one.name in found
        ],
        differences=differences,
        claim=record.training.deterministic if record.training else None,
    )


def _holds_weights(name: str) -> bool:
    return name.endswith(".safetensors") and name != FILE


@dataclass(frozen=True)
class _Distance:
    same: bool
    """Bit for bit."""
    size: float
    scale: float
    tensor: str


def _distance(record: AdapterRecord, folder: Path, again: Path) -> _Distance | None:
    """Between the recorded weights and those of `again`; None where there is nothing to compare with."""
    import torch

    names = list(filter(_holds_weights, record.files))
    damaged = itertools.chain(*integrity.changed_files(record, folder))
    if not set(names).isdisjoint(damaged) or not all((again / name).is_file() for name in names):
        return None
    before, now = _tensors(folder, names), _tensors(again, names)
    if not before or {name: one.shape for name, one in before.items()} != {
        name: one.shape for name, one in now.items()
    }:
        return None
    sizes = {name: float((one.double() - now[name].double()).abs().max()) for name, one in before.items()}
    tensor = max(sizes, key=lambda name: sizes[name])
    return _Distance(
        same=all(
            one.dtype == now[name].dtype
            and torch.equal(one.flatten().view(torch.uint8), now[name].flatten().view(torch.uint8))
            for name, one in before.items()
        ),
        size=sizes[tensor],
        scale=max(float(one.double().abs().max()) for one in before.values()),
        tensor=tensor,
    )


def _tensors(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {name: one for file in names for name, one in load_file(folder / file).items() if one.numel()}
