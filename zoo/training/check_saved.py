"""Checks at the end of a run that the saved adapter reproduces the trained model."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from zoo.adapters import probe
from zoo.errors import ZooError
from zoo.models.precision import fit_cpu
from zoo.plugins.run import Run


def check_saved(run: Run, asked: tuple[list[Any], probe.Batches], base: Path, folder: Path) -> None:
    """Load what a run saved onto a fresh base, compare it with the trained model, and write the probe.

    The trained model is freed before the base is read again.

    Raises:
        ZooError: the outputs differ by more than rounding.
    """
    examples, inputs = asked
    method, task = run.method, run.task
    options = method.load_options(run.params)
    trained = probe.ask(run.model, inputs, precision=run.precision)
    learned = {name for name, value in run.model.named_parameters() if value.requires_grad}
    place = next(run.model.parameters()).device
    del run.model
    gc.collect()
    model, head = task.load_model(base, run.labels, **options)
    backbone = probe.backbone_of(task, model)
    bare = probe.bare_answers(probe.ask(model, inputs, backbone), head)
    if not method.needs_base:
        del model, backbone
        model, _ = task.load_model(folder, run.labels)
        backbone = probe.backbone_of(task, model)
    model = method.restore(model, folder, run.params, task).eval()
    expected = probe.ask(model, inputs, backbone)
    for name, value in model.named_parameters():
        value.requires_grad_(name in learned)  # frozen weights are rounded to bf16, in both models alike
    model.to(place)
    fit_cpu(model, run.precision)  # the same attention kernel too: kernels round differently
    tolerance = probe.TOLERANCES["bf16" if options else run.precision]
    loaded = probe.ask(model, inputs, precision=run.precision)
    if difference := probe.first_difference(loaded, trained, tolerance):
        raise ZooError(
            f"the saved adapter does not reproduce the trained model: on the same inputs {difference}. "
            "Nothing was registered, and the checkpoints are kept.",
            f"zoo plugin check {method.name}",
        )
    probe.write(folder, examples, inputs, bare, expected, probe.digests(base))
