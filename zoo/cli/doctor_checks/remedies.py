"""Knows which one command makes, fetches or removes an adapter that is damaged, without losing anything.

Each is put together here from its settings: a command from an untrusted record is not to be typed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from zoo.adapters.integrity import changed_files
from zoo.errors import ZooError
from zoo.plugins import manager, source
from zoo.registry.names import first_free
from zoo.registry.schema import UNKNOWN, AdapterRecord, AdapterSpec
from zoo.registry.store import RECORD_FILE, Registry, read_record
from zoo.security.gates import CONFIG_FILE
from zoo.training.prepare import command


def zoo_command(*arguments: str) -> str:
    """`zoo ARGUMENTS`, quoted for a shell."""
    return shlex.join(["zoo", *arguments])


def again(record: AdapterRecord, registry: Registry, records: Mapping[str, AdapterRecord]) -> str:
    """The command that makes or fetches an adapter anew, or removes what was made anew or cannot be.

    What it replaces or removes, `zoo undo` brings back. One that was trained is trained under the next free
    name: only when that is done is there a reason to remove the old one.
    """
    if record.origin is None and record.hub is None:
        if any(_is_again(one, record, registry.adapter_folder(name)) for name, one in records.items()):
            return zoo_command("rm", record.name)
        free = first_free(
            record.name,
            lambda one: one in records or registry.adapter_folder(one).exists() or one == record.name,
        )
        return train_again(record.spec, free)
    if record.hub is not None and record.origin is None:
        where = f"{record.hub.repo}@{record.hub.revision}"
        return zoo_command("pull", where, "--name", record.name, "--replace")
    kind, _, where = str(record.origin).partition(":")
    if kind == "path" and not any((Path(where) / one).is_file() for one in (CONFIG_FILE, RECORD_FILE)):
        return zoo_command("rm", record.name)
    return zoo_command("import", where, "--name", record.name, "--replace", *_asserted(record, kind, where))


def train_again(spec: AdapterSpec, name: str) -> str:
    return zoo_command(*shlex.split(command(spec))[1:], "--name", name)


def _is_again(one: AdapterRecord, record: AdapterRecord, folder: Path) -> bool:
    """Was it trained later with the same settings, and is it whole, as far as sizes tell?"""
    later = one.origin is None and one.created > record.created
    return (
        later and command(one.spec) == command(record.spec) and not any(changed_files(one, folder, fast=True))
    )


def _asserted(record: AdapterRecord, kind: str, where: str) -> Iterator[str]:
    """What an import of these files would not find out by itself, as options.

    A record that came with the files tells all but what was stated otherwise; without one it is guessed.
    """
    own: AdapterRecord | None = None
    if kind == "path":
        with suppress(ZooError, OSError):
            own = read_record(Path(where) / RECORD_FILE)
    elif record.training is not None:
        own = record
    task, base = record.spec.task, record.base
    if task != UNKNOWN and (own is None or own.spec.task != task) and task in manager.find("task"):
        yield from ("--task", task)
    if record.labels and (own is None or own.labels != record.labels) and _can_be_typed(record.labels):
        yield from ("--labels", ",".join(record.labels))
    if base.location and (own is None or own.base != base) and _is_there(base.location):
        yield from ("--base", base.location)


def _can_be_typed(labels: list[str]) -> bool:
    """False of names with a comma, and of those that an import makes up itself."""
    made_up = [f"LABEL_{number}" for number in range(len(labels))]
    return labels != made_up and not any("," in one or one != one.strip() for one in labels)


def _is_there(location: str) -> bool:
    if location.startswith("hub:"):
        return True
    with suppress(ZooError, OSError):
        return source.find_local(location) is not None
    return False
