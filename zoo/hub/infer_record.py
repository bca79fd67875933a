"""Infers a record from the files of an adapter that has none; what they do not tell is `unknown`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from zoo.adapters import find_base
from zoo.adapters.compat.peft_shapes import sort_tensors
from zoo.adapters.formats import WEIGHTS, read_adapter_config
from zoo.adapters.integrity import missing_head
from zoo.cards.metadata import parse, split
from zoo.cards.redact import is_hub_id
from zoo.cards.render import FILE as CARD_FILE
from zoo.errors import IncompatibleError, NotFoundError, UsageError
from zoo.hub.trust_record import recorded_files
from zoo.models.families import CLASSIFIERS
from zoo.models.fingerprint import LEGACY_IDS, canonical, identify, read_config
from zoo.models.safetensors_header import named, read_header
from zoo.plugins import manager, source
from zoo.plugins.source import Resolved
from zoo.registry.schema import UNKNOWN, AdapterRecord, AdapterSpec, BaseId, Cost
from zoo.runtime.console import Report
from zoo.security.gates import CONFIG_FILE
from zoo.security.secrets import clean

_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)[\\/]snapshots[\\/]([0-9a-f]{40})")
"""A base that was loaded from the Hub's cache by its path."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_VERSION = re.compile(r"[\w.+@-]{1,40}")
_NO_NAMES = re.compile(r"(\d*|default|model|snapshots|checkpoint-?\d*)", re.IGNORECASE)
"""Folders whose name says nothing of the model in them."""
_UNKNOWN_BASE = BaseId(
    id=UNKNOWN, source=UNKNOWN, location="", model_type=UNKNOWN, config_sha256="", weights={}
)


@dataclass(frozen=True)
class Asserted:
    """What the user states about an adapter whose files do not tell it."""

    task: str | None = None
    labels: tuple[str, ...] = ()
    base: str | None = None


def infer_record(folder: Path, asserted: Asserted, report: Report) -> AdapterRecord:
    """The record of a PEFT folder that has none, without a name; warns of what is unknown.

    Raises:
        NotFoundError: there is no task, or no base, of the name that was asserted.
        IncompatibleError: the task, the labels or the base do not fit the adapter.
    """
    config = read_adapter_config(folder / CONFIG_FILE)
    shapes = {name: info.shape for name, info in read_header(folder / WEIGHTS[0]).items()}
    method, params = _method(config, report)
    base, local = _base(folder, config, asserted.base, report)
    kind = config.get("task_type")
    if asserted.task:
        _check_task(asserted.task, kind)
    else:
        report.warn(_task_warning(kind))
    labels = _labels(_head_rows(shapes), asserted.labels, folder, local, report)
    if lost := missing_head(shapes, config, base.model_type):
        report.warn(
            f"its file holds no {named(', '.join(lost))}: its output is noise unless its base has that."
        )
    files = recorded_files(folder)
    version = str(config.get("peft_version", ""))
    return AdapterRecord(
        name="",
        spec=AdapterSpec(
            method=method, task=asserted.task or UNKNOWN, base=base.location or None, params=params
        ),
        base=base,
        data=None,
        labels=labels,
        metrics=[],
        baselines={},
        flags=[],
        cost=Cost(
            trainable_parameters=sum(map(math.prod, shapes.values())),
            adapter_bytes=files[WEIGHTS[0]].bytes,
        ),
        training=None,
        format="peft",
        files=files,
        command="",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={"peft": version} if _VERSION.fullmatch(version) else {},
        plugins={},
    )


def apply_asserted(record: AdapterRecord, asserted: Asserted, report: Report) -> AdapterRecord:
    """A trusted record with what the user states."""
    spec, base = record.spec, record.base
    if asserted.task:
        manager.load_task(asserted.task)
        spec = msgspec.structs.replace(spec, task=asserted.task)
    if asserted.base:
        base, _ = _asserted_base(asserted.base, report)
        spec = msgspec.structs.replace(spec, base=base.location)
    labels = list(asserted.labels) or record.labels
    return msgspec.structs.replace(record, spec=spec, base=base, labels=labels)


def _method(config: Mapping[str, Any], report: Report) -> tuple[str, dict[str, Any]]:
    found = [
        (plugin.name, params)
        for plugin, method, _ in manager.load_all("method")
        if method is not None and (params := method.recognise(config)) is not None
    ]
    if not found:
        kind = named(str(config["peft_type"]))
        report.warn(f"no method here makes {kind} adapters: it is kept, and the zoo cannot load it.")
        return UNKNOWN, {}
    for other, _ in found[1:]:
        report.warn(f"it may be {other}'s too.")
    return found[0]


def _base(
    folder: Path, config: Mapping[str, Any], asserted: str | None, report: Report
) -> tuple[BaseId, Resolved | None]:
    if asserted:
        return _asserted_base(asserted, report)
    given = config.get("base_model_name_or_path")
    told = clean(given).strip() if isinstance(given, str) else ""
    revision = config.get("revision")
    if not _is_id(told) and (cached := _CACHED.search(told)):
        told, revision = f"{cached[1]}/{cached[2]}", cached[3]
    if not _is_id(told):
        from_card, at = _card_base(folder)
        if from_card is None:
            report.warn(_base_warning(told))
            return _UNKNOWN_BASE, None
        report.warn(f"its base is the one that its card names, {from_card}.")
        told, revision = from_card, at
    if not isinstance(revision, str) or not _COMMIT.fullmatch(revision):
        revision = None
    base = _hub_base(told, revision)
    try:
        local = find_base.local(base)
    except NotFoundError:
        return base, None
    if local.folder.is_dir():
        kind = named(str(read_config(local.folder).get("model_type", UNKNOWN)))
        base = msgspec.structs.replace(base, model_type=kind, licence=local.licence)
    return base, local


def _asserted_base(asserted: str, report: Report) -> tuple[BaseId, Resolved | None]:
    """With its hashes where it is local: the user states that these are its weights."""
    if source.find_local(asserted) is not None:
        local = source.resolve(asserted, (), "base", report)
        return identify(local), local
    bare, _, revision = asserted.removeprefix("hub:").partition("@")
    if not _is_id(bare):
        raise NotFoundError(
            f"the base '{asserted}' is no model folder here, and no id of the Hub.",
            "--base FOLDER",
        )
    return _hub_base(bare, revision or None), None


def _hub_base(told: str, revision: str | None) -> BaseId:
    base_id = canonical(told)
    at = f"@{revision}" if revision else ""
    return msgspec.structs.replace(
        _UNKNOWN_BASE, id=base_id, source="hub", location=f"hub:{base_id}{at}", revision=revision
    )


def _is_id(text: str) -> bool:
    """A name without an owner is one only where the Hub still redirects it: else it is somebody's folder."""
    return text.lower() in LEGACY_IDS or is_hub_id(text)


def _card_base(folder: Path) -> tuple[str | None, str | None]:
    """The base and its revision as the card of an adapter names them, whose config names a folder."""
    card = folder / CARD_FILE
    try:
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        matter = parse(split(text)[0] or "")
    except ValueError:  # what cannot be read tells nothing
        return None, None
    told = matter.get("base_model")
    if isinstance(told, list) and len(told) == 1:
        told = told[0]
    bare, _, revision = told.partition("@") if isinstance(told, str) else ("", "", "")
    return (bare, revision or None) if _is_id(bare) else (None, None)


def _base_warning(told: str) -> str:
    if not told:
        return "its config names no base: --base FOLDER|ID says which, or ask zoo check."
    parts = [part for part in re.split(r"[\\/]", told) if part not in (".", "..")]
    telling = [part for part in parts if not _NO_NAMES.fullmatch(part)]
    likely = f", perhaps of {named(telling[-1])}" if telling else ""
    return (
        f"its base is '{named(told)}', a folder of its author's machine{likely}: "
        "--base FOLDER|ID says which model that is."
    )


def _check_task(name: str, kind: object) -> None:
    task = manager.load_task(name)
    if isinstance(kind, str) and task.peft_type and task.peft_type != kind:
        raise IncompatibleError(
            f"the task '{name}' is of the kind {task.peft_type}, and the adapter is {named(kind)}.",
            "zoo tasks",
        )


def _task_warning(kind: object) -> str:
    if not isinstance(kind, str):
        return "its config tells no task: --task NAME makes it one of the zoo's."
    fits = [plugin.name for plugin, task, _ in manager.load_all("task") if task and task.peft_type == kind]
    which = f": --task {'|'.join(fits)} makes it one of the zoo's" if fits else ", which no task here does"
    return f"what it was trained for is unknown ({named(kind)}){which}."


def _head_rows(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Classes that the trained head tells apart; a head of two layers ends in the narrower one."""
    rows = [
        shape[0]
        for name, shape in sort_tensors(shapes).whole.items()
        if len(shape) == 2
        and name.endswith("weight")
        and any(part in CLASSIFIERS for part in name.split("."))
    ]
    return min(rows, default=None)


def _labels(
    rows: int | None, asserted: Sequence[str], folder: Path, base: Resolved | None, report: Report
) -> list[str]:
    if asserted:
        if rows is not None and len(asserted) != rows:
            raise UsageError(
                f"{len(asserted)} labels are given, and the adapter's head has {rows}.",
                f"--labels {','.join(f'label{one}' for one in range(rows))}",
            )
        return list(asserted)
    if rows is None:
        return []
    for place in (folder, base.folder if base else None):
        names = _names(place) if place else []
        if len(names) == rows:
            return names
    report.warn(f"what its {rows} labels mean is unknown: --labels A,B names them.")
    return [f"LABEL_{number}" for number in range(rows)]


def _names(folder: Path) -> list[str]:
    """Of the config of a model; none where they are the numbers that transformers fills in."""
    if not (folder / "config.json").is_file():
        return []
    found = read_config(folder).get("id2label")
    names = [clean(str(name)) for name in found.values()] if isinstance(found, dict) else []
    return [] if any(re.fullmatch(r"LABEL_\d+", name) for name in names) else names
