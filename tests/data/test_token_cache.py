"""Encoded once: what is kept is what the task gives, for exactly as long as nothing it depends on changes."""

from __future__ import annotations

import copy
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo import TextClassification
from zoo.data import token_cache
from zoo.data.files import Example

TEXTS = [
    "a moving and honest film",
    "a",
    ".",
    " x ",
    "naïve café, 東京, 🎬, и кино",
    "a \u0301 \u200b\ufeff",
    "\x00",
    "again and " * 200,
    "a dull and lifeless film",
]
EXAMPLES: list[Example] = [{"text": text, "label": index % 2} for index, text in enumerate(TEXTS)]


class Counting(TextClassification):
    """Says how often it is asked."""

    name = "counting"
    summary = "for the tests"
    bases = data = ()

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        self.calls += 1
        return super().encode(examples, processor, max_length)


class Giving(Counting):
    """Encodes to rows that are given."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self.rows = rows

    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        self.calls += 1
        return [self.rows[example["row"]] for example in examples]


@pytest.fixture
def task() -> Counting:
    return Counting()


@pytest.fixture
def tokenizer(tiny_bert: Path, task: Counting) -> Any:
    return task.load_processor(tiny_bert)


def given(rows: list[dict[str, Any]], processor: Any) -> Sequence[dict[str, Any]]:
    examples: list[Example] = [{"row": row} for row in range(len(rows))]
    return token_cache.encode(Giving(rows), examples, processor, 16)


def files(cache: Path) -> list[Path]:
    return sorted((cache / "encoded").iterdir()) if (cache / "encoded").exists() else []


@pytest.mark.parametrize("max_length", [2, 3, 8, 512])
def test_it_is_what_the_task_gives_the_first_time_and_the_second(
    task: Counting, tokenizer: Any, max_length: int
) -> None:
    expected = task.encode(EXAMPLES, tokenizer, max_length)
    for _ in range(2):
        found = token_cache.encode(task, EXAMPLES, tokenizer, max_length)
        assert list(found) == expected
        kinds = {type(value) for row in found for value in row.values()}
        assert kinds == {int, list}
        assert {type(one) for row in found for one in row["input_ids"]} == {int}
    assert task.calls == 2  # one of them is the test's


def test_many_examples_are_encoded_in_blocks_and_keep_their_order(
    task: Counting, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_cache, "BLOCK", 4)
    expected = task.encode(EXAMPLES, tokenizer, 16)
    assert list(token_cache.encode(task, EXAMPLES, tokenizer, 16)) == expected
    assert task.calls == 1 + 3


def test_a_second_call_does_not_encode(task: Counting, tokenizer: Any, cache: Path) -> None:
    token_cache.encode(task, EXAMPLES, tokenizer, 16)
    assert (task.calls, len(files(cache))) == (1, 1)
    token_cache.encode(task, EXAMPLES, tokenizer, 16)
    # nor does another tokenizer of the same folder, whatever it was last asked to do
    other = copy.deepcopy(tokenizer)
    other(["a film"], truncation=True, max_length=3)
    other.pad({"input_ids": [[1, 2], [3]]}, padding="max_length", max_length=9)
    other(["a film"], padding="max_length", max_length=9, truncation=True)
    token_cache.encode(task, EXAMPLES, other, 16)
    assert (task.calls, len(files(cache))) == (1, 1)


def test_a_file_that_is_used_counts_as_the_newest(task: Counting, tokenizer: Any, cache: Path) -> None:
    token_cache.encode(task, EXAMPLES, tokenizer, 16)
    (path,) = files(cache)
    os.utime(path, (1000, 1000))
    token_cache.encode(task, EXAMPLES, tokenizer, 16)
    assert path.stat().st_mtime > 1000


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.add_tokens(["honest film"]),
        lambda one: one.add_special_tokens({"additional_special_tokens": ["film"]}),
        lambda one: setattr(one, "truncation_side", "left"),
        lambda one: setattr(one, "padding_side", "left"),
        lambda one: setattr(one, "model_input_names", ["input_ids"]),
        lambda one: setattr(one, "chat_template", "{{ messages }}"),
        lambda one: setattr(one, "model_max_length", 7),
    ],
    ids=["words", "special", "truncation", "padding", "inputs", "template", "limit"],
)
def test_another_tokenizer_encodes_anew(change: Any, task: Counting, tokenizer: Any, cache: Path) -> None:
    token_cache.encode(task, EXAMPLES, tokenizer, 16)
    change(tokenizer)
    found = token_cache.encode(task, EXAMPLES, tokenizer, 16)
    assert (task.calls, len(files(cache))) == (2, 2)
    assert list(found) == task.encode(EXAMPLES, tokenizer, 16)


@pytest.mark.parametrize(
    "examples",
    [
        [{"text": "a film", "label": 1}, {"text": "b", "label": 1}],
        [{"text": "b", "label": 1}, {"text": "a film", "label": 0}],
        [{"text": "a film", "label": 0}],
        [{"text": "a film ", "label": 0}, {"text": "b", "label": 1}],
        [{"text": "a film", "label": 0}, {"text": "b", "label": 1}, {"text": "b", "label": 1}],
    ],
    ids=["label", "order", "fewer", "space", "more"],
)
def test_other_examples_are_encoded_anew(examples: list[Example], task: Counting, tokenizer: Any) -> None:
    token_cache.encode(task, [{"text": "a film", "label": 0}, {"text": "b", "label": 1}], tokenizer, 16)
    assert list(token_cache.encode(task, examples, tokenizer, 16)) == task.encode(examples, tokenizer, 16)
    assert task.calls == 3


def test_another_length_or_task_of_the_same_code_encodes_anew(task: Counting, tokenizer: Any) -> None:
    other = Counting()
    other.name = "other"
    for one, max_length in ((task, 16), (task, 17), (other, 16)):
        token_cache.encode(one, EXAMPLES, tokenizer, max_length)
    assert (task.calls, other.calls) == (2, 1)


_PLUGIN = """
from zoo import TextClassification

class Plugin(TextClassification):
    name = "plugin"

    def inputs(self, example):
        return (example["text"] {more},)
"""


def _plugin(tmp_path: Path, more: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / f"plugin{len(list(tmp_path.glob('plugin*')))}.py"
    path.write_text(_PLUGIN.format(more=more), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    Plugin = module.Plugin  # noqa: N806
    Plugin.__abstractmethods__ = frozenset()
    return Plugin()


def test_other_code_encodes_anew(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's file lies wherever it lies, so it is what stands in it that counts."""
    lengths = []
    for more, kept in (("", 1), ("", 1), ("+ ' film'", 2)):
        plugin = _plugin(tmp_path, more, monkeypatch)
        rows = token_cache.encode(plugin, [{"text": "a", "label": 0}], tokenizer, 16)
        lengths.append(rows[0]["length"])
        assert len(files(tmp_path / "cache")) == kept
    assert lengths == [3, 3, 4]


def test_a_task_whose_code_is_nowhere_is_encoded_each_time(tokenizer: Any, cache: Path) -> None:
    """Written in a notebook, say."""
    made: dict[str, Any] = {"__name__": "nowhere", "Counting": Counting}
    exec("class Task(Counting): pass", made)
    task = made["Task"]()
    for calls in (1, 2):
        assert list(token_cache.encode(task, EXAMPLES, tokenizer, 16))[1]["length"] == 3
        assert task.calls == calls
    assert files(cache) == []


@pytest.mark.parametrize("processor", [None, object()])
def test_without_a_backend_that_says_what_it_does_nothing_is_kept(processor: Any, cache: Path) -> None:
    rows = [{"input_ids": [1, 2], "length": 2}]
    assert list(given(rows, processor)) == rows
    assert files(cache) == []


def test_examples_that_are_no_words_are_encoded_each_time(tokenizer: Any, cache: Path) -> None:
    task = Giving([{"input_ids": [1], "length": 1}])
    examples: list[Example] = [{"row": 0, "image": np.zeros(3)}]
    for calls in (1, 2):
        assert list(token_cache.encode(task, examples, tokenizer, 16)) == task.rows
        assert task.calls == calls
    assert files(cache) == []


def test_rows_are_a_sequence_like_a_list(task: Counting, tokenizer: Any) -> None:
    rows, plain = token_cache.encode(task, EXAMPLES, tokenizer, 8), task.encode(EXAMPLES, tokenizer, 8)
    assert isinstance(rows, token_cache.Rows)
    count = len(plain)
    assert len(rows) == count
    for index in range(-count, count):
        assert rows[index] == plain[index]
    for index in (count, -count - 1, 1000):
        with pytest.raises(IndexError):
            rows[index]
    for part in (slice(2, 5), slice(None, None, -2), slice(-3, None), slice(5, 2), slice(0, 1000, 3)):
        assert list(rows[part]) == plain[part]
        assert len(rows[part]) == len(plain[part])
    assert list(rows[1:6][::-1][1:3]) == plain[1:6][::-1][1:3]
    assert rows[1:6][-1] == plain[5]
    with pytest.raises(IndexError):
        rows[1:3][2]
    assert list(reversed(rows)) == plain[::-1]
    assert plain[2] in rows
    assert rows.index(plain[3]) == 3
    assert rows[np.int64(1)] == plain[1]  # type: ignore[call-overload]


def test_a_row_may_be_changed_without_changing_what_is_kept(task: Counting, tokenizer: Any) -> None:
    rows = token_cache.encode(task, EXAMPLES, tokenizer, 8)
    before = copy.deepcopy(rows[0])
    row = rows[0]
    row["input_ids"].append(1)
    row["labels"] = 7
    assert rows[0] == before


@pytest.mark.parametrize("damage", [b"", b"junk", b"half", b"zeros", b"nothing in it", b"one row less"])
def test_a_damaged_file_is_made_anew(damage: bytes, task: Counting, tokenizer: Any, cache: Path) -> None:
    from safetensors.numpy import save

    expected = list(token_cache.encode(task, EXAMPLES, tokenizer, 16))
    (path,) = files(cache)
    whole = path.read_bytes()
    path.write_bytes(
        {
            b"half": whole[: len(whole) // 2],
            b"zeros": bytes(len(whole)),
            b"nothing in it": save({}),
            b"one row less": save({"length": np.zeros(len(EXAMPLES) - 1, np.uint8)}),
        }.get(damage, damage)
    )
    assert list(token_cache.encode(task, EXAMPLES, tokenizer, 16)) == expected
    assert task.calls == 2
    assert list(token_cache.encode(task, EXAMPLES, tokenizer, 16)) == expected
    assert task.calls == 2


def test_a_cache_that_may_only_be_read_is_read(
    task: Counting, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's, say."""
    token_cache.encode(task, EXAMPLES, tokenizer, 16)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    token_cache.encode(task, EXAMPLES, tokenizer, 16)
    assert task.calls == 1


@pytest.mark.parametrize(
    "rows",
    [
        [{"input_ids": [0.5], "length": 1}],
        [{"input_ids": [1], "weight": 0.5, "length": 1}],
        [{"input_ids": [[1, 2], [3, 4]], "length": 2}],
        [{"input_ids": [[1, 2], [3]], "length": 2}, {"input_ids": [[1]], "length": 1}],
        [{"input_ids": [1], "text": "a film", "length": 1}],
        [{"input_ids": ["a"], "length": 1}],
        [{"input_ids": [True, False], "length": 2}],
        [{"input_ids": [1], "other": None, "length": 1}],
        [{"input_ids": [1], "length": 1}, {"input_ids": 2, "length": 1}],
        [{"input_ids": 1, "length": 1}, {"input_ids": [2], "length": 1}],
        [{"input_ids": [2**70], "length": 1}],
        [{"input_ids": [1, 2]}],
        [{"input_ids": [1], "length": 1}, {"input_ids": [1], "length": 1, "labels": 0}],
        [{"input_ids": [1], "length": 1, "labels": 0}, {"input_ids": [1], "length": 1}],
    ],
)
def test_rows_that_are_not_whole_numbers_come_back_as_they_are(
    rows: list[dict[str, Any]], tokenizer: Any, cache: Path
) -> None:
    found = given(rows, tokenizer)
    assert isinstance(found, list)
    assert all(one is other for one, other in zip(found, rows, strict=True))
    assert files(cache) == []


@pytest.mark.parametrize(
    "values",
    [
        [0],
        [],
        [255, 256],
        [65535, 65536],
        [2**31 - 1, 2**31],
        [2**32, 2**40],
        [2**63 - 1],
        [-1, -100],
        [-(2**63), 0],
    ],
)
def test_no_whole_number_is_cut_off(values: list[int], tokenizer: Any) -> None:
    rows: list[dict[str, Any]] = [
        {"input_ids": values, "labels": -100, "length": len(values)},
        {"input_ids": [], "labels": 2**40, "length": 0},
        {"input_ids": [3, 4], "labels": 0, "length": 2},
    ]
    for _ in range(2):
        found = given(rows, tokenizer)
        assert isinstance(found, token_cache.Rows)
        assert list(found) == rows


def test_no_examples_are_no_rows(task: Counting, tokenizer: Any) -> None:
    for _ in range(2):
        found = token_cache.encode(task, [], tokenizer, 16)
        assert len(found) == 0
        assert list(found) == []


def test_the_arrays_are_small(task: Counting, tokenizer: Any, cache: Path) -> None:
    """200 words are told by one byte each."""
    rows = token_cache.encode(task, EXAMPLES * 20, tokenizer, 64)
    tokens = sum(row["length"] for row in rows)
    assert files(cache)[0].stat().st_size < 4 * tokens


def test_a_flipped_byte_anywhere_is_noticed_and_the_texts_are_encoded_again(
    task: Counting, tokenizer: Any, cache: Path
) -> None:
    expected = list(token_cache.encode(task, EXAMPLES, tokenizer, 8))
    (path,) = files(cache)
    whole = path.read_bytes()
    assert task.calls == 1
    step = max(1, len(whole) // 150)
    places = [*range(0, len(whole), step), len(whole) - 1]
    for calls, at in enumerate(places, 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert list(token_cache.encode(task, EXAMPLES, tokenizer, 8)) == expected, at
        assert task.calls == calls, at
        assert path.read_bytes() == whole, at
    assert list(token_cache.encode(task, EXAMPLES, tokenizer, 8)) == expected
    assert task.calls == len(places) + 1


def test_a_file_of_0_1_without_a_hash_is_made_again(task: Counting, tokenizer: Any, cache: Path) -> None:
    from safetensors.numpy import load_file, save_file

    token_cache.encode(task, EXAMPLES, tokenizer, 8)
    (path,) = files(cache)
    save_file(load_file(path), path)
    token_cache.encode(task, EXAMPLES, tokenizer, 8)
    assert task.calls == 2
