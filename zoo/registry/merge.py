"""Joins two registries, or the two sides of a git conflict in one, by names and hashes of adapters."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from zoo.errors import RegistryError, UsageError, ZooError
from zoo.registry import registry_json
from zoo.registry.folders import RECORD_FILE, read_record
from zoo.registry.names import check_name, first_free
from zoo.registry.registry_json import Records, decode, dump, same
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.registry.trash import Entry

Changed = Callable[[AdapterRecord, Path], tuple[list[str], list[str]]]
"""The files of an adapter that are gone, and those whose hash is another (`adapters.integrity`)."""


class Joined(msgspec.Struct, kw_only=True):
    """What came of joining two registries."""

    added: list[str] = msgspec.field(default_factory=list)
    """The adapters that were only there, by their name here."""
    same: list[str] = msgspec.field(default_factory=list)
    """Those that are here already, with the same files."""
    renamed: dict[str, str] = msgspec.field(default_factory=dict)
    """Name there -> name here, where another adapter has the name."""
    without_files: list[str] = msgspec.field(default_factory=list)
    """Added with their record alone: their folder is not there."""
    left_out: list[str] = msgspec.field(default_factory=list)
    """A line for each adapter that could not be taken, with the reason."""
    entry: Entry | None = None
    """With which it is undone; None where nothing changed."""


def merge(
    registry: Registry, other: Registry | None, changed: Changed, command: str, *, dry_run: bool
) -> Joined:
    """Take the adapters of `other`, or, of a registry.json with git conflicts, those of both sides.

    Raises:
        UsageError: there is no conflict, and no other registry is named.
        RegistryError: one of them cannot be read.
    """
    joined = _Join(registry, other)
    wanted = {name: one for name, one in joined.theirs.items() if joined.same_here(name, one) is None}
    if dry_run:
        joined.plan({name: _check(one, joined.folder(name), changed) for name, one in wanted.items()})
        return joined.result
    registry.check_ours()
    work = registry.work_folder("")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="merge-", dir=work, ignore_cleanup_errors=True) as place:
        copies = {}
        for name, record in wanted.items():
            folder = joined.folder(name)
            if folder is not None:
                shutil.copytree(folder, Path(place) / name, symlinks=True)
                folder = Path(place) / name
            copies[name] = _check(record, folder, changed)
        with registry.replacing(command) as replaced:
            joined = _Join(registry, other)
            records = joined.plan(copies)
            if records is not None:
                for made, record in joined.placed:
                    (made / RECORD_FILE).write_bytes(dump(record))
                    replaced.place(made, registry.adapter_folder(record.name))
                for record in joined.published:
                    path = registry.adapter_folder(record.name) / RECORD_FILE
                    if path.is_file():
                        made = replaced.make(record.name)
                        made.write_bytes(dump(record))
                        replaced.move(path)
                        replaced.place(made, path)
                replaced.write(records)
        joined.result.entry = replaced.entry
        return joined.result


class _Join:
    """Two registries, and which record of theirs goes where."""

    def __init__(self, registry: Registry, other: Registry | None):
        self._registry, self._other = registry, other
        self.result = Joined()
        self.placed: list[tuple[Path, AdapterRecord]] = []
        """Folders, and the records that they get."""
        self.published: list[AdapterRecord] = []
        """Records of adapters here that got a place on the Hub."""
        if other is None:
            self._mine, theirs = self._sides()
        else:
            if not other.exists():
                raise UsageError(f"there is no registry at '{other.path}'.", "zoo registry merge OTHER")
            self._mine, theirs = registry.raw_records(), other.raw_records()
        self.theirs: dict[str, AdapterRecord] = {}
        for name, raw in sorted(theirs.items()):
            try:
                self.theirs[check_name(name)] = decode(name, raw, AdapterRecord)
            except ZooError as error:
                self.result.left_out.append(f"'{name}': {error}")

    def _sides(self) -> tuple[Records, Records]:
        content = registry_json.read_bytes(self._registry.path)
        sides = registry_json.sides(content, self._registry.path) if content else None
        if sides is None:
            registry_json.parse(content, self._registry.path)
            raise UsageError(f"{self._registry.path} holds no git conflict.", "zoo registry merge OTHER")
        return sides

    def folder(self, name: str) -> Path | None:
        """Where the files of one of theirs are to be copied from."""
        if self._other is None or self._other.folder == self._registry.folder:
            return None
        found = self._other.adapter_folder(name)
        return found if found.is_dir() else None

    def plan(self, copies: dict[str, Path | str | None]) -> Records | None:
        """The records of both, None where that is what is here already.

        Args:
            copies: name there -> its folder, why that cannot be taken, or None.
        """
        records = dict(self._mine)
        for name, record in self.theirs.items():
            here = self.same_here(name, record)
            if here is not None:
                self.result.same.append(here)
                self._take_hub(here, record, records)
                continue
            copy = copies.get(name)
            if isinstance(copy, str):
                self.result.left_out.append(f"'{name}': {copy}")
                continue
            if name in records and self._is_in_folder(name, record):
                # git keeps no folders: the one that is here decides whose the name is
                other, records[name] = records[name], registry_json.raw(record)
                with suppress(RegistryError):
                    self._add(name, decode(name, other, AdapterRecord), None, records)
                continue
            self._add(name, record, copy, records)
        return None if self._other is not None and records == self._mine else records

    def same_here(self, name: str, record: AdapterRecord) -> str | None:
        """The adapter with the same files that has that name here, or got a number after it."""
        for here, raw in self._mine.items():
            if here == name or here.startswith(f"{name}-"):
                with suppress(RegistryError):
                    files = decode(here, raw, AdapterRecord).files
                    if (files and files == record.files) or same(raw, registry_json.raw(record)):
                        return here
        return None

    def _take_hub(self, here: str, record: AdapterRecord, records: Records) -> None:
        """Keep where it was published, which only the other may know."""
        with suppress(RegistryError):
            mine = decode(here, records[here], AdapterRecord)
            if mine.hub is None and record.hub is not None:
                self.published.append(msgspec.structs.replace(mine, hub=record.hub))
                records[here] = registry_json.raw(self.published[-1])

    def _is_in_folder(self, name: str, record: AdapterRecord) -> bool:
        if self._other is not None:
            return False
        with suppress(ZooError, OSError):
            return read_record(self._registry.adapter_folder(name) / RECORD_FILE).files == record.files
        return False

    def _add(self, name: str, record: AdapterRecord, copy: Path | None, records: Records) -> None:
        def is_taken(candidate: str) -> bool:
            if candidate == name:  # a record without files may be of the folder that is here
                on_disk = copy is not None and self._registry.adapter_folder(name).exists()
            else:
                on_disk = candidate in self.theirs or self._registry.adapter_folder(candidate).exists()
            return candidate in records or on_disk

        free = first_free(name, is_taken)
        if free != name:
            self.result.renamed[name] = free
            record = msgspec.structs.replace(record, name=free)
        self.result.added.append(free)
        records[free] = registry_json.raw(record)
        if copy is not None:
            self.placed.append((copy, record))
        elif not self._registry.adapter_folder(free).is_dir():
            self.result.without_files.append(free)


def _check(record: AdapterRecord, folder: Path | None, changed: Changed) -> Path | str | None:
    """The folder if it holds the files that are on record, else why it does not; None where there is none."""
    gone, other = changed(record, folder) if folder else ([], [])
    if gone or other:
        return f"its file {(gone or other)[0]} {'is gone' if gone else 'is not what was saved'}"
    return folder
