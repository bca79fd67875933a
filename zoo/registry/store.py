"""Reads and writes registry.json: sorted, replaced whole under a lock, rebuilt from the zoo.json files."""

from __future__ import annotations

import gc
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from zoo.errors import AGAIN, LockedError, NotFoundError, RegistryError, UsageError, ZooError
from zoo.registry.names import LONGEST, check_name
from zoo.registry.schema import SCHEMA, AdapterRecord, BaseId, ListedRecord
from zoo.runtime import suggest
from zoo.runtime.files import sync, write_whole
from zoo.runtime.paths import expand, is_folder

FILE = "registry.json"
RECORD_FILE = "zoo.json"
ADAPTERS = "adapters"
WORK = ".work"
"""Under `adapters/`: checkpoints and half-made adapters, never listed."""
SPEC_FILE = "spec.json"
"""Beside the checkpoints of a run, its settings."""
LOCK_SECONDS = 10.0
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_CONFLICT = re.compile(rb"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)


class _File(msgspec.Struct):
    """registry.json, its records still JSON: of thousands, one command needs a few."""

    adapters: dict[str, msgspec.Raw]
    schema: int


class _ListedFile(msgspec.Struct):
    """registry.json in one pass, where a command needs a few fields of every record."""

    adapters: dict[str, ListedRecord]
    schema: int


_T = TypeVar("_T", AdapterRecord, BaseId, ListedRecord)


def locate(given: str | None = None) -> Path:
    """`--registry`, `$ZOO_REGISTRY`, the nearest registry.json upwards, the user's config, or data folder."""
    return find(given)[0]


def find(given: str | None = None) -> tuple[Path, str]:
    """The path of registry.json, and what names it, in the order of `locate`.

    What a project has comes before a person's default, which comes before ours.

    Raises:
        UsageError: the user's config is damaged.
    """
    if given:
        return _file_in(given), "option"
    if named := os.environ.get("ZOO_REGISTRY"):
        return _file_in(named), "environment variable ZOO_REGISTRY"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder / FILE, "nearest registry.json"
    from zoo.runtime import config  # not needed in a project

    if chosen := config.read().get("registry"):
        return _file_in(str(chosen)), config.IN_FILE
    import platformdirs

    return Path(platformdirs.user_data_dir("adapter-zoo", appauthor=False)) / FILE, config.DEFAULT


def _file_in(named: str) -> Path:
    path = expand(named)
    return path / FILE if is_folder(path) or not path.suffix else path


@contextmanager
def without_gc() -> Iterator[None]:
    """Decoding only makes objects that live: collecting garbage meanwhile doubles the time for thousands."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Registry:
    """The adapters of one registry.json.

    Args:
        path: of the file, or as `--registry` takes it; None is the registry that the command line would use.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = path if isinstance(path, Path) else locate(path)
        self.folder = self.path.parent / ADAPTERS

    def exists(self) -> bool:
        """Is there a registry, if only the adapters of one whose registry.json is gone?"""
        return self.path.is_file() or self.folder.is_dir()

    def records(self) -> dict[str, AdapterRecord]:
        """Every adapter by name, sorted.

        Raises:
            RegistryError: the file is damaged, holds git conflicts, or is of a newer schema.
        """
        with without_gc():
            return dict(self.each())

    def each(self) -> Iterator[tuple[str, AdapterRecord]]:
        """The same, one record at a time: a hundred thousand of them take a gigabyte."""
        for name, raw in self._read().adapters.items():
            yield name, _decode(name, raw, AdapterRecord)

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
                bases[raw] = _decode(name, raw, BaseId)
            found.append((name, record, bases[raw]))
        return found

    def _listed(self) -> dict[str, ListedRecord]:
        with suppress(OSError, *_UNDECODABLE):
            found = msgspec.json.decode(self.path.read_bytes(), type=_ListedFile)
            if all(record.schema <= SCHEMA for record in found.adapters.values()) and found.schema <= SCHEMA:
                return found.adapters
        # one record after the other finds the one that is damaged
        return {name: _decode(name, raw, ListedRecord) for name, raw in self._read().adapters.items()}

    def pick(self, names: Iterable[str]) -> list[AdapterRecord]:
        """The records of `names` in that order; what has gone since they were listed is left out."""
        adapters = self._read().adapters
        return [_decode(name, adapters[name], AdapterRecord) for name in names if name in adapters]

    def get(self, name: str) -> AdapterRecord:
        """Raises NotFoundError: no adapter has that name."""
        adapters = self._read().adapters
        _check_has(adapters, name)
        return _decode(name, adapters[name], AdapterRecord)

    def locate(self, name: str) -> tuple[AdapterRecord, Path]:
        """The record and the folder of an adapter of this registry, or of a folder that holds one anywhere.

        Raises:
            NotFoundError: neither is called that, or a folder holds no record.
        """
        folder = Path(name)
        if (
            is_folder(folder)
            and name not in self
            and (name != folder.name or (folder / RECORD_FILE).is_file())
        ):
            return read_record(folder / RECORD_FILE), folder
        return self.get(name), self.adapter_folder(name)

    def __contains__(self, name: str) -> bool:
        return name in self._read().adapters

    def adapter_folder(self, name: str) -> Path:
        return self.folder / name

    def work_folder(self, name: str) -> Path:
        return self.folder / WORK / name

    def free_name(self, name: str) -> str:
        """`name`, or `name-2`, `name-3`...: the first that neither the registry nor the disk has."""
        adapters = self._read().adapters
        candidate, number = name, 1
        while candidate in adapters or self.adapter_folder(candidate).exists():
            number += 1
            suffix = f"-{number}"
            candidate = name[: LONGEST - len(suffix)] + suffix
        return candidate

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
            found.adapters[record.name] = _raw(record)
            os.replace(made, target)
            try:
                sync(self.folder)
                self._write(found)
            except BaseException:
                if record.name not in self:
                    os.replace(target, made)
                raise
        return record

    def replace(self, record: AdapterRecord) -> None:
        """Write what has become of an adapter since it was added: its own file first, which is the truth.

        Raises:
            NotFoundError: no adapter has that name.
        """
        with self._writing():
            found = self._read()
            _check_has(found.adapters, record.name)
            write_whole(self.adapter_folder(record.name) / RECORD_FILE, dump(record))
            found.adapters[record.name] = _raw(record)
            self._write(found)

    def remove(self, name: str) -> None:
        """Out of the registry, then off the disk.

        Raises:
            NotFoundError: no adapter has that name.
        """
        with self._writing():
            found = self._read()
            _check_has(found.adapters, name)
            check_name(name)
            del found.adapters[name]
            # the record first: a crash in between leaves files without a record, which a rebuild can bring
            # back, and never a record without files
            self._write(found)
            doomed = self.work_folder(f"removed-{name}-{os.getpid()}")
            if self.adapter_folder(name).exists():
                doomed.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.adapter_folder(name), doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def rebuild(self) -> tuple[int, list[str]]:
        """Make registry.json anew from every `adapters/*/zoo.json`.

        Returns the number of adapters, and a line for each folder that could not be read and is left alone.
        """
        adapters: dict[str, msgspec.Raw] = {}
        trouble = []
        self._check_ours()
        with self._writing():
            if self.path.is_file():
                _refuse_newer(self.path.read_bytes(), str(self.path))
            for path in sorted(self.folder.glob(f"*/{RECORD_FILE}")):
                try:
                    record = _decode(path.parent.name, path.read_bytes(), AdapterRecord)
                except (RegistryError, OSError) as error:
                    trouble.append(f"{path}: {error}")
                    continue
                if record.name != path.parent.name:
                    trouble.append(f"{path}: it says its name is '{record.name}'; rename the folder")
                    continue
                adapters[record.name] = _raw(record)
            self._write(_File(adapters=adapters, schema=SCHEMA))
        return len(adapters), trouble

    def _check_ours(self) -> None:
        """Raises UsageError: the file is somebody's own, a table perhaps, and must never be written over."""
        if self.path.name != FILE and self.path.is_file() and b'"adapters"' not in self.path.read_bytes():
            raise UsageError(
                f"{self.path} is not a registry: that is a {FILE}, or the folder of one.",
                f"--registry {shlex.quote(str(self.path.parent))}",
            )

    def _read(self) -> _File:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return _File(adapters={}, schema=SCHEMA)
        except OSError as error:
            told = f"{self.path} cannot be read: {error.strerror}."
            raise RegistryError(told, "--registry FOLDER") from None
        try:
            found = msgspec.json.decode(content, type=_File)
        except _UNDECODABLE as error:
            self._check_ours()
            _refuse_newer(content, str(self.path))
            remedy = "zoo registry rebuild"
            if _CONFLICT.search(content):
                raise RegistryError(f"{self.path} holds git conflict markers.", remedy) from None
            raise RegistryError(f"{self.path} is damaged: {error}.", remedy) from None
        if found.schema > SCHEMA:
            _refuse_newer(content, str(self.path))
        return found

    def _write(self, found: _File) -> None:
        write_whole(self.path, dump({"schema": SCHEMA, "adapters": dict(sorted(found.adapters.items()))}))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        import filelock

        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
            lock = filelock.FileLock(f"{self.path}.lock", timeout=LOCK_SECONDS, preserve_lock_file=True)
            lock.acquire()
        except filelock.Timeout:
            raise LockedError(
                f"another zoo has held {self.path}.lock for {LOCK_SECONDS:.0f} s.",
                AGAIN,
            ) from None
        except OSError as error:
            raise ZooError(f"{folder} cannot be written to: {error.strerror}.", "--registry FOLDER") from None
        try:
            for leftover in folder.glob(f"{self.path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)  # of a writer that was killed: we hold its lock
            yield
        except OSError as error:
            raise ZooError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
        finally:
            lock.release()


def read_record(path: Path) -> AdapterRecord:
    """The record in an adapter's folder, wherever that lies.

    Raises:
        NotFoundError: it is not there.
        RegistryError: it is damaged, or newer than this zoo.
    """
    try:
        return _decode(path.parent.name, path.read_bytes(), AdapterRecord)
    except FileNotFoundError:
        command = shlex.join(["zoo", "import", str(path.parent)])
        hint = command if (path.parent / "adapter_config.json").is_file() else None
        raise NotFoundError(f"{path.parent} holds no {RECORD_FILE}: no adapter of the zoo.", hint) from None


def _check_has(adapters: dict[str, msgspec.Raw], name: str) -> None:
    if name not in adapters:
        near, hint = suggest.unknown(name, adapters, "zoo list")
        raise NotFoundError(f"no adapter is called '{name}'.{near}", hint)


def _decode(name: str, raw: bytes | msgspec.Raw, form: type[_T]) -> _T:
    try:
        record = msgspec.json.decode(raw, type=form)
    except _UNDECODABLE as error:
        _refuse_newer(raw, f"the record of '{name}'")
        raise RegistryError(f"the record of '{name}' is damaged: {error}.", "zoo registry rebuild") from None
    if getattr(record, "schema", SCHEMA) > SCHEMA:
        _refuse_newer(raw, f"the record of '{name}'")
    return record


class _Schema(msgspec.Struct):
    schema: int


def _refuse_newer(content: bytes | msgspec.Raw, what: str) -> None:
    """Refuse first of all: a newer file looks damaged to an older zoo, which must not "repair" it."""
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
    except _UNDECODABLE:
        return
    if schema > SCHEMA:
        raise RegistryError(
            f"{what} has schema {schema}; this zoo knows {SCHEMA} and will not touch it.",
            "pip install --upgrade adapter-zoo",
        )


def dump(value: Any) -> bytes:
    """The one way JSON is written: sorted keys, two spaces, a final newline."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def _raw(record: AdapterRecord) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(record, order="sorted"))
