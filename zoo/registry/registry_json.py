"""Decodes and encodes registry.json, and tells a damaged one from a file that never was one."""

from __future__ import annotations

import gc
import hashlib
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from zoo.errors import RegistryError, UsageError
from zoo.registry.schema import SCHEMA, AdapterRecord, BaseId, ListedRecord

FILE = "registry.json"
REBUILD = "zoo registry rebuild"
MERGE = "zoo registry merge"
MOST_NESTED = 64
"""Levels of objects and lists in a record; ours have seven."""
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_CONFLICT = re.compile(rb"^(<{7}|\|{7}|={7}|>{7})( .*)?\r?\n?$", re.MULTILINE)
_SIDES: dict[bytes, tuple[bool, bool]] = {
    b"<": (True, False),
    b"|": (False, False),
    b"=": (False, True),
    b">": (True, True),
}
"""What a conflict marker begins -> is it ours, is it theirs? What both had before is neither."""
_HEADS = (b'{"adapters":{', b'{"schema":')
"""How registry.json begins, without spaces."""
_FIRST_RECORD = re.compile(rb'\{"adapters":\{"[^"]+":\{"base":\{')
_HEAD_BYTES = 1024
_OF_A_RECORD = (b'"name"', b'"spec"', b'"base"')
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')

T = TypeVar("T", AdapterRecord, BaseId, ListedRecord)
Records = dict[str, msgspec.Raw]


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


class File(msgspec.Struct, forbid_unknown_fields=True):
    """registry.json, its records still JSON: of thousands, one command needs a few."""

    adapters: Records
    schema: int


class ListedFile(msgspec.Struct, forbid_unknown_fields=True):
    """registry.json in one pass, where a command needs a few fields of every record."""

    adapters: dict[str, ListedRecord]
    schema: int


def read_bytes(path: Path) -> bytes | None:
    """The content of registry.json; None where there is none.

    Raises:
        UsageError: a folder, a pipe or a device is in its place.
        RegistryError: it cannot be read, or is a link to nothing.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise not_ours(path)  # opening a pipe would wait for ever
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            target = path.readlink()
            raise RegistryError(
                f"{path} is a link to {target}, which is not there.", "--registry FOLDER"
            ) from None
        return None
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}.", "--registry FOLDER") from None


def parse(content: bytes | None, path: Path) -> File:
    """
    Raises:
        UsageError: the file is somebody's own.
        RegistryError: it is damaged, holds git conflicts, or is of a newer schema.
    """
    if content is None:
        return File(adapters={}, schema=SCHEMA)
    try:
        found = msgspec.json.decode(content, type=File)
    except UNDECODABLE as error:
        check_ours(content, path)
        if has_conflicts(content):
            remedy = MERGE if sides(content, path) else REBUILD
            raise RegistryError(f"{path} holds git conflict markers.", remedy) from None
        raise RegistryError(f"{path} is damaged: {_reason(error)}.", REBUILD) from None
    if found.schema > SCHEMA:
        refuse_newer(content, str(path))
    if not _has_our_records(found.adapters):
        raise not_ours(path)
    return found


def readable(content: bytes | None) -> Records:
    """The records of registry.json; none where it is damaged or not there."""
    try:
        return msgspec.json.decode(content or b"", type=File).adapters
    except UNDECODABLE:
        return {}


def check_ours(content: bytes | None, path: Path) -> None:
    """Pass what this zoo wrote or may have written, damaged or not: nothing else is ever replaced.

    Raises:
        UsageError: the file is somebody's own, a table perhaps.
        RegistryError: it is of a newer schema.
    """
    if content is None:
        return
    try:
        found = msgspec.json.decode(content, type=File)
    except UNDECODABLE:
        if b'"adapters"' in content:
            refuse_newer(content, str(path))
        ours = not _is_json(content) and _may_have_been(content, path)
    else:
        if found.schema > SCHEMA:
            refuse_newer(content, str(path))
        ours = _has_our_records(found.adapters)
    if not ours:
        raise not_ours(path)


def _may_have_been(content: bytes, path: Path) -> bool:
    """Could this, which is no JSON, be what is left of a registry.json?"""
    head = content[:_HEAD_BYTES].translate(None, b" \t\r\n\0")
    if has_conflicts(content):
        return path.name == FILE or b'"adapters"' in content
    if path.name != FILE:  # anybody's: only a whole beginning with a record proves it
        return bool(_FIRST_RECORD.match(head))
    return any(head.startswith(one) or one.startswith(head) for one in _HEADS)


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except UNDECODABLE:
        return False
    return True


def _has_our_records(adapters: Mapping[str, msgspec.Raw]) -> bool:
    return not adapters or any(all(key in bytes(raw) for key in _OF_A_RECORD) for raw in adapters.values())


def not_ours(path: Path) -> UsageError:
    folder = shlex.quote(str(path.parent)) if path.name != FILE else "FOLDER"
    return UsageError(
        f"{path} is not a registry: that is a {FILE}, or the folder of one.", f"--registry {folder}"
    )


def has_conflicts(content: bytes) -> bool:
    """Does it hold the markers of a git merge?"""
    return _CONFLICT.search(content) is not None


def sides(content: bytes, path: Path) -> tuple[Records, Records] | None:
    """Ours and theirs of a file that git could not merge; None where nothing conflicts, or a side is broken.

    Raises:
        RegistryError: one is of a newer schema.
    """
    if not has_conflicts(content):
        return None
    texts: tuple[list[bytes], list[bytes]] = ([], [])
    is_of = (True, True)
    for line in content.splitlines(keepends=True):
        if _CONFLICT.fullmatch(line):
            is_of = _SIDES[line[:1]]
            continue
        for text, belongs in zip(texts, is_of, strict=True):
            text += [line] * belongs
    found = []
    for text in texts:
        refuse_newer(b"".join(text), str(path))
        try:
            found.append(msgspec.json.decode(b"".join(text), type=File).adapters)
        except UNDECODABLE:
            return None
    return found[0], found[1]


def decode(name: str, raw: bytes | msgspec.Raw, form: type[T]) -> T:
    """A record of an adapter, or a part of one.

    Raises:
        RegistryError: it is damaged, or of a newer schema.
    """
    try:
        check_depth(bytes(raw))
        record = msgspec.json.decode(raw, type=form)
    except UNDECODABLE as error:
        refuse_newer(raw, f"the record of '{name}'")
        raise RegistryError(f"the record of '{name}' is damaged: {_reason(error)}.", REBUILD) from None
    if getattr(record, "schema", SCHEMA) > SCHEMA:
        refuse_newer(raw, f"the record of '{name}'")
    return record


def check_depth(content: bytes) -> None:
    """Refuse what a decoder could follow, and an encoder with more on its stack could not.

    Raises:
        RecursionError: it is nested more than `MOST_NESTED` levels deep.
    """
    if content.count(b"{") + content.count(b"[") <= MOST_NESTED:
        return
    depth = 0
    for token in _TOKENS.finditer(content):
        first = token[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        if depth > MOST_NESTED:
            raise RecursionError


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


class _Schema(msgspec.Struct):
    schema: int


def refuse_newer(content: bytes | msgspec.Raw, what: str) -> None:
    """Refuse first of all: a newer file looks damaged to an older zoo, which must not "repair" it."""
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
    except UNDECODABLE:
        return
    if schema > SCHEMA:
        raise RegistryError(
            f"{what} has schema {schema}; this zoo knows {SCHEMA} and will not touch it.",
            "pip install --upgrade adapter-zoo",
        )


def dump(value: Any) -> bytes:
    """The one way JSON is written: sorted keys, two spaces, a final newline."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def dump_file(adapters: Mapping[str, msgspec.Raw]) -> bytes:
    """registry.json with these records."""
    return dump({"schema": SCHEMA, "adapters": dict(sorted(adapters.items()))})


def raw(record: AdapterRecord) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(record, order="sorted"))


def same(one: msgspec.Raw | None, other: msgspec.Raw | None) -> bool:
    """Do two records say the same, however they are laid out?"""
    if one is None or other is None:
        return one is other
    try:
        return bytes(one) == bytes(other) or msgspec.json.decode(one) == msgspec.json.decode(other)
    except UNDECODABLE:
        return False


def sha256(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
