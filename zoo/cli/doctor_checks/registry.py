"""Checks one registry: its file, its adapters' folders, and what is left over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from zoo.cli.doctor_checks import adapters, housekeeping
from zoo.errors import ZooError
from zoo.registry import registry_json
from zoo.registry.schema import SCHEMA, AdapterRecord
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, OK, WARNING, CheckResult, some
from zoo.runtime.console import Report


def check_registry(registry: Registry, report: Report, *, fast: bool) -> list[CheckResult]:
    """What is as it should be first, then each finding.

    Args:
        fast: compare the sizes of files; no hash is taken.
    """
    records, found = housekeeping.read_all(registry)
    return [
        *_file(registry),
        *found,
        *_files(registry, records, report, fast=fast),
        *_same_files(records),
        *housekeeping.leftovers_in(registry),
    ]


def _file(registry: Registry) -> Iterator[CheckResult]:
    """Nothing of one that cannot be read, which `read_all` reports."""
    name = str(registry.path)
    try:
        content, records = registry_json.read_bytes(registry.path), registry.raw_records()
    except ZooError:
        return
    if content is None:
        yield CheckResult(name, OK, "not there yet, and nor is any adapter")
        return
    yield CheckResult(name, OK, f"{len(records):,} adapters, schema {SCHEMA}")
    if content != registry_json.dump_file(records):
        told = "its records are not sorted and laid out as this version does it"
        yield CheckResult(name, WARNING, told, "zoo registry migrate")


def _files(
    registry: Registry, records: Mapping[str, AdapterRecord], report: Report, *, fast: bool
) -> Iterator[CheckResult]:
    findings = list(adapters.adapters(registry, records, report, fast=fast))
    whole = len(records) - len({one.name for one in findings if one.status == FAILED})
    by = "sizes" if fast else "hashes"
    yield CheckResult("files", OK, f"of {whole:,} adapters as recorded, by their {by}")
    yield from findings


def _same_files(records: Mapping[str, AdapterRecord]) -> Iterator[CheckResult]:
    by_hash: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for name, record in records.items():
        by_hash[tuple(sorted((file, one.sha256) for file, one in record.files.items()))].append(name)
    for hashes, names in by_hash.items():
        if hashes and len(names) > 1:
            yield CheckResult(some(names), WARNING, "the same files by their hashes, under several names")
