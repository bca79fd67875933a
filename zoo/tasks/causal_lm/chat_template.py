"""Tokenizes conversations with a model's chat template and finds the assistant's tokens.

Templates that mark them (`{% generation %}`) are asked. For any other template the conversation is rendered
up to and including each answer: what the answer adds to the text is the assistant's, up to the token that
ends the turn. What follows that token (usually a newline) is never generated, so it is not learned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import IncompatibleError
from zoo.plugins import manager
from zoo.plugins.source import nearest
from zoo.tasks.causal_lm.conversations import Message

IGNORED = -100
"""The label of a token that is not learned."""
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Encoded:
    """The columns of an encoded row."""

    input_ids: list[int]
    labels: list[int]
    """The id where the assistant speaks, else -100."""
    cut: int = 0
    """Truncated tokens of the prompt."""
    lost: int = 0
    """Truncated tokens of the answer."""


def has_template(folder: Path) -> bool:
    """By the tokenizer's files alone; a folder without its settings is not known to have none."""
    settings = folder / "tokenizer_config.json"
    beside = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    if not settings.is_file() or any((folder / name).exists() for name in beside):
        return True
    try:
        return bool(json.loads(settings.read_text(encoding="utf-8")).get("chat_template"))
    except (ValueError, AttributeError, RecursionError):
        return True  # damaged: transformers says how


def check_template(tokenizer: Any) -> None:
    """Raises IncompatibleError: there is no chat template, or the tokenizer gives no offsets."""
    if not tokenizer.chat_template:
        raise _not_usable("the base has no chat template.")
    if not tokenizer.is_fast:
        raise _not_usable(f"the base's tokenizer ({type(tokenizer).__name__}) gives no character offsets.")


def _not_usable(reason: str) -> IncompatibleError:
    """To be raised: what is wrong with the base, and another one, of those that chat tasks prefer."""
    tasks = [task for _, task, _ in manager.load_all("task") if task and task.peft_type == "CAUSAL_LM"]
    return IncompatibleError(reason, nearest([base for task in tasks for base in task.bases], "base"))


def prompt_ids(messages: Sequence[Message], tokenizer: Any) -> list[int]:
    """The conversation so far and the opening of the assistant's turn."""
    text = _render(messages, tokenizer, opened=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode(messages: Sequence[Message], tokenizer: Any) -> Encoded:
    """
    Raises:
        IncompatibleError: the template refuses the conversation, or the answers cannot be found in it.
    """
    if _MARKS.search(tokenizer.get_chat_template()):
        marked = _applied(
            messages, tokenizer, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = marked["input_ids"], marked["assistant_masks"]
    else:
        text, spans = _answers(messages, tokenizer)
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = found["input_ids"]
        # by its end: the offsets of a white-space token may have been trimmed to nothing
        mask = [any(first < end <= last for first, last in spans) for _, end in found["offset_mapping"]]
    # the first token has nothing before it that could predict it
    labels = [
        one if said and index else IGNORED for index, (one, said) in enumerate(zip(ids, mask, strict=True))
    ]
    if all(label == IGNORED for label in labels):
        raise _not_usable("the base's chat template does not show the answers.")
    return Encoded(list(ids), labels)


def fit(encoded: Encoded, max_length: int, bos: int | None) -> Encoded:
    """Truncate to `max_length` from the front, so that the last answer is kept.

    A BOS token stays. An answer that does not fit keeps its beginning, with as much of the prompt before it
    as fits into a quarter of `max_length`.
    """
    over = len(encoded.input_ids) - max_length
    if over <= 0:
        return encoded
    opened = encoded.input_ids[:1] if encoded.input_ids[0] == bos else []
    answer = _last_answer(encoded.labels)
    start = max(len(opened), min(over + len(opened), answer - max_length // 4))
    end = start + max_length - len(opened)
    ids = opened + encoded.input_ids[start:end]
    labels = [IGNORED] * len(opened) + encoded.labels[start:end]
    lost = len(encoded.input_ids) - end
    return Encoded(ids, [IGNORED, *labels[1:]], cut=over - lost, lost=lost)


def _last_answer(labels: Sequence[int]) -> int:
    """Where the last run of learned tokens starts."""
    index = len(labels) - 1
    while labels[index] == IGNORED:
        index -= 1
    while index and labels[index - 1] != IGNORED:
        index -= 1
    return index


def _answers(messages: Sequence[Message], tokenizer: Any) -> tuple[str, list[tuple[int, int]]]:
    """The whole text, and the (start, end) of the assistant's characters in it."""
    text = _render(messages, tokenizer)
    spans = []
    cursor = 0
    for index, message in enumerate(messages):
        said = message["content"].strip()
        if message["role"] != "assistant":
            # skipped, so that an answer is not found in a question with the same text
            found = text.find(said, cursor)
            cursor = max(cursor, found + len(said)) if found >= 0 else cursor
            continue
        before = _render(messages[:index], tokenizer, opened=True)
        through = _render(messages[: index + 1], tokenizer)
        if through.startswith(before) and text.startswith(through):
            start, end = len(before), len(through)
        else:  # a template that renders earlier turns differently from the last one
            start = text.find(said, cursor)
            if start < 0:
                raise _not_usable("the base's chat template changes the text of the answers.")
            end = start + len(said)
            end += next((len(token) for token in _special(tokenizer) if text.startswith(token, end)), 0)
        spans.append((start, start + len(_without_tail(text[start:end], tokenizer))))
        cursor = end
    return text, spans


def _without_tail(answer: str, tokenizer: Any) -> str:
    """Without the white space after the token that ends the turn."""
    bare = answer.rstrip()
    return bare if bare.endswith(tuple(_special(tokenizer))) else answer


def _special(tokenizer: Any) -> list[str]:
    added = [str(one) for one in tokenizer.added_tokens_decoder.values() if one.special]
    return sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True)


def _render(messages: Sequence[Message], tokenizer: Any, *, opened: bool = False) -> str:
    text: str = _applied(messages, tokenizer, tokenize=False, add_generation_prompt=opened)
    return text


def _applied(messages: Sequence[Message], tokenizer: Any, **options: Any) -> Any:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(list(messages), **options)
    except TemplateError as error:
        roles = ", ".join(dict.fromkeys(one["role"] for one in messages))
        reason = f"the base's chat template refuses a conversation of {roles}: {error}."
        raise _not_usable(reason) from error
