"""Checks that adapters are still what their records say: the files, the heads, the plugins they need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.adapters import find_base
from zoo.adapters.compat.base_shapes import read_base
from zoo.adapters.formats import WEIGHTS
from zoo.adapters.integrity import changed_files, missing_head
from zoo.cards import render
from zoo.cards import validate as card_check
from zoo.cli.doctor_checks.remedies import again, zoo_command
from zoo.errors import ZooError
from zoo.models.families import CLASSIFIERS
from zoo.models.safetensors_header import named, read_header
from zoo.plugins import manager
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, WARNING, CheckResult, Status, some
from zoo.runtime.console import Report
from zoo.security.safe_read import read_object

_MUCH = 2_000_000_000
"""Bytes that take seconds to hash."""

Records = Mapping[str, AdapterRecord]


def adapters(registry: Registry, records: Records, report: Report, *, fast: bool) -> Iterator[CheckResult]:
    """Files that are gone or changed, or hold no head."""
    here = {name: record for name, record in records.items() if registry.adapter_folder(name).is_dir()}
    total = sum(file.bytes for record in here.values() for file in record.files.values())
    if not fast and total > _MUCH:
        report.say(f"hashing {total / 1e9:.1f} GB of adapters; --fast compares sizes only")
    for name, record in here.items():
        folder = registry.adapter_folder(name)
        for status, detail in _adapter(folder, record, fast):
            yield CheckResult(str(folder), status, detail, again(record, registry, records))


def _adapter(folder: Path, record: AdapterRecord, fast: bool) -> Iterator[tuple[Status, str]]:
    lost, changed = changed_files(record, folder, fast=fast)
    if lost or changed:
        what = "; ".join(
            f"{some(names)} {state}"
            for names, state in (
                (lost, "is gone" if len(lost) == 1 else "are gone"),
                (changed, "changed since it was saved"),
            )
            if names
        )
        yield FAILED, what
    if any(name.endswith(".safetensors") for name in (*lost, *changed)):
        return  # of other weights there is no more to say
    yield from _missing_head(folder, record)


def _missing_head(folder: Path, record: AdapterRecord) -> Iterator[tuple[Status, str]]:
    """The status and what is missing, from the header of the weights and the adapter's own config."""
    files = [name for name in record.files if name in WEIGHTS]
    if not files:
        return
    try:
        tensors = [tensor for name in files for tensor in read_header(folder / name)]
    except ZooError as error:
        yield FAILED, str(error)
        return
    config: dict[str, Any] = {}
    with suppress(ZooError, OSError):
        config = read_object(folder / "adapter_config.json")
    lost = missing_head(tensors, config, record.base.model_type)
    if lost and (lost := missing_head(tensors, config, record.base.model_type, _modules_of(record.base))):
        yield FAILED, f"its head is missing: {files[0]} holds no {' and no '.join(map(named, lost))}"
        return
    held = {part for tensor in tensors for part in tensor.split(".")}
    if record.labels and not config and not CLASSIFIERS & held:
        yield WARNING, f"{files[0]} holds no head, unless by a name of its own"


def _modules_of(base: BaseId) -> Collection[str]:
    """The modules that the base of an adapter has weights for; none where it is not here."""
    try:
        found = read_base(find_base.local(base).folder)
    except (ZooError, OSError):
        return ()
    return () if found.drawn else found.modules


def cards(registry: Registry, records: Records) -> Iterator[CheckResult]:
    """Cards that are gone, or that a hand or an older zoo made say otherwise than the records."""
    gone, differing, example = [], [], ""
    for name, record in records.items():
        if record.origin is not None or not registry.adapter_folder(name).is_dir():
            continue  # others' cards are their own
        try:
            text = (registry.adapter_folder(name) / render.FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            gone.append(name)
            continue
        if differences := card_check.differs(text, record):
            differing.append(name)
            example = example or differences[0]
    for detail, names in (
        ("no card that can be read", gone),
        (f"the card is not of the record: {example}", differing),
    ):
        if names:
            fix = zoo_command("card", names[0], "--write")
            yield CheckResult(some(names), WARNING, detail, fix)


def missing_plugins(records: Records) -> Iterator[CheckResult]:
    """Methods and tasks of adapters that nobody here brings."""
    needed: dict[tuple[str, str], list[tuple[str, AdapterRecord]]] = defaultdict(list)
    for name, record in records.items():
        needed["method", record.spec.method].append((name, record))
        needed["task", record.spec.task].append((name, record))
    for (kind, plugin), users in sorted(needed.items()):
        if plugin != UNKNOWN and plugin not in manager.find(kind):
            package = manager.pinned(users[0][1].plugins.get(kind, ""))
            fix = f"pip install {package}" if package else f"zoo {kind}s"
            what = f"the {kind} '{plugin}' is not installed"
            yield CheckResult(some([name for name, _ in users]), FAILED, what, fix)
