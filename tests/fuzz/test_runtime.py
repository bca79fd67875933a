"""The user's config, environment variables, and words that are nearly known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import contents, texts, words
from zoo.hub import waits
from zoo.runtime import config, suggest, terminal

TOML = b"""# mine
registry = "~/zoo"
namespace = "my-team"
precision = "fp32"
wide = true
tracker = 'none'
dates = [2026-01-01, 1e3, {a = 1}]
[table]
key = \"\"\"several
lines\"\"\"
"""


@fuzz(
    contents(TOML, b"wide = true\n", b'registry = "/x"\r\nprecision = "auto"'),
    b'registry = "~nobody/x"',
    b'registry = "/a\\u0000"',
    b"wide = true\nregistry = " + b"[" * 2000,
)
def test_a_config_is_read_or_refused(config_file: Path, content: bytes) -> None:
    config_file.parent.mkdir(exist_ok=True)
    config_file.write_bytes(content)
    survives(config.read)
    survives(lambda: config.look_up("wide"))
    survives(lambda: config.write("wide", True))
    if survives(lambda: config.write("wide", None)) is not None:
        assert not (survives(config.read) or {}).get("wide")


@fuzz(words("true", "fp32", "my-team", "/registry", "trackio", "~/zoo", "12.5"), "~nobody/x", "²", "9" * 5000)
def test_a_variable_is_read_or_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for key in config.SETTINGS:
        monkeypatch.setenv(config.variable(key), value)
        survives(config.look_up, key)
    for name, call in {
        waits.VARIABLE: waits.patience,
        "COLUMNS": lambda: terminal.size(open(os.devnull)),  # noqa: SIM115
    }.items():
        monkeypatch.setenv(name, value)
        survives(call)
        monkeypatch.delenv(name)


@fuzz(texts("lora", "--lora-rank", "BERT_IMDB", "push-to-hub", "Ⅷ"))
def test_any_word_is_near_to_one_that_is_known_or_to_none(word: str) -> None:
    known = ["lora", "bert-imdb", "r", "--base", word[1:]]
    assert survives(lambda: suggest.unknown(word, known, "zoo list", suggest.METHODS)) is not None
    assert survives(lambda: suggest.instead(word, "x")) is not None


@fuzz(
    texts(
        "a sentence of several words", "日本語の文章です。", "/a/long/path 'with a quoted part' \x1b[31mred"
    ),
    "日" * 20_000,
)
def test_any_text_is_wrapped_within_the_width(text: str) -> None:
    for limit in (1, 20, 80):
        lines = survives(terminal.wrap, terminal.printable(text), limit)
        assert lines is not None
        assert "".join("".join(lines).split()) == "".join(terminal.printable(text).split())
