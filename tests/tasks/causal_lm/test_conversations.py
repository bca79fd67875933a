"""Rows of files as conversations: four forms, and every way in which a row can be none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from zoo.data.files import read_frames
from zoo.errors import DataError
from zoo.tasks.causal_lm.conversations import Message, UnusableError, read_conversations

USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [USER, ASSISTANT]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    "alpaca": {"instruction": "Hi", "input": "", "output": "Hello"},
    "prompt and completion": {"prompt": "Hi", "completion": "Hello"},
}


def read(*rows: Mapping[str, Any], columns: dict[str, str] | None = None) -> tuple[str, list[Any]]:
    import pandas as pd

    return read_conversations(pd.DataFrame(list(rows)), columns or {}, "rows.json")


def one(row: Mapping[str, Any]) -> list[Message] | str:
    """The conversation, or why it is none."""
    found = read(row)[1][0]
    return str(found) if isinstance(found, UnusableError) else found


def chat(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{role} speaks"} for role in roles]}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_recognised_by_its_columns(form: str) -> None:
    assert read(FORMS[form]) == (form, [[USER, ASSISTANT]])


def test_the_input_of_alpaca_follows_its_instruction() -> None:
    row = {"instruction": "Add.", "input": "2 and 2", "output": 4}
    assert one(row) == [{"role": "user", "content": "Add.\n\n2 and 2"}, {"role": "assistant", "content": "4"}]


def test_the_other_names_of_alpacas_columns_are_known() -> None:
    assert one({"instruction": "Add.", "context": "2", "response": "2", "category": "sums"}) == [
        {"role": "user", "content": "Add.\n\n2"},
        {"role": "assistant", "content": "2"},
    ]


def test_a_prompt_may_be_a_conversation_itself() -> None:
    turns = [USER, ASSISTANT, {"role": "user", "content": "Why?"}]
    last = {"role": "assistant", "content": "So."}
    assert one({"prompt": turns, "completion": [last]}) == [*turns, last]


def test_a_system_column_comes_first() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert one({**FORMS["alpaca"], "system": "Be brief."}) == [system, USER, ASSISTANT]


def test_columns_under_other_names_are_given_by_hand() -> None:
    assert read({"q": "Hi", "a": "Hello"}, columns={"prompt": "q", "completion": "a"})[1] == [
        [USER, ASSISTANT]
    ]
    with pytest.raises(DataError, match="has no column 'b': it has q, a"):
        read({"q": "Hi", "a": "Hello"}, columns={"prompt": "q", "completion": "b"})


def test_parts_of_a_message_that_are_text_are_joined() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}
    assert one({"messages": [parts, ASSISTANT]}) == [USER, ASSISTANT]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (chat("user"), "without an assistant turn"),
        (chat("system", "user"), "without an assistant turn"),
        ({"messages": []}, "without an assistant turn"),
        (chat("assistant", "user"), "roles out of order"),
        (chat("user", "user", "assistant"), "roles out of order"),
        (chat("user", "assistant", "assistant"), "roles out of order"),
        (chat("user", "system", "assistant"), "roles out of order"),
        (chat("assistant"), "roles out of order"),
        (chat("user", "tool", "assistant"), "a role 'tool'"),
        ({"messages": "Hi"}, "without a list of messages"),
        ({"messages": None}, "without a list of messages"),
        ({"messages": ["Hi", "Hello"]}, "a message that is not an object"),
        ({"messages": [{"role": "user", "content": ""}, ASSISTANT]}, "an empty message"),
        ({"messages": [{"role": "user"}, ASSISTANT]}, "an empty message"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, ASSISTANT]}, "not only text"),
        ({"instruction": "Hi", "output": " \n"}, "an empty message"),
        ({"instruction": "", "input": "", "output": "Hello"}, "an empty message"),
        ({"prompt": "Hi", "completion": None}, "without a list of messages"),
    ],
)
def test_a_row_that_teaches_nothing_says_why(row: dict[str, Any], reason: str) -> None:
    assert reason in one(row)


def test_what_follows_the_last_answer_is_left_off() -> None:
    assert one({"messages": [USER, ASSISTANT, USER]}) == [USER, ASSISTANT]


def test_columns_of_no_form_are_listed() -> None:
    with pytest.raises(DataError, match="holds no conversations: its columns are text, label") as caught:
        read({"text": "a", "label": "b"})
    assert "--column prompt=text" in str(caught.value.hint)


# files


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["chat.json", "chat.jsonl"])
def test_an_object_a_line_is_read_under_either_suffix(tmp_path: Path, name: str) -> None:
    lines = "\n".join(json.dumps(row) for row in (FORMS["messages"], FORMS["messages"]))
    assert len(read_frames(written(tmp_path, name, f"\ufeff{lines}\n\n"))["train"]) == 2


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "one\u2028two", "completion": "x\x85y"}, ensure_ascii=False)
    assert len(read_frames(written(tmp_path, "chat.jsonl", row))["train"]) == 1


@pytest.mark.parametrize(
    ("name", "content", "said", "hint"),
    [
        ("chat.json", json.dumps(FORMS["messages"], indent=1), "one json object", "[{...}"),
        ("chat.json", '{"data": [\n{"prompt": "a"}]}', "under 'data' it has a list", "[{...}"),
        ("chat.jsonl", '{"prompt": "a"},\n{"prompt": "b"},\n', "line 1", "without a comma at its end"),
        ("chat.json", '{"prompt": "a"},\n{"prompt": "b"},\n', "line 1", "without a comma at its end"),
        ("chat.jsonl", '[\n{"prompt": "a"}\n]', "line 1", "mv "),
        ("chat.jsonl", '{"prompt": "a"}\n{"prompt"\n', "line 2", ""),
        ("chat.jsonl", '{"prompt": "a"}\n5\n', "line 2: a number, not an object", ""),
        ("chat.json", '[{"prompt": "a"}, "b"]', "row 2: a text, not an object", ""),
        ("chat.json", "null", "a json null, not a list", ""),
        ("chat.json", '{"prompt": "caf\xe9"}'.encode("latin-1"), "is not UTF-8", "iconv"),
    ],
)
def test_a_file_that_is_no_list_of_rows_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, said: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_frames(written(tmp_path, name, content))
    assert said in str(caught.value)
    assert hint in str(caught.value.hint or "")
