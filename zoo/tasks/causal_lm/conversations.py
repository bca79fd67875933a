"""Reads conversations from rows in four formats, and says why a row is unusable.

    messages      [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]
    ShareGPT      conversations: [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]
    alpaca        instruction, input, output
    prompt        prompt, completion: texts, or lists of messages

A conversation is an optional system message, then user and assistant in turn, and ends with the assistant.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.data.files import check_columns
from zoo.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

Message = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": ...}`, as chat templates take it."""

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
"""Role names in common data sets, in lower case."""
_ALSO = {"context": "input", "response": "output"}
"""Other names of alpaca's columns."""
COLUMNS = ("messages", "conversations", "instruction", "input", "output", "prompt", "completion", "system")


class UnusableError(Exception):
    """Why a row is unusable, as a phrase after "left out: 3"."""


def read_conversations(
    frame: DataFrame, columns: Mapping[str, str], location: str
) -> tuple[str, list[list[Message] | UnusableError]]:
    """The name of the format, and each row as a conversation or as the reason why it is unusable.

    Raises:
        DataError: the columns are of no known format, or a named one is missing.
    """
    check_columns(frame.columns, columns, location)
    frame = frame.rename(columns={column: role for role, column in columns.items()})
    if "instruction" in frame.columns:
        absent = {old: new for old, new in _ALSO.items() if new not in frame.columns}
        frame = frame.rename(columns=absent)
    for name, needed, read in _FORMS:
        if set(needed) <= set(frame.columns):
            return name, [_tried(read, row) for row in frame.to_dict("records")]
    has = ", ".join(map(str, frame.columns))
    names = list(map(str, frame.columns))[:2]
    raise DataError(
        f"{location} holds no conversations: its columns are {has}, not messages, nor conversations, nor "
        "instruction and output, nor prompt and completion.",
        _columns(*names) if len(names) == 2 else None,
    )


def _columns(prompt: str, completion: str) -> str:
    return shlex.join(["--column", f"prompt={prompt}", "--column", f"completion={completion}"])


def _tried(
    read: Callable[[Mapping[Any, Any]], list[Message]], row: Mapping[Any, Any]
) -> list[Message] | UnusableError:
    try:
        messages, system = read(row), _text(row.get("system"))
        if system.strip():
            messages = [{"role": "system", "content": system}, *messages]
        return _checked(messages)
    except UnusableError as reason:
        return reason


def _from_alpaca(row: Mapping[str, Any]) -> list[Message]:
    asked = "\n\n".join(part for part in (_text(row["instruction"]), _text(row.get("input"))) if part.strip())
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": _text(row["output"])}]


def _from_prompt(row: Mapping[str, Any]) -> list[Message]:
    found = []
    for role, value in (("user", row["prompt"]), ("assistant", row["completion"])):
        found += [{"role": role, "content": value}] if isinstance(value, str) else _messages(value)
    return found


_FORMS: tuple[tuple[str, tuple[str, ...], Callable[[Mapping[Any, Any]], list[Message]]], ...] = (
    ("messages", ("messages",), lambda row: _messages(row["messages"])),
    ("ShareGPT", ("conversations",), lambda row: _messages(row["conversations"])),
    ("alpaca", ("instruction", "output"), _from_alpaca),
    ("prompt and completion", ("prompt", "completion"), _from_prompt),
)
"""(name, the columns that identify it, how a row is read)."""


def _messages(value: Any) -> list[Message]:
    if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
        raise UnusableError("without a list of messages")
    found = []
    for one in value:
        if not isinstance(one, Mapping):
            raise UnusableError("with a message that is not an object")
        said = str(one.get("role", one.get("from"))).lower()
        if said not in _ROLES:
            raise UnusableError(f"with a role '{said}'")
        found.append({"role": _ROLES[said], "content": _content(one.get("content", one.get("value")))})
    return found


def _content(value: Any) -> str:
    """A text, or the texts among the parts of a message."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        return _text(value)
    parts = [one.get("text") if isinstance(one, Mapping) else one for one in value]
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise UnusableError("with a message that is not only text")
    return "".join(texts)


def _text(value: Any) -> str:
    """A missing cell is an empty text; a number is its digits."""
    return "" if value is None or value != value else str(value)  # NaN is not itself


def _checked(messages: Sequence[Message]) -> list[Message]:
    """The messages up to the assistant's last.

    Raises:
        UnusableError: there is nothing to learn, or chat templates cannot render the turns.
    """
    roles = [one["role"] for one in messages]
    if "assistant" not in roles:
        raise UnusableError("without an assistant turn")
    last = len(roles) - roles[::-1].index("assistant")
    kept = list(messages[:last])
    turns = roles[1:last] if roles[0] == "system" else roles[:last]
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        raise UnusableError("with roles out of order")
    if not all(one["content"].strip() for one in kept):
        raise UnusableError("with an empty message")
    return kept
