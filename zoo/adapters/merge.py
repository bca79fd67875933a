"""Merges an adapter into its base, and compares the outputs of the merged model before it is kept."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from zoo.adapters import probe
from zoo.adapters.integrity import WHOLE
from zoo.adapters.load import Adapters
from zoo.adapters.probe import MERGE_TOLERANCES
from zoo.cards import render
from zoo.errors import IncompatibleError, UsageError
from zoo.models.fingerprint import file_ids, read_config
from zoo.registry.store import RECORD_FILE, Registry, dump
from zoo.runtime.console import Report


@dataclass(frozen=True)
class Merged:
    folder: Path
    difference: float
    """Largest difference of any output on the probe, between the adapter on its base and the folder."""
    scale: float
    """The largest output."""
    dtype: str


def merge(
    name: str,
    registry: Registry,
    folder: Path,
    report: Report | None = None,
    *,
    dtype: str | None = None,
    base: str | None = None,
    allow_other: bool = False,
) -> Merged:
    """Write the adapter and its base as one model, with its tokenizer: `transformers` loads it by itself.

    A base that was quantised for training is merged as it was published. The folder is read back and compared
    before it gets its name; one that differs is not kept. The record goes along, with the base that it was
    merged into, and a probe with the merged model's answers: `zoo predict` and `zoo verify` take the folder.

    Args:
        dtype: `float32`, `float16` or `bfloat16`; None is what the base's config says.
        base: see `load`, and for `allow_other` too.

    Raises:
        UsageError: the folder holds something already, or an unknown dtype.
        IncompatibleError: the method does not merge, or the merged model's outputs differ.
    """
    report = report or Report()
    if dtype not in (None, *MERGE_TOLERANCES):
        raise UsageError(f"--dtype is {', '.join(MERGE_TOLERANCES)}, got '{dtype}'.")
    _check_free(folder)
    adapters = Adapters([name], registry, base, allow_other, report)
    one = adapters[name]
    method, task, record = one.method, one.task, one.record
    if method.unmergeable:
        raise IncompatibleError(f"{method.name} does not merge: {method.unmergeable}.")
    model, head = adapters.bare(name, quantised=False)
    examples, inputs = probe.batches(task, adapters.processor(name), one.config.max_length)
    backbone = probe.backbone_of(task, model)
    answers = probe.bare_answers(probe.ask(model, inputs, backbone), head)
    loaded = adapters.put_on(name, model, head)
    del model, backbone
    before = probe.ask(loaded.model, inputs, whole=True)
    import torch

    kind = dtype or _published_dtype(one.weights)
    report.say(f"merging '{name}' into {one.base_id.id}")
    merged = method.merge(loaded.model).to(getattr(torch, kind))

    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")  # another process may merge into it too
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        merged.save_pretrained(str(beside))
        loaded.processor.save_pretrained(str(beside))
        del merged
        again, _ = task.load_model(beside, record.labels)
        differences = probe.compare(probe.ask(again, inputs, whole=True), before)
        size, scale = max(one.size for one in differences), max(one.scale for one in differences)
        if not all(one.size <= MERGE_TOLERANCES[kind] * scale for one in differences):
            raise IncompatibleError(
                f"the merged model differs from the adapter by {size:.2g}, "
                f"where outputs reach {scale:.2g}: it was not kept.",
                "--dtype float32" if kind != "float32" else None,
            )
        expected = probe.ask(again, inputs, probe.backbone_of(task, again))
        probe.write(beside, examples, inputs, answers, expected, probe.digests(one.weights))
        made = msgspec.structs.replace(record, base=one.base_id, format=WHOLE, files=file_ids(beside))
        (beside / RECORD_FILE).write_bytes(dump(made))
        (beside / render.FILE).write_text(render.render(made), encoding="utf-8")
        _check_free(folder)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Merged(folder, size, scale, kind)


def _check_free(folder: Path) -> None:
    """
    Raises:
        UsageError: the folder holds something, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds something already.", "-o FOLDER")


def _published_dtype(base: Path) -> str:
    config = read_config(base)
    kind = str(config.get("dtype") or config.get("torch_dtype"))
    return kind if kind in MERGE_TOLERANCES else "float32"
