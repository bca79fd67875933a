"""Finds what in tokenizer, processor or model files makes transformers run code or read other files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import IncompatibleError
from zoo.models.safetensors_header import named
from zoo.runtime.paths import expand, is_there
from zoo.security.adapter_config import REMEDY
from zoo.security.safe_read import read_json

_CODE_KEYS = {
    "auto_map": "names Python code that comes with it",
    "trust_remote_code": "asks to run code from a repository",
    "custom_pipelines": "names Python code that comes with it",
    "init_inputs": "hands arguments of its own to the tokenizer",
}
_KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation")
_TEMPLATE_KEYS = ("chat_template", "default_chat_template", "template")
_VOCABULARY_KEY = re.compile(r"(vocab|merges|tokenizer|spm|sp_model|bpe|source_spm|target_spm|emoji)(_file)?")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")
"""Files whose keys are tokens and merges, which are only looked up."""
_REACHES_OUT = re.compile(
    r"__(class|mro|bases?|subclasses|globals|builtins|import|init|dict|code|self|reduce)\w*__"
)
_LONGEST_TEMPLATE = 1 << 20


def check_json(path: Path) -> None:
    """
    Raises:
        IncompatibleError: transformers would fetch or run code because of it, or read a file elsewhere.
    """
    content = read_json(path)
    for key, value in () if path.name in _VOCABULARIES else _entries(content):
        if key in _CODE_KEYS and value:
            raise IncompatibleError(f"{path} sets {key}: it {_CODE_KEYS[key]}.", REMEDY)
        if key in _KERNEL_KEYS and "/" in str(value):
            raise IncompatibleError(f"{path} sets {key} = '{named(str(value))}': it fetches code.", REMEDY)
        if isinstance(value, str) and key in _TEMPLATE_KEYS:
            check_template(path, value)
        if isinstance(value, str) and _VOCABULARY_KEY.fullmatch(key) and _leaves(value):
            raise IncompatibleError(f"{path} sets {key} = '{named(value)}': a file elsewhere.", REMEDY)


def check_template(path: Path, template: str) -> None:
    """Refuse a chat template of `path` that reaches for more than its text; so does jinja's sandbox.

    Raises:
        IncompatibleError: it is no mere template.
    """
    if found := _REACHES_OUT.search(template):
        raise IncompatibleError(f"{path} has a chat template that reaches for '{named(found[0])}'.", REMEDY)
    if len(template) > _LONGEST_TEMPLATE:
        raise IncompatibleError(f"{path} has a chat template of {len(template):,} characters.")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every object, however deep, without recursion."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield from one.items()
            left += one.values()
        elif isinstance(one, list):
            left += one


def _leaves(value: str) -> bool:
    """Is it a path out of the adapter's folder to something that is there?"""
    is_outside = value.startswith(("/", "\\", "~")) or ".." in value or value[1:2] == ":"
    return value.startswith(("\\\\", "//")) or (is_outside and is_there(expand(value)))
