"""Files of tokenizers, processors and models: what transformers would act on, and what only looks like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import IncompatibleError
from zoo.security.remote_code import check_json


def write(tmp_path: Path, content: object, name: str = "tokenizer_config.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"auto_map": {"AutoTokenizer": ["tokenization.T", None]}}, "auto_map"),
        ({"vision_config": [{"auto_map": {"AutoConfig": "c.C"}}]}, "auto_map"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"init_inputs": ["/etc/passwd"]}, "init_inputs"),
        ({"_attn_implementation": "evil/kernel"}, "_attn_implementation"),
        ({"text_config": {"attn_implementation": "evil/kernel:run"}}, "attn_implementation"),
        ({"vocab_file": "/etc/passwd"}, "vocab_file"),
        ({"merges_file": "../../../../../../../../etc/passwd"}, "merges_file"),
        ({"vocab_file": "\\\\evil.example\\share"}, "vocab_file"),
        ({"chat_template": "{{ x.__class__.__subclasses__() }}"}, "__class__"),
        ({"chat_template": [{"name": "a", "template": "{{ x['__globals__'] }}"}]}, "__globals__"),
        ({"chat_template": "a" * (1 << 21)}, "characters"),
    ],
)
def test_what_makes_transformers_run_or_read_elsewhere_is_refused_by_its_key(
    tmp_path: Path, content: Any, key: str
) -> None:
    with pytest.raises(IncompatibleError, match=key):
        check_json(write(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        {"auto_map": None, "trust_remote_code": False, "init_inputs": []},
        {"_attn_implementation": "sdpa", "attn_implementation": None},
        {"tokenizer_file": "/root/.cache/of-its-author/tokenizer.json", "name_or_path": "/root/models/llama"},
        {"special_tokens_map_file": "/root/.cache/of-its-author/special_tokens_map.json"},
        {"chat_template": "{% for m in messages %}{{ '__' + m.role + '__' }}{% endfor %}"},
    ],
)
def test_what_honest_tokenizers_write_is_let_in(tmp_path: Path, content: Any) -> None:
    check_json(write(tmp_path, content))


def test_words_of_a_vocabulary_are_not_taken_for_keys(tmp_path: Path) -> None:
    check_json(write(tmp_path, {"auto_map": 7, "init_inputs": 8}, "vocab.json"))


def test_every_tokenizer_that_the_tiny_models_save_is_let_in(tiny_models: dict[str, Path]) -> None:
    judged = 0
    for family in ("bert", "llama", "clip"):
        for path in tiny_models[family].glob("*.json"):
            check_json(path)
            judged += 1
    assert judged > 6
