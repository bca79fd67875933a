"""Reads and writes registry.json: sorted, replaced whole under a lock, rebuilt from the zoo.json files."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from zoo.errors import FullError, NotFoundError, RegistryError, UsageError, ZooError
from zoo.registry import lock, registry_json, trash, undo
from zoo.registry.folders import RECORD_FILE as RECORD_FILE
from zoo.registry.folders import is_adapter, records_in
from zoo.registry.folders import read_record as read_record
from zoo.registry.locate import find as find
from zoo.registry.locate import locate as locate
from zoo.registry.names import check_name, first_free
from zoo.registry.registry_json import Records, decode, dump_file, without_gc
from zoo.registry.registry_json import dump as dump
from zoo.registry.schema import SCHEMA, AdapterRecord, BaseId, ListedRecord
from zoo.runtime import suggest
from zoo.runtime.files import sync, write_whole
from zoo.runtime.paths import is_folder

ADAPTERS = "adapters"
WORK = ".work"
"""Under `adapters/`: checkpoints and half-made adapters, never listed."""


class Registry:
    """The adapters of one registry.json.

    Args:
        path: of the file, or as `--registry` takes it; None is the registry that the command line would use.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = path if isinstance(path, Path) else locate(path)
        self.file = Path(os.path.realpath(self.path)) if self.path.is_symlink() else self.path
        """What is read and written: of a link, the file that all share, with one lock beside it."""
        beside = self.path.parent / ADAPTERS
        self.folder = beside if beside.is_dir() else self.file.parent / ADAPTERS

    def exists(self) -> bool:
        """Is there a registry, if only the adapters of one whose registry.json is gone?"""
        return self.path.is_file() or self.has_adapters()

    def has_adapters(self) -> bool:
        """Is `adapters/` a folder of the zoo, and nobody else's of that name?"""
        marks = (WORK, trash.TRASH)
        return any((self.folder / one).is_dir() for one in marks) or any(self.folder.glob(f"*/{RECORD_FILE}"))

    def records(self) -> dict[str, AdapterRecord]:
        """Every adapter by name, sorted.

        Raises:
            RegistryError: the file is damaged, holds git conflicts, or is of a newer schema.
        """
        with without_gc():
            return dict(self.each())

    def each(self) -> Iterator[tuple[str, AdapterRecord]]:
        """The same, one record at a time: a hundred thousand of them take a gigabyte."""
        for name, raw in self._read().items():
            yield name, decode(name, raw, AdapterRecord)

    def listed(self) -> list[tuple[str, ListedRecord, BaseId]]:
        """(key in registry.json, record in brief, base) of every adapter: 0.1 s for ten thousand.

        Damage in a field that a list does not show is left for the commands that read it. Adapters of one
        base share one `BaseId`. Errors are those of `records`.
        """
        bases: dict[bytes, BaseId] = {}
        found = []
        for name, record in self._listed().items():
            raw = bytes(record.base)
            if raw not in bases:
                bases[raw] = decode(name, raw, BaseId)
            found.append((name, record, bases[raw]))
        return found

    def _listed(self) -> dict[str, ListedRecord]:
        content = self._content()
        with suppress(*registry_json.UNDECODABLE):
            found = msgspec.json.decode(content or b"", type=registry_json.ListedFile)
            if all(record.schema <= SCHEMA for record in found.adapters.values()) and found.schema <= SCHEMA:
                return found.adapters
        # one record after the other finds the one that is damaged
        return {name: decode(name, raw, ListedRecord) for name, raw in self._read().items()}

    def pick(self, names: Iterable[str]) -> list[AdapterRecord]:
        """The records of `names` in that order; what has gone since they were listed is left out."""
        adapters = self._read()
        return [decode(name, adapters[name], AdapterRecord) for name in names if name in adapters]

    def get(self, name: str) -> AdapterRecord:
        """Raises NotFoundError: no adapter has that name."""
        adapters = self._read()
        _check_has(adapters, name)
        return decode(name, adapters[name], AdapterRecord)

    def locate(self, name: str) -> tuple[AdapterRecord, Path]:
        """The record and the folder of an adapter of this registry, or of a folder that holds one anywhere.

        Raises:
            NotFoundError: neither is called that, or a folder holds no record.
        """
        folder = Path(name)
        is_record = name != folder.name or (folder / RECORD_FILE).is_file()
        if is_folder(folder) and name not in self and is_record:
            return read_record(folder / RECORD_FILE), folder
        return self.get(name), self.adapter_folder(name)

    def check_is_zoo(self) -> None:
        """
        Raises:
            NotFoundError: there is no registry.json, and `adapters/` is another program's.
        """
        if not self.exists() and self.folder.is_dir() and any(self.folder.iterdir()):
            raise NotFoundError(f"{self.folder} holds no adapter of the zoo.", "--registry FOLDER")

    def raw_records(self) -> Records:
        """Every record by name, still JSON; errors are those of `records`."""
        return self._read()

    def __contains__(self, name: str) -> bool:
        return name in self._read()

    def adapter_folder(self, name: str) -> Path:
        return self.folder / name

    def work_folder(self, name: str) -> Path:
        return self.folder / WORK / name

    def free_name(self, name: str, taken: Collection[str] = frozenset()) -> str:
        """`name`, or `name-2`, `name-3`...: the first that is neither registered, on disk, nor `taken`."""
        adapters = self._read()
        return first_free(
            name, lambda one: one in adapters or one in taken or self.adapter_folder(one).exists()
        )

    def check_writable(self) -> None:
        """Fail before an hour of training, not after it.

        Raises:
            ZooError: the folder cannot be written to.
            RegistryError: the registry cannot be read.
        """
        with self._writing():
            self._read()

    def add(self, record: AdapterRecord, made: Path) -> AdapterRecord:
        """Move a finished folder to its place and enter its record; both or neither.

        `made` lies under `work_folder`, on the same file system. If another process took the name meanwhile,
        the next free one is used: what took an hour to train is not thrown away.
        """
        with self._writing():
            found = self._read()
            record = msgspec.structs.replace(record, name=self.free_name(record.name))
            write_whole(made / RECORD_FILE, dump(record))
            target = self.adapter_folder(record.name)
            found[record.name] = registry_json.raw(record)
            os.replace(made, target)
            try:
                sync(self.folder)
                self._write(found)
            except BaseException:
                if record.name not in self:
                    os.replace(target, made)
                raise
        return record

    def put_in_place(
        self, record: AdapterRecord, made: Path, command: str
    ) -> tuple[AdapterRecord, trash.Entry | None]:
        """Enter a finished folder in the place of the adapter of its name, which goes to the trash.

        Returns the record, and with what it is undone; None where nothing had the name.

        Raises:
            UsageError: a folder of that name is no adapter's.
        """
        with self._writing():
            found = self._read()
            if record.name in found:
                self.check_is_adapter(record.name, found)
                write_whole(made / RECORD_FILE, dump(record))
                with self._replacing(command) as replaced:
                    if os.path.lexists(self.adapter_folder(record.name)):
                        replaced.move(self.adapter_folder(record.name))
                    replaced.place(made, self.adapter_folder(record.name))
                    found[record.name] = registry_json.raw(record)
                    replaced.write(found)
                return record, replaced.entry
        return self.add(record, made), None

    def restore(self, name: str, command: str = "zoo registry restore") -> trash.Entry | None:
        """Write the zoo.json of an adapter as registry.json has it; what is there goes to the trash.

        Raises:
            NotFoundError: no adapter has that name, or its folder is gone.
        """
        path, record = self.adapter_folder(name) / RECORD_FILE, self.get(name)
        if not path.parent.is_dir():
            raise NotFoundError(f"{path.parent} is gone.", "zoo doctor")
        if not os.path.lexists(path):
            self.replace(record)
            return None
        with self.replacing(command) as replaced:
            made = replaced.make(RECORD_FILE)
            made.write_bytes(dump(record))
            replaced.move(path)
            replaced.place(made, path)
        return replaced.entry

    def replace(self, record: AdapterRecord) -> None:
        """Write what has become of an adapter since it was added: its own file first, which is the truth.

        Raises:
            NotFoundError: no adapter has that name.
        """
        with self._writing():
            found = self._read()
            _check_has(found, record.name)
            write_whole(self.adapter_folder(record.name) / RECORD_FILE, dump(record))
            found[record.name] = registry_json.raw(record)
            self._write(found)

    def remove(self, *names: str, command: str = "zoo rm") -> trash.Entry:
        """Out of the registry, and off to the trash: all of them or none.

        Raises:
            NotFoundError: no adapter has one of the names.
            UsageError: the folder of one is no adapter's.
            FullError: there is no room to write registry.json; nothing is removed.
        """
        with self._writing():
            found = self._read()
            for name in names:
                _check_has(found, name)
                self.check_is_adapter(check_name(name), found)
            left = {name: raw for name, raw in found.items() if name not in names}
            try:
                with self._replacing(command) as removed:
                    for name in names:
                        if os.path.lexists(self.adapter_folder(name)):
                            removed.move(self.adapter_folder(name))
                    removed.write(left)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                told = f"{self.file} cannot be written: {error.strerror}; nothing was removed."
                raise FullError(told, "--purge") from error
        assert removed.entry is not None
        return removed.entry

    def purge(self, *names: str, command: str = "zoo rm --purge") -> None:
        """Remove adapters and delete their files, also on a full disk; errors are those of `remove`."""
        try:
            entry = self.remove(*names, command=command)
        except FullError:  # what is deleted first makes room for writing that it is
            with self._writing():
                doomed = [trash.doom(self.adapter_folder(name), self.folder) for name in names]
            for folder in doomed:
                shutil.rmtree(folder, ignore_errors=True)
            entry = self.remove(*names, command=command)
        shutil.rmtree(trash.doom(trash.folder_of(entry, self.folder), self.folder), ignore_errors=True)

    def rebuild(self, command: str = "zoo registry rebuild") -> Rebuilt:
        """Make registry.json anew from every `adapters/*/zoo.json`; the old one goes to the trash.

        Raises:
            UsageError: the file, or the folder `adapters/`, is somebody else's.
            RegistryError: it holds git conflicts that can be merged, or nothing would be left.
        """
        self.check_is_zoo()
        with self._writing():
            old = self._content()
            if old is not None and registry_json.sides(old, self.file) is not None:
                raise RegistryError(f"{self.path} holds git conflict markers.", registry_json.MERGE)
            before: Records = {}
            with suppress(RegistryError):
                before = self._read()
            adapters, trouble = records_in(self.folder)
            lost = sorted(before.keys() - adapters.keys())
            if lost and not adapters:
                told = f"{self.folder} has none of the adapters in {self.path}; nothing was changed."
                raise RegistryError(told, "zoo doctor")
            new, done = dump_file(adapters), None
            if new != old:
                with self._replacing(command) as replaced:
                    replaced.write(adapters)
                done = replaced.entry
        return Rebuilt(len(adapters), trouble, lost, done)

    def undo(self, number: int | None = None, command: str = "zoo undo") -> tuple[trash.Entry, trash.Entry]:
        """Bring back what a command replaced, the last one by default; then that can be undone as well.

        Raises:
            NotFoundError: there is no such command.
            IncompatibleError: what it replaced was changed meanwhile; nothing is done.
        """
        if not self.has_adapters():
            raise NotFoundError(f"{self.folder} keeps nothing that could be brought back.")
        with self._writing():
            return undo.undo(self.file, self.folder, number, command)

    @contextmanager
    def replacing(self, command: str) -> Iterator[trash.Replacement]:
        """Under the lock, a `Replacement`: its `move` puts what is under `adapters/` in the trash."""
        with self._writing(), self._replacing(command) as replaced:
            yield replaced

    def _replacing(self, command: str) -> trash.Replacement:
        return trash.Replacement(self.file, self.folder, command)

    def check_is_adapter(self, name: str, found: Records | None = None) -> None:
        """
        Raises:
            UsageError: its folder has neither its zoo.json nor the files on record, and so may be anything.
        """
        folder, record = self.adapter_folder(name), None
        with suppress(RegistryError):
            record = decode(name, (self._read() if found is None else found)[name], AdapterRecord)
        if os.path.lexists(folder) and not is_adapter(folder, name, record):
            told = (
                f"{folder} has no {RECORD_FILE} of '{name}': it may be something else. Nothing was changed."
            )
            raise UsageError(told, f"zoo registry restore {name}")

    def _content(self) -> bytes | None:
        return registry_json.read_bytes(self.path)

    def _read(self) -> Records:
        return registry_json.parse(self._content(), self.path).adapters

    def _write(self, found: Records) -> None:
        write_whole(self.file, dump_file(found))

    def check_ours(self) -> None:
        """
        Raises:
            UsageError: the file, or `adapters/`, is somebody's own: nothing is made beside it.
            RegistryError: it cannot be read, or is of a newer schema.
        """
        registry_json.check_ours(self._content(), self.path)
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not a folder: no registry can be here.", "--registry FOLDER")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.check_ours()
        folder = self.file.parent
        doomed: list[Path] = []
        with ExitStack() as held:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self.folder.mkdir(exist_ok=True)
                held.enter_context(lock.hold(folder / f"{self.file.name}.lock"))
            except OSError as error:
                told = f"{folder} cannot be written to: {error.strerror}."
                raise ZooError(told, "--registry FOLDER") from None
            try:
                doomed += trash.recover(self.file, self.folder)
                for leftover in folder.glob(f"{self.file.name}.*.tmp"):
                    leftover.unlink(missing_ok=True)  # of a writer that was killed: we hold its lock
                yield
            except OSError as error:
                raise ZooError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
        for one in doomed:
            shutil.rmtree(one, ignore_errors=True)


class Rebuilt(NamedTuple):
    """A registry.json made anew."""

    adapters: int
    left_out: list[str]
    """A line for each folder that could not be read and is left alone."""
    lost: list[str]
    """The adapters of the old one that have no folder."""
    entry: trash.Entry | None
    """With which it is undone; None where nothing changed."""


def _check_has(adapters: Records, name: str) -> None:
    if name not in adapters:
        near, hint = suggest.unknown(name, adapters, "zoo list")
        raise NotFoundError(f"no adapter is called '{name}'.{near}", hint)
