"""Reads the folders of adapters, whose zoo.json is the truth, and tells them from folders of anybody else."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from zoo.errors import NotFoundError, RegistryError, ZooError
from zoo.registry import registry_json
from zoo.registry.registry_json import Records, decode
from zoo.registry.schema import AdapterRecord

RECORD_FILE = "zoo.json"


def read_record(path: Path) -> AdapterRecord:
    """The record in an adapter's folder, wherever that lies.

    Raises:
        NotFoundError: it is not there.
        RegistryError: it is damaged, or newer than this zoo.
    """
    try:
        return decode(path.parent.name, path.read_bytes(), AdapterRecord)
    except FileNotFoundError:
        command = shlex.join(["zoo", "import", str(path.parent)])
        hint = command if (path.parent / "adapter_config.json").is_file() else None
        raise NotFoundError(f"{path.parent} holds no {RECORD_FILE}: no adapter of the zoo.", hint) from None


def records_in(adapters: Path) -> tuple[Records, list[str]]:
    """The record of every folder that has one, and a line for each that cannot be read."""
    found: Records = {}
    trouble = []
    for path in sorted(adapters.glob(f"*/{RECORD_FILE}")):
        try:
            record = decode(path.parent.name, path.read_bytes(), AdapterRecord)
        except (RegistryError, OSError) as error:
            trouble.append(f"{path}: {error}")
            continue
        if record.name != path.parent.name:
            trouble.append(f"{path}: it says its name is '{record.name}'; rename the folder")
            continue
        found[record.name] = registry_json.raw(record)
    return found, trouble


def is_adapter(folder: Path, name: str, record: AdapterRecord | None) -> bool:
    """Is what lies there the adapter of that name: by its zoo.json, or by the files on record?

    A link is: only the link would be moved.
    """
    if folder.is_symlink():
        return True
    with suppress(ZooError, OSError):
        if read_record(folder / RECORD_FILE).name == name:
            return True
    files = record.files if record else {}
    return bool(files) and all(_has_size(folder / file, one.bytes) for file, one in files.items())


def _has_size(path: Path, size: int) -> bool:
    with suppress(OSError):
        return os.stat(path).st_size == size
    return False
