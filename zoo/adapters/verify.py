"""Checks that an adapter is still what its record says: files, base, answers to the probe, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from zoo.adapters import probe as probing
from zoo.adapters.evaluate import evaluate
from zoo.adapters.integrity import WHOLE, adapter_files, check_files
from zoo.adapters.load import Adapters, LoadedAdapter
from zoo.adapters.probe import BACKBONE, NOTHING, TOLERANCES, Probe
from zoo.errors import IncompatibleError, NotFoundError, ZooError
from zoo.models import safetensors_header
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, OK, SKIPPED, CheckResult
from zoo.runtime.console import Report


class _FailedError(Exception):
    """A failure that leaves nothing to check after it."""

    def __init__(self, name: str, error: ZooError):
        self.result = CheckResult(name, FAILED, str(error), error.hint or "")


@contextmanager
def _checking(name: str, *kinds: type[ZooError]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise _FailedError(name, error) from error


def verify(
    name: str,
    registry: Registry,
    report: Report | None = None,
    *,
    base: str | None = None,
    metrics: bool = False,
) -> list[CheckResult]:
    """Load an adapter and compare it with its probe and its record; a failure is a result, not an error.

    The checks are `files`, `base`, `probe`, `load`, `effect`, `adapter`, `head`, `answers`, and one a metric.

    Args:
        base: a reference to its base, where that is not found by itself.
        metrics: measure it again on its held-out rows too; that must fall within the recorded intervals.

    Raises:
        NotFoundError: no such adapter; or its base, its plugins or its data are not here to verify it with.
    """
    results: list[CheckResult] = []
    try:
        for result in _results(name, registry, report or Report(), base, metrics):
            results.append(result)  # one by one: what was found before a failure stays
    except _FailedError as failed:
        results.append(failed.result)
    return results


def _results(
    name: str, registry: Registry, report: Report, base: str | None, metrics: bool
) -> Iterator[CheckResult]:
    """In the order in which things can go wrong."""
    record, folder = registry.locate(name)
    with _checking("files", IncompatibleError, NotFoundError):
        check_files(record, folder)
        for path in adapter_files(folder):
            safetensors_header.check_finite(path)
    yield CheckResult("files", OK, f"{len(record.files)} files as they were saved, every number finite")
    with _checking("base", IncompatibleError):
        adapters = Adapters([name], registry, base, report=report)
    with _checking("probe", IncompatibleError):
        probe = probing.read(folder)
    one = adapters[name]
    record, task = one.record, one.task
    is_quantised = one.base is not None and bool(one.method.load_options(one.params))
    tolerance = TOLERANCES["bf16" if is_quantised else "fp32"]
    examples = probe.examples if probe else None
    _, inputs = probing.batches(task, adapters.processor(name), one.config.max_length, examples)
    yield _on_probe(probe, inputs, tolerance)
    model, head = adapters.bare(name)
    backbone = probing.backbone_of(task, model)
    found: probing.Answers | None = probe.base if probe else None
    if record.format != WHOLE:
        found = probing.bare_answers(probing.ask(model, inputs, backbone), head)
        yield _on_base(record, one.base_id.location, probe, found, tolerance)
    with _checking("load", IncompatibleError):
        loaded = adapters.put_on(name, model, head)
    yield CheckResult("load", OK, "every tensor has its place")
    answers = probing.ask(loaded.model, inputs, backbone)
    yield from _on_answers(answers, found, probe, tolerance, head, loaded)
    if metrics:
        yield from _on_metrics(loaded, report)


def _on_probe(probe: Probe | None, inputs: probing.Batches, tolerance: float) -> CheckResult:
    if probe is None:
        return CheckResult("probe", SKIPPED, "it has none to compare its answers with")
    given = probing.given(inputs)
    if difference := probing.first_difference(given, probe.inputs, tolerance):
        detail = f"its tokenizer or processor makes other inputs of the probe: {difference}"
        return CheckResult("probe", FAILED, detail)
    return CheckResult("probe", OK, f"{len(inputs)} inputs, encoded as they were")


def _on_base(
    record: AdapterRecord, where: str, probe: Probe | None, found: probing.Answers, tolerance: float
) -> CheckResult:
    if difference := probing.first_difference(found, probe.base if probe else {}, tolerance):
        return CheckResult("base", FAILED, f"{where} does not answer as its base did: {difference}")
    if record.base.weights:
        return CheckResult("base", OK, f"{where} holds the weights that it was trained on")
    return CheckResult("base", OK, f"{where}; nobody recorded the weights that it was trained on")


def _on_answers(
    answers: probing.Answers,
    base: probing.Answers | None,
    probe: Probe | None,
    tolerance: float,
    head: Sequence[str],
    loaded: LoadedAdapter,
) -> Iterator[CheckResult]:
    import numpy as np

    bad = [name for name, value in answers.items() if not np.isfinite(value).all()]
    if bad:
        yield CheckResult("answers", FAILED, f"{bad[0]} is not finite")
        return
    moved = probing.compare(answers, base or {})
    if moved:
        yield _on_effect(moved, head, loaded)
    for difference in probing.compare(answers, probe.expected if probe else {}):
        check, what = ("adapter", "the adapter is not the one that was saved")
        if difference.name != BACKBONE:
            check, what = ("head", "the head is not the one that was trained") if head else ("answers", what)
        if difference.within(tolerance):
            yield CheckResult(check, OK, f"{difference.name} as recorded")
        else:
            yield CheckResult(check, FAILED, f"{what}: {difference}")
    if probe is None:
        yield CheckResult("answers", OK, "finite")


def _on_effect(
    moved: Sequence[probing.Difference], head: Sequence[str], loaded: LoadedAdapter
) -> CheckResult:
    """Where nothing before a fresh head moves, the head must be all that was trained."""
    changed = next((one for one in moved if not one.within(NOTHING)), None)
    if changed is not None:
        return CheckResult("effect", OK, f"against the bare base {changed}")
    names = safetensors_header.read_headers(adapter_files(loaded.folder))
    more = [name for name in names if not any(f".{one}." in f".{name}" for one in head)]
    if head and (loaded.record.format == WHOLE or not more):
        return CheckResult("effect", OK, "only its head was trained: before that, the base's own answers")
    return CheckResult(
        "effect", FAILED, f"it changes nothing: its {len(more)} tensors leave the base's answers"
    )


def _on_metrics(loaded: LoadedAdapter, report: Report) -> Iterator[CheckResult]:
    # bf16 where this machine has it: an adapter trained in it is no other without
    precision = "fp32" if loaded.record.precision == "fp32" else "auto"
    now = {one.name: one.value for one in evaluate(loaded, report=report, precision=precision).metrics}
    compared = [one for one in loaded.record.metrics if one.name in now]
    for one in compared:
        detail = (
            f"{now[one.name]:.4f} now; {one.value:.4f} recorded, {one.low:.4f} to {one.high:.4f}, n {one.n}"
        )
        yield CheckResult(one.name, OK if one.low <= now[one.name] <= one.high else FAILED, detail)
    if not compared:
        yield CheckResult("metrics", FAILED, "its record has no metric to compare with")
