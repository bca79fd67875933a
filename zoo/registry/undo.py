"""Brings back what a command replaced, in one locked step that can be undone itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from zoo.errors import IncompatibleError, NotFoundError
from zoo.registry import registry_json
from zoo.registry.registry_json import Records, same, sha256
from zoo.registry.trash import WHOLE, Entry, Replacement, bytes_of, changed_records, entries


def undo(file: Path, adapters: Path, number: int | None, command: str) -> tuple[Entry, Entry]:
    """Bring back what the last command, or the one of that number, replaced; the lock is held.

    Returns the entry, and the new one with which this can be undone itself.

    Raises:
        NotFoundError: there is no such entry.
        IncompatibleError: what it would bring back was changed meanwhile; nothing is done.
    """
    folder, entry = _entry(adapters, number)
    _check_room(folder, entry, adapters)
    with Replacement(file, adapters, command, undoes=entry.number) as back:
        for one in entry.into:
            if os.path.lexists(adapters / one.path):
                back.move(adapters / one.path)
        for one in entry.out:
            back.place(folder / one.kept, adapters / one.path)
        if entry.writes:
            back.write_as(*_reverted(entry, folder, file))
    assert back.entry is not None
    shutil.rmtree(folder, ignore_errors=True)
    return entry, back.entry


def _entry(adapters: Path, number: int | None) -> tuple[Path, Entry]:
    known = entries(adapters)
    if number is None:  # twice in a row it goes back two commands
        found = [one for one in known if one[1].undoes is None]
    else:
        found = [one for one in known if one[1].number == number]
    if found:
        return found[-1]
    what = "nothing that could be brought back" if number is None else f"nothing with the number {number}"
    raise NotFoundError(f"{adapters} keeps {what}.", "zoo undo --list" if known else None)


def _check_room(folder: Path, entry: Entry, adapters: Path) -> None:
    """
    Raises:
        IncompatibleError: what is to be brought back is gone, or something else has its place.
    """
    placed = {one.path for one in entry.into}
    for one in entry.out:
        if not os.path.lexists(folder / one.kept):
            raise IncompatibleError(f"'{entry.command}' cannot be undone: {folder / one.kept} is gone.")
        if one.path not in placed and os.path.lexists(adapters / one.path):
            hint = f"zoo rm {one.path} && zoo undo {entry.number}" if one.path in entry.changed else None
            raise IncompatibleError(
                f"'{entry.command}' cannot be undone: {adapters / one.path} is there again.", hint
            )


def _reverted(entry: Entry, folder: Path, file: Path) -> tuple[Records, bytes | None]:
    """registry.json as it was: to the byte, or, where others wrote to it since, by its records."""
    old = registry_json.read_bytes(file)
    if sha256(old) == entry.after:
        after = changed_records(registry_json.readable(old), entry.changed, entry.old)
        return after, bytes_of(entry.before, after, folder / WHOLE)
    found = registry_json.parse(old, file).adapters
    if not entry.changed or (folder / WHOLE).is_file():
        raise IncompatibleError(f"'{entry.command}' cannot be undone: {file} was changed since.")
    for name in entry.changed:
        if not same(found.get(name), entry.new.get(name)):
            raise IncompatibleError(
                f"'{entry.command}' cannot be undone: the record of '{name}' was changed since.",
                "zoo registry check",
            )
    after = changed_records(found, entry.changed, entry.old)
    return after, registry_json.dump_file(after)
