"""Keeps what a command replaces or removes for a week, so that `zoo undo` can bring it back.

A command first writes down what it is going to move (`entry.json`, in a folder that ends with `.begun`), and
then moves it. Killed before that, nothing has changed; killed after it, the next writer finishes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from zoo.errors import RegistryError
from zoo.registry import registry_json
from zoo.registry.registry_json import Records, dump, dump_file, same, sha256
from zoo.runtime.files import sync, write_whole

TRASH = ".trash"
"""Under `adapters/`: a folder for each command that replaced something."""
KEPT_FOR = timedelta(days=7)
_ENTRY = "entry.json"
WHOLE, _WHOLE_AFTER = "registry.json", "registry.after.json"
"""registry.json before and after, where its bytes do not follow from its records."""
_BEGUN, _EXPIRED = ".begun", ".expired"
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"\d{8}T\d{6}Z-(\d+)")


class Move(msgspec.Struct, frozen=True):
    """Of a file or folder; paths are relative to `adapters/`, but `kept`, which is in the entry's folder."""

    path: str
    """Where it was, or is to be."""
    kept: str
    """What it is called in the trash; or, of what takes a place, where it comes from."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a command replaced, and what by."""

    number: int
    command: str
    """As it was typed."""
    created: str
    out: list[Move]
    """What was moved to the trash."""
    into: list[Move]
    """What took a place."""
    old: Records
    """The records that the command changed or removed, as they were."""
    new: Records
    """Those that it changed or added, as they became."""
    before: str | None
    """The sha256 of registry.json; None where there was none."""
    after: str | None
    undoes: int | None = None
    """The number of the entry that the command brought back."""

    @property
    def changed(self) -> list[str]:
        """Whose record it changed, added or removed."""
        return sorted({*self.old, *self.new})

    @property
    def writes(self) -> bool:
        """Did it write registry.json?"""
        return self.before != self.after

    @property
    def until(self) -> datetime:
        return datetime.fromisoformat(self.created) + KEPT_FOR

    @property
    def names(self) -> list[str]:
        """The adapters that it is about, if it is about any."""
        paths = [one.path.partition("/")[0] for one in (*self.out, *self.into)]
        return sorted({*self.changed, *(one for one in paths if not one.startswith("."))})


class _Writing(NamedTuple):
    """Of registry.json."""

    old: bytes | None
    """Its content now; None where there is none."""
    records: Records
    """What it is to hold."""
    content: bytes | None
    """The same as bytes; None removes it."""
    is_whole: bool
    """Do the bytes not follow from the records?"""


class Replacement:
    """What one command replaces: planned in a `with` block, done at its end, whole or not at all.

    The registry's lock is held meanwhile.

    Args:
        file: registry.json.
        adapters: the folder `adapters/`.
        command: as it was typed.

    Raises:
        OSError: it cannot be done, and nothing is.
    """

    def __init__(self, file: Path, adapters: Path, command: str, undoes: int | None = None):
        self._file, self._adapters, self._command, self._undoes = file, adapters, command, undoes
        self._out: list[Path] = []
        self._into: list[tuple[Path, Path]] = []
        self._new: _Writing | None = None
        self.entry: Entry | None = None
        """What was done, once it is."""

    def move(self, path: Path) -> None:
        """Have a file or folder under `adapters/` moved to the trash; a link is moved, not what it is to."""
        self._out.append(path)

    def place(self, made: Path, path: Path) -> None:
        """Have what lies at `made`, under `adapters/` too, take the place `path`, once that is free."""
        self._into.append((made, path))

    def write(self, records: Records) -> None:
        """Have registry.json written with these records."""
        old = registry_json.read_bytes(self._file)
        self._new = _Writing(old, records, dump_file(records), is_whole=False)

    def write_as(self, records: Records, content: bytes | None) -> None:
        """Have registry.json written as these bytes, which hold the records; None removes it."""
        is_whole = content is not None and content != dump_file(records)
        self._new = _Writing(registry_json.read_bytes(self._file), records, content, is_whole)

    def make(self, name: str) -> Path:
        """Where a file or folder may be made that is to be placed; it goes where this fails."""
        return self.folder / f"new-{name}"

    def __enter__(self) -> Replacement:
        trash = self._adapters / TRASH
        trash.mkdir(exist_ok=True)
        self._number = _next_number(trash)
        now = datetime.now(timezone.utc)
        self._created = now.isoformat(timespec="seconds")
        self.folder = trash / f"{now:{_STAMP}}-{self._number}{_BEGUN}"
        self.folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not (self._out or self._into or self._new):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # it holds more
                self.folder.parent.rmdir()
            return
        entry: Entry | None = None
        try:
            entry = self._plan()
            write_whole(self.folder / _ENTRY, dump(entry))
            sync(self.folder.parent)
            _apply(entry, self.folder, self._file, self._adapters, self._new and self._new.content)
        except BaseException:
            if entry is None or _roll_back(entry, self.folder, self._file, self._adapters):
                shutil.rmtree(self.folder, ignore_errors=True)
            raise
        _close(self.folder)
        self.entry = entry

    def _plan(self) -> Entry:
        was: Records = {}
        becomes: Records = {}
        old = new = None
        if self._new:
            old, after, new, is_whole = self._new
            before = registry_json.readable(old)
            was = {name: one for name, one in before.items() if not same(one, after.get(name))}
            becomes = {name: one for name, one in after.items() if not same(one, before.get(name))}
            if old is not None and old != dump_file(before):
                write_whole(self.folder / WHOLE, old)
            if new is not None and is_whole:
                write_whole(self.folder / _WHOLE_AFTER, new)
        out = [Move(self._inside(one), f"{at}-{one.name}") for at, one in enumerate(self._out)]
        into = [Move(self._inside(path), self._inside(made)) for made, path in self._into]
        return Entry(
            number=self._number,
            command=self._command,
            created=self._created,
            out=out,
            into=into,
            old=was,
            new=becomes,
            before=sha256(old),
            after=sha256(new),
            undoes=self._undoes,
        )

    def _inside(self, path: Path) -> str:
        return path.relative_to(self._adapters).as_posix()


def recover(file: Path, adapters: Path) -> list[Path]:
    """Finish what killed commands began, and find what has been kept long enough; the lock is held.

    Returns the folders to delete, which nobody can bring back any more: the lock is not needed for that.
    """
    doomed = []
    spent = {one.undoes for _, one in entries(adapters)}
    for folder in _folders(adapters):
        if folder.name.endswith(_EXPIRED):
            doomed.append(folder)
            continue
        entry = _read(folder)
        if folder.name.endswith(_BEGUN):
            if entry is None:  # killed before it moved anything
                doomed.append(folder)
            else:
                with suppress(OSError):  # what cannot be moved now is tried by the next writer
                    if not _finish(entry, folder, file, adapters):
                        doomed.append(folder)
        elif entry is not None and (entry.number in spent or datetime.now(timezone.utc) > entry.until):
            doomed.append(doom(folder, adapters))
    return doomed


def doom(path: Path, adapters: Path) -> Path:
    """Have a folder deleted by the next writer at the latest, and give its new place; the lock is held."""
    trash = adapters / TRASH
    gone = trash / f"{datetime.now(timezone.utc):{_STAMP}}-{_next_number(trash)}{_EXPIRED}"
    if os.path.lexists(path):
        os.replace(path, gone)
    return gone


def folder_of(entry: Entry, adapters: Path) -> Path:
    return adapters / TRASH / f"{datetime.fromisoformat(entry.created):{_STAMP}}-{entry.number}"


def entries(adapters: Path) -> list[tuple[Path, Entry]]:
    """What can be undone, with the folders that hold it, in the order in which it was done."""
    found = [
        (folder, entry)
        for folder in _folders(adapters)
        if _NAME.fullmatch(folder.name) and (entry := _read(folder)) is not None
    ]
    spent = {entry.undoes for _, entry in found}
    return sorted((one for one in found if one[1].number not in spent), key=lambda one: one[1].number)


def begun(adapters: Path) -> list[tuple[Path, Entry]]:
    """What killed commands have not finished."""
    return [
        (folder, entry)
        for folder in _folders(adapters)
        if folder.name.endswith(_BEGUN) and (entry := _read(folder)) is not None
    ]


def _finish(entry: Entry, folder: Path, file: Path, adapters: Path) -> bool:
    """Do what is left of a command that was killed; False where it had to be taken back."""
    kept = {one.path for one in entry.out if os.path.lexists(folder / one.kept)}
    for one in entry.into:
        is_there = os.path.lexists(adapters / one.path) and (
            one.path in kept or one.path not in {out.path for out in entry.out}
        )
        if not is_there and not os.path.lexists(adapters / one.kept):
            return not _roll_back(entry, folder, file, adapters)
    _apply(entry, folder, file, adapters, _finished(entry, folder, file))
    _close(folder)
    return True


def _finished(entry: Entry, folder: Path, file: Path) -> bytes | None:
    """registry.json as the killed command wanted it; what others wrote to it meanwhile stays."""
    old = registry_json.read_bytes(file)
    if sha256(old) == entry.before:
        after = changed_records(registry_json.readable(old), entry.changed, entry.new)
        return bytes_of(entry.after, after, folder / _WHOLE_AFTER)
    if sha256(old) == entry.after:
        return old
    try:
        found = registry_json.parse(old, file).adapters
    except RegistryError:  # damaged since, which is for a rebuild
        return old
    names = [name for name in entry.changed if same(found.get(name), entry.old.get(name))]
    return dump_file(changed_records(found, names, entry.new)) if names else old


def bytes_of(digest: str | None, records: Records, whole: Path) -> bytes | None:
    """registry.json of that digest: kept whole, or following from its records; None is none."""
    if digest is None:
        return None
    return whole.read_bytes() if whole.is_file() else dump_file(records)


def _apply(entry: Entry, folder: Path, file: Path, adapters: Path, new: bytes | None) -> None:
    """Move and write what is not moved and written yet.

    What only removes writes registry.json first: nobody must see a record without its files.
    """
    if entry.writes and not entry.into:
        _write(file, new)
    for one in entry.out:
        if not os.path.lexists(folder / one.kept) and os.path.lexists(adapters / one.path):
            os.replace(adapters / one.path, folder / one.kept)
    for one in entry.into:
        if os.path.lexists(adapters / one.kept) and not os.path.lexists(adapters / one.path):
            (adapters / one.path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(adapters / one.kept, adapters / one.path)
    for parent in sorted({folder, *((adapters / one.path).parent for one in (*entry.out, *entry.into))}):
        if parent.is_dir():
            sync(parent)
    if entry.writes and entry.into:
        _write(file, new)


def _roll_back(entry: Entry, folder: Path, file: Path, adapters: Path) -> bool:
    """Take back what a command that failed did; False where that fails too, and the next writer finishes."""
    try:
        kept = {one.path for one in entry.out if os.path.lexists(folder / one.kept)}
        replaced = {one.path for one in entry.out}
        for one in reversed(entry.into):
            if not os.path.lexists(adapters / one.kept) and (one.path in kept or one.path not in replaced):
                os.replace(adapters / one.path, adapters / one.kept)
        for one in reversed(entry.out):
            if one.path in kept:
                os.replace(folder / one.kept, adapters / one.path)
        content = registry_json.read_bytes(file)
        if entry.writes and sha256(content) == entry.after:
            found = registry_json.parse(content, file).adapters
            before = changed_records(found, entry.changed, entry.old)
            _write(file, bytes_of(entry.before, before, folder / WHOLE))
    except (OSError, RegistryError):
        return False
    return True


def _write(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
        sync(file.parent)
    elif sha256(content) != sha256(registry_json.read_bytes(file)):
        write_whole(file, content)


def _close(folder: Path) -> None:
    os.replace(folder, folder.with_name(folder.name.removesuffix(_BEGUN)))
    sync(folder.parent)


def changed_records(found: Records, names: Iterable[str], becomes: Records) -> Records:
    """The records, of which those of `names` are as in `becomes`, or gone where it has none."""
    changed = set(names)
    kept = {name: one for name, one in found.items() if name not in changed}
    return kept | {name: one for name, one in becomes.items() if name in changed}


def _folders(adapters: Path) -> Sequence[Path]:
    trash = adapters / TRASH
    with suppress(OSError):  # none yet
        return sorted(one for one in trash.iterdir() if _number(one) is not None and not one.is_symlink())
    return []


def _number(folder: Path) -> int | None:
    found = _NAME.fullmatch(folder.name.removesuffix(_BEGUN).removesuffix(_EXPIRED))
    return int(found[1]) if found else None


def _next_number(trash: Path) -> int:
    return 1 + max((_number(one) or 0 for one in trash.iterdir()), default=0)


def _read(folder: Path) -> Entry | None:
    """None where the folder is not ours, or was not finished; what leads out of `adapters/` is not ours."""
    try:
        entry = msgspec.json.decode((folder / _ENTRY).read_bytes(), type=Entry)
    except (OSError, *registry_json.UNDECODABLE):
        return None
    paths = [part for one in (*entry.out, *entry.into) for part in (one.path, one.kept)]
    inside = all(path and not Path(path).is_absolute() and ".." not in Path(path).parts for path in paths)
    return entry if inside and entry.number == _number(folder) else None
