"""Brings the records of older versions into the form that this one writes."""

from __future__ import annotations

from typing import NamedTuple

from zoo.registry import registry_json
from zoo.registry.folders import RECORD_FILE, records_in
from zoo.registry.registry_json import decode, dump, dump_file
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.registry.trash import Entry


class Migrated(NamedTuple):
    """What was written anew."""

    files: list[str]
    left_out: list[str]
    """A line for each zoo.json that cannot be read and is left alone."""
    entry: Entry | None
    """With which it is undone; None where nothing changed."""


def migrate(registry: Registry, command: str) -> Migrated:
    """Check every record, and write registry.json and each zoo.json as this version does, if they differ.

    Fields that a record of an older version lacks get their defaults; the files as they were go to the trash.

    Raises:
        NotFoundError: the folder `adapters/` is another program's.
        RegistryError: a record is damaged, or of a newer schema; nothing is changed.
    """
    registry.check_ours()
    registry.check_is_zoo()
    if not registry.exists():
        return Migrated([], [], None)
    files = []
    with registry.replacing(command) as replaced:
        found = registry.raw_records()
        records = {name: registry_json.raw(decode(name, raw, AdapterRecord)) for name, raw in found.items()}
        new = dump_file(records)
        if registry_json.read_bytes(registry.path) not in (None, new):
            replaced.write(records)
            files.append(str(registry.path))
        own, left_out = records_in(registry.folder)
        for name, raw in own.items():
            path = registry.adapter_folder(name) / RECORD_FILE
            whole = dump(raw)
            if path.read_bytes() != whole:
                made = replaced.make(name)
                made.write_bytes(whole)
                replaced.move(path)
                replaced.place(made, path)
                files.append(str(path))
    return Migrated(files, left_out, replaced.entry)
