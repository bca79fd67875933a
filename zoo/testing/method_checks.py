"""The promises of a method, each tried on a tiny base by the engine of real runs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError
from zoo.plugins.method import Method
from zoo.plugins.params import describe, parse
from zoo.runtime import device
from zoo.runtime.checks import FAILED, OK, CheckResult
from zoo.testing.bench import Bench, power_failure_after_checkpoint, read_data, values
from zoo.testing.promises import BrokenError, Promises, RefusedError, expect

if TYPE_CHECKING:
    import numpy as np

    from zoo.plugins.run import Run
    from zoo.tasks.base import Task

TOLERANCE = 1e-5
"""Of restored outputs, relative to the largest: the same arithmetic on the same numbers."""
MERGE_TOLERANCE = 1e-4
"""Of merged outputs: the sums are taken in another order."""
_SUFFIXES = (".safetensors", ".json")


def check_method(
    method: Method, task: Task, base: Path, data: Path, params: Mapping[str, Any] | None = None
) -> list[CheckResult]:
    """Every promise of a method on one task, kept or not.

    Args:
        base: folder of a small model, such as the fixture `tiny_models` gives.
        data: what `--data` would name.
        params: as `-s` gives them; the rest are the defaults.
    """
    results = Promises()
    _check_declaration(method, results)
    results.task = task.name
    with tempfile.TemporaryDirectory() as folder:
        try:
            settings = parse(method.Params, params or {}, f"method '{method.name}'")
            bench = Bench(method, settings, task, base, read_data(task, data), Path(folder))
        except Exception as error:
            results.note("it can be set up", FAILED, f"{type(error).__name__}: {error}")
            return results
        with results.promise("it works on the task, or refuses with a reason"):
            _check_refusal(bench)
        if results[-1].status == OK:
            _check_life(bench, results)
    return results


def _check_declaration(method: Method, results: Promises) -> None:
    with results.promise("it says what it is: a name, a line of summary, a learning rate, a format"):
        for name in ("name", "summary", "format"):
            value = getattr(method, name, None)
            expect(isinstance(value, str) and bool(value), f"{name} is {value!r}")
            expect("\n" not in str(value), f"{name} has more than one line")
        rate = method.learning_rate
        expect(isinstance(rate, float) and 0 < rate < math.inf, f"learning_rate is {rate!r}")
    with results.promise("its parameters have defaults, and read them back as a command types them"):
        if not dataclasses.is_dataclass(method.Params):
            raise BrokenError(f"Params is {method.Params!r}, not a dataclass")
        made = parse(method.Params, {}, method.name)
        typed = {
            name: ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            for name, value in vars(made).items()
            if value is not None
        }
        again = parse(method.Params, typed, method.name)
        expect(made == again, f"{made} became {again}")
    with results.promise("each parameter is explained: `param(default, help)`"):
        bare = [name for name, one in describe(method.Params).items() if not one["help"]]
        expect(not bare, f"{', '.join(bare)} without help")
    with results.promise("what its card says is Python"):
        compile(method.usage(), "usage", "exec")


def _check_refusal(bench: Bench) -> None:
    """Also on the base without weights, which is how a run asks before it fetches them."""
    from zoo.training.parameter_counts import attach_without_weights

    reason = bench.method.refuses(bench.task, bench.params)
    if reason is not None:
        expect(isinstance(reason, str) and bool(reason.strip()), f"refuses gave {reason!r}, not a reason")
        raise RefusedError(reason)
    try:
        attach_without_weights(bench.method, bench.params, bench.task, bench.base, bench.dataset.labels)
    except IncompatibleError as error:
        expect(bool(str(error).strip()), "refused without a reason")
        raise RefusedError(str(error)) from error


def _check_life(bench: Bench, results: Promises) -> None:
    """In the order in which things happen; without a trained run there is nothing left to check."""
    method = bench.method
    run: Any = None
    with results.promise("it trains what it counts without weights, and that is something"):
        run = bench.run("whole")
        _check_count(bench, run)
    if run is None:
        return
    before = values(run.model)
    with results.promise("it trains by the zoo's engine to a finite loss"):
        result = bench.train(run)
        expect(math.isfinite(result.loss), f"the loss is {result.loss}")
    if results[-1].status != OK:
        return
    after = values(run.model)
    with results.promise("training changes every tensor that has requires_grad, and no other"):
        _check_changed(before, after)
    with results.promise("a head without pretrained weights is trained with it"):
        _check_head(bench, before, after)
    outputs = bench.outputs(run.model, run.held_out, run.budget)
    saved = bench.folder / "saved"
    saved.mkdir()
    with results.promise("save writes safetensors and json, nothing else"):
        method.save(run.model, saved, bench.base_id)
        _check_files(saved)
    with results.promise("save writes every number that is trained"):
        _check_saved(bench, run, saved)
    with results.promise(f"restore on a fresh base gives equal outputs (to {TOLERANCE:g})"):
        model = bench.restored(saved, **method.load_options(bench.params))
        _compare(bench.outputs(model, run.held_out, run.budget), outputs, TOLERANCE)
    if method.format == "peft":
        with results.promise(f"plain peft loads it to equal outputs, row by row (to {TOLERANCE:g})"):
            # in padded batches PEFT itself is wrong about prompts before a decoder that classifies
            from peft import PeftModel

            model, _ = bench.fresh(**method.load_options(bench.params))
            plain = PeftModel.from_pretrained(model, str(saved)).eval()
            _compare(bench.outputs(plain, run.held_out, budget=1), outputs, TOLERANCE)
    with results.promise("a run that was stopped and resumed ends where one that was not ends"):
        _check_resume(bench, after)
    with results.promise(f"it merges into the base's own weights (to {MERGE_TOLERANCE:g}), or says why not"):
        _check_merge(bench, run, saved)
    if device.has_bf16():
        with results.promise("it trains in bf16 too, and what is trained stays float32"):
            _check_bf16(bench)


def _check_count(bench: Bench, run: Run) -> None:
    from zoo.training.parameter_counts import attach_without_weights, count

    without = attach_without_weights(bench.method, bench.params, bench.task, bench.base, bench.dataset.labels)
    real, counted = count(run.model), count(without)
    expect(real.trainable > 0, "nothing has requires_grad")
    expect(
        real.trainable == counted.trainable,
        f"{counted.trainable:,} without weights, {real.trainable:,} with them",
    )


def _check_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    import torch

    expect(
        before.keys() == after.keys(), f"parameters came or went: {sorted(before.keys() ^ after.keys())[:3]}"
    )
    for name, (trained, value) in before.items():
        same = torch.equal(value, after[name][1])
        expect(trained or same, f"{name} is frozen and changed")
        expect(not trained or not same, f"{name} has requires_grad and did not change")


def _check_head(bench: Bench, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    import torch

    _, head = bench.task.empty_model(bench.base, bench.dataset.labels)
    changed = [name for name, (_, value) in before.items() if not torch.equal(value, after[name][1])]
    for module in head:
        expect(any(module in name for name in changed), f"no parameter of {module} changed")


def _check_files(saved: Path) -> None:
    names = sorted(path.name for path in saved.rglob("*"))
    wrong = [name for name in names if not name.endswith(_SUFFIXES)]
    expect(not wrong, f"it wrote {', '.join(wrong)}")
    expect(any(name.endswith(".safetensors") for name in names), "it wrote no safetensors")


def _check_saved(bench: Bench, run: Run, saved: Path) -> None:
    from safetensors.torch import load_file

    from zoo.training.parameter_counts import count

    tensors = [value for path in saved.glob("*.safetensors") for value in load_file(path).values()]
    finite = all(bool(value.isfinite().all()) for value in tensors if value.is_floating_point())
    expect(finite, "it saved numbers that are not finite")
    if type(bench.method).state is Method.state:  # else what is saved is another form of what is trained
        found, trained = sum(value.numel() for value in tensors), count(run.model).trainable
        expect(found == trained, f"{found:,} numbers are saved, {trained:,} are trained")


def _check_resume(bench: Bench, whole: Mapping[str, Any]) -> None:
    stopped = bench.run("stopped")
    with power_failure_after_checkpoint(stopped):
        bench.train(stopped)
    resumed = bench.run("stopped", resume=True)
    bench.train(resumed)
    for name, (trained, value) in values(resumed.model).items():
        if trained:
            worst = float((value - whole[name][1]).abs().max())
            expect(worst <= TOLERANCE, f"{name} differs by {worst:.1e}")


def _check_merge(bench: Bench, run: Run, saved: Path) -> None:
    """On the base without `load_options`: what was quantised to train is merged into whole weights."""
    method, restored = bench.method, bench.restored(saved)
    before = bench.outputs(restored, run.held_out, run.budget)
    if method.unmergeable is not None:
        with contextlib.suppress(IncompatibleError):
            method.merge(restored)
            raise BrokenError(
                f"unmergeable says '{method.unmergeable}', and merge did not raise IncompatibleError"
            )
        raise RefusedError(method.unmergeable)
    merged = method.merge(restored).eval()
    plain, _ = bench.fresh()
    expect(type(merged) is type(plain), f"what is merged is a {type(merged).__name__}")
    plain.load_state_dict(merged.state_dict())  # strictly: nothing of the adapter is left
    _compare(bench.outputs(plain, run.held_out, run.budget), before, MERGE_TOLERANCE)


def _check_bf16(bench: Bench) -> None:
    import torch

    run = bench.run("bf16", precision="bf16")
    loss = bench.train(run).loss
    expect(math.isfinite(loss), f"the loss is {loss}")
    for name, value in run.model.named_parameters():
        if value.requires_grad:
            expect(value.dtype == torch.float32, f"{name} became {value.dtype}")


def _compare(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    import numpy as np

    expect(bool(np.isfinite(wanted).all()), "the outputs are not finite")
    expect(found.shape == wanted.shape, f"outputs of shape {found.shape}, not {wanted.shape}")
    largest = max(1.0, float(np.abs(wanted).max()))
    worst = float(np.abs(found - wanted).max()) / largest
    expect(worst <= tolerance, f"they differ by {worst:.1e}, relative to the largest")
