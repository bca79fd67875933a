"""Is an adapter still what its record says: its files, its base, its answers to the probe, its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.adapters import probe as probing
from zoo.adapters.integrity import WHOLE, adapter_files, check_files
from zoo.adapters.load import Adapters, LoadedAdapter
from zoo.adapters.probe import BACKBONE, TOLERANCES
from zoo.errors import IncompatibleError, NotFoundError
from zoo.models import safetensors_header
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.runtime.console import Report

if TYPE_CHECKING:
    from torch import nn

    from zoo.adapters.probe import Answers, Probe

_NOTHING = 1e-6
"""An adapter that moves no output by more than this share of the largest does nothing."""


@dataclass(frozen=True)
class Finding:
    check: str
    """`files`, `base`, `probe`, `load`, `effect`, `adapter`, `head`, `answers`, or the name of a metric."""
    passed: bool
    words: str


@dataclass(frozen=True)
class Verification:
    name: str
    ok: bool
    findings: list[Finding]


class _FailedError(Exception):
    """What failed leaves nothing to check behind it."""

    def __init__(self, check: str, error: Exception):
        super().__init__(str(error))
        self.check = check


@contextmanager
def _checking(check: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise _FailedError(check, error) from error


def verify(
    name: str,
    registry: Registry,
    report: Report | None = None,
    *,
    base: str | None = None,
    metrics: bool = False,
) -> Verification:
    """Load an adapter and hold it against its probe and its record; what fails is a finding, not an error.

    Args:
        base: a reference to its base, where that is not found by itself.
        metrics: measure it again on its held-out rows too; that must fall within the recorded intervals.

    Raises:
        NotFoundError: no such adapter; or its base, its plugins or its data are not here to verify it with.
    """
    findings: list[Finding] = []
    try:
        for finding in _findings(name, registry, report or Report(), base, metrics):
            findings.append(finding)  # one by one: what was found before a failure stays
    except _FailedError as failed:
        findings.append(Finding(failed.check, False, str(failed)))
    return Verification(name, all(one.passed for one in findings), findings)


def _findings(
    name: str, registry: Registry, report: Report, base: str | None, metrics: bool
) -> Iterator[Finding]:
    """In the order in which things can go wrong."""
    record, folder = registry.locate(name)
    with _checking("files", IncompatibleError, NotFoundError):
        check_files(record, folder)
        for path in adapter_files(folder):
            safetensors_header.check_finite(path)
    yield Finding("files", True, f"{len(record.files)} files as they were saved, every number finite")
    with _checking("base", IncompatibleError):
        adapters = Adapters([name], registry, base, report=report)
    with _checking("probe", IncompatibleError):
        probe = probing.read(folder)
    one = adapters[name]
    record, task, tolerance = one.record, one.task, TOLERANCES[one.arithmetic]
    length = record.spec.max_length or task.max_length
    examples = probe.examples if probe else None
    _, inputs = probing.batches(task, adapters.processor(name), length, examples)
    yield _on_probe(probe, inputs, tolerance)
    bare = adapters.bare(name)
    backbone = probing.backbone_of(task, bare.model)
    found: Answers | None = probe.base if probe else None
    if record.format != WHOLE:
        found = probing.bare_answers(probing.ask(bare.model, inputs, backbone), bare.head)
        yield _on_base(record, one.base_id.location, probe, found, tolerance)
    with _checking("load", IncompatibleError):
        loaded = adapters.put_on(name, bare)
    yield Finding("load", True, "every tensor has its place")
    answers = probing.ask(loaded.model, inputs, backbone)
    yield from _on_answers(answers, found, probe, tolerance, bare.head, loaded, folder)
    if metrics:
        yield from _on_metrics(loaded, report)


def _on_probe(probe: Probe | None, inputs: probing.Batches, tolerance: float) -> Finding:
    if probe is None:
        return Finding("probe", True, "it has none: what it should answer is not known")
    given = probing.given(inputs)
    for difference in probing.compare(given, probe.inputs):
        if not difference.within(tolerance):
            return Finding(
                "probe", False, f"its tokenizer or processor makes other inputs of the probe: {difference}"
            )
    return Finding("probe", True, f"{len(inputs)} inputs, encoded as they were")


def _on_base(
    record: AdapterRecord, where: str, probe: Probe | None, found: Answers, tolerance: float
) -> Finding:
    for difference in probing.compare(found, probe.base if probe else {}):
        if not difference.within(tolerance):
            return Finding("base", False, f"{where} does not answer as its base did: {difference}")
    if record.base.weights:
        return Finding("base", True, f"{where} holds the weights that it was trained on")
    return Finding("base", True, f"{where}; nobody recorded the weights that it was trained on")


def _on_answers(
    answers: Answers,
    base: Answers | None,
    probe: Probe | None,
    tolerance: float,
    head: Sequence[str],
    loaded: LoadedAdapter,
    folder: Path,
) -> Iterator[Finding]:
    import numpy as np

    bad = [name for name, value in answers.items() if not np.isfinite(value).all()]
    if bad:
        yield Finding("answers", False, f"{bad[0]} is not finite")
        return
    moved = probing.compare(answers, base or {})
    if moved:
        yield _on_effect(moved, head, loaded.record, loaded.model, folder)
    for difference in probing.compare(answers, probe.expected if probe else {}):
        check, what = ("adapter", "the adapter is not the one that was saved")
        if difference.name != BACKBONE:
            check, what = ("head", "the head is not the one that was trained") if head else ("answers", what)
        passed = difference.within(tolerance)
        yield Finding(check, passed, f"{difference.name} as recorded" if passed else f"{what}: {difference}")
    if probe is None:
        yield Finding("answers", True, "finite")


def _on_effect(
    moved: Sequence[probing.Difference],
    head: Sequence[str],
    record: AdapterRecord,
    model: nn.Module,
    folder: Path,
) -> Finding:
    """Where nothing before a fresh head moves, the head must be all that was trained."""
    changed = next((one for one in moved if not one.within(_NOTHING)), None)
    if changed is not None:
        return Finding("effect", True, f"against the bare base {changed}")
    names = [name for path in adapter_files(folder) for name in safetensors_header.read_header(path)]
    more = [name for name in names if not any(f".{one}." in f".{name}" for one in head)]
    if head and (record.format == WHOLE or not more):
        return Finding("effect", True, "only its head was trained: before that, the base's own answers")
    return Finding("effect", False, f"it changes nothing: its {len(more)} tensors leave the base's answers")


def _on_metrics(loaded: LoadedAdapter, report: Report) -> Iterator[Finding]:
    from zoo.adapters.evaluate import evaluate

    # bf16 where this machine has it: an adapter trained in it is no other without
    precision = "fp32" if loaded.record.precision == "fp32" else "auto"
    now = {one.name: one.value for one in evaluate(loaded, report=report, precision=precision).metrics}
    compared = [one for one in loaded.record.metrics if one.name in now]
    for one in compared:
        said = (
            f"{now[one.name]:.4f} now; {one.value:.4f} recorded, {one.low:.4f} to {one.high:.4f}, n {one.n}"
        )
        yield Finding(one.name, one.low <= now[one.name] <= one.high, said)
    if not compared:
        yield Finding("metrics", False, "its record has no metric to compare with")
