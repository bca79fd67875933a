"""Makes a record public: removes every path of its author's machine."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import PureWindowsPath
from typing import Any, TypeVar

import msgspec

from zoo.models.fingerprint import canonical
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId

_PATH = "path:"
_IS_PATH = re.compile(r"(path:|/|~|\.{1,2}[\\/]|\\\\|[A-Za-z]:[\\/])")
_REPO_ID = re.compile(r"\w([\w.-]{0,94}\w)?/\w([\w.-]{0,94}\w)?", re.ASCII)
_LONGEST_COMMAND = 32_768
"""Characters. No Windows command is longer, and shlex takes the square of an argument's length."""
_S = TypeVar("_S", bound=msgspec.Struct)


def public(record: AdapterRecord) -> AdapterRecord:
    """Every path becomes the name at its end, and a base with a Hub id is found there.

    Doing it twice changes nothing. Samples and labels are what the data says, and stay.
    """
    data = record.data
    if data is not None:
        data = msgspec.structs.replace(
            map_text(data, without_folder), split=_public_sentence(data.split, record)
        )
    return msgspec.structs.replace(
        record,
        spec=map_text(record.spec, without_folder),
        base=_public_base(record.base),
        data=data,
        command=_public_command(record.command),
        origin=None if record.origin is None else without_folder(record.origin),
    )


def map_text(struct: _S, change: Callable[[str], str]) -> _S:
    """`struct` with every text in it changed, keys of dictionaries too."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {change(key): changed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [changed(one) for one in value]
        return change(value) if isinstance(value, str) else value

    return msgspec.convert(changed(msgspec.to_builtins(struct)), type(struct))


def is_hub_id(text: str) -> bool:
    """`owner/name`, as the Hub takes it; a path or a folder's name is none."""
    return bool(_REPO_ID.fullmatch(text)) and "--" not in text and ".." not in text and text[-4:] != ".git"


def without_folder(text: str) -> str:
    """`path:/home/anna/reviews.csv` -> `path:reviews.csv`; what is no path stays as it is."""
    if not _IS_PATH.match(text):
        return text
    bare = text.removeprefix(_PATH)
    # of both kinds of path this class knows the separators
    name = PureWindowsPath(bare).name or "."
    return f"{_PATH if text.startswith(_PATH) else ''}{name}"


def _public_base(base: BaseId) -> BaseId:
    name = without_folder(base.id)
    if name != base.id:  # of an adapter whose config named a folder as its base
        base = msgspec.structs.replace(base, id=f"local:{name.removeprefix(_PATH)}")
    location = without_folder(base.location)
    if base.id != UNKNOWN and is_hub_id(canonical(base.id)) and not location.startswith("hub:"):
        at = f"@{base.revision}" if base.revision else ""
        location = f"hub:{canonical(base.id)}{at}"
    return msgspec.structs.replace(base, location=location)


def _public_sentence(text: str, record: AdapterRecord) -> str:
    """The rule by which rows were held out names their file, as it was found or as it was typed."""
    data = record.data
    known = (record.spec.data, record.spec.eval_data, data and data.location, data and data.eval_location)
    for ref in sorted({one for one in known if one and _IS_PATH.match(one)}, key=len, reverse=True):
        name = without_folder(ref).removeprefix(_PATH)
        text = text.replace(ref, name).replace(ref.removeprefix(_PATH), name)
        text = re.sub(rf"(?<!\S)\S*[\\/]{re.escape(name)}", name, text)
    return text


def _public_command(command: str) -> str:
    try:
        arguments = shlex.split(command) if len(command) <= _LONGEST_COMMAND else command.split()
    except ValueError:
        arguments = command.split()
    shown = [_public_argument(argument) for argument in arguments]
    return command if shown == arguments else shlex.join(shown)


def _public_argument(argument: str) -> str:
    """A reference, or `key=value,value` with some among the values."""
    key, equals, value = argument.partition("=")
    return key + equals + ",".join(map(without_folder, value.split(","))) if equals else without_folder(key)
