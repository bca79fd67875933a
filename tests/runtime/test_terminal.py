"""What fits on a terminal, where lines break, and which labels have a colour."""

from __future__ import annotations

import io
import os
import shlex
import struct
import subprocess
import sys
from typing import Any

import pytest
from rich.cells import cell_len

from zoo.runtime.terminal import cells, has_colour, say, shorten, size, widest_word, wrap

PATH = "/a/path/of/some/length/registry.json"
SENTENCE = f"the file {PATH} was written by 0.1.0, whose names are others"


@pytest.mark.parametrize("limit", [36, 40, 60, 80])
def test_lines_break_between_words_and_no_path_is_folded(limit: int) -> None:
    lines = wrap(SENTENCE, limit)
    assert " ".join(lines) == SENTENCE
    assert max(map(cells, lines)) <= limit
    assert any(PATH in line for line in lines)


def test_a_word_wider_than_the_line_stays_whole() -> None:
    assert wrap(f"in {PATH} now", 10) == ["in", PATH, "now"]
    assert widest_word(SENTENCE) == len(PATH)


def test_a_script_without_spaces_breaks_by_cells_and_its_paths_do_not() -> None:
    text = "这是一部非常好看的电影我会再看一遍"
    lines = wrap(text, 9)
    assert "".join(lines) == text
    assert {cell_len(line) for line in lines[:-1]} == {8}
    assert wrap("/tmp/模型/情感分析-低秩适配器", 10) == ["/tmp/模型/情感分析-低秩适配器"]


@pytest.mark.parametrize("limit", [-5, 0, 1])
def test_a_line_without_room_is_no_endless_loop(limit: int) -> None:
    assert "".join(wrap("情感 分析", limit)) == "情感分析"


@pytest.mark.parametrize("text", ["x" * 30, "电影" * 20, "a电" * 20, "é" * 30])
def test_a_shortened_text_has_an_ellipsis_and_at_most_its_cells(text: str) -> None:
    short = shorten(text, 12)
    assert short.endswith("…")
    assert 11 <= cell_len(short) <= 12
    assert shorten(text, 100) == text


def test_a_wrapped_command_is_the_same_command_for_a_shell() -> None:
    command = "printf %s\\\\n --data 'my file with spaces.csv' --name lora-bert-imdb -s r=16 --yes \"a b\""
    lines = wrap(command, 34, command=True)
    assert max(map(cells, lines)) <= 34
    assert all(line.endswith(" \\") for line in lines[:-1])
    done = subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == shlex.split(command)[2:]
    assert "-s r=16" in "\n".join(lines)


def test_the_size_is_that_of_columns_and_lines_or_of_80_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "132")
    monkeypatch.setenv("LINES", "50")
    assert size(io.StringIO()) == (132, 50)
    monkeypatch.setenv("COLUMNS", "wide")
    monkeypatch.delenv("LINES")
    assert size(io.StringIO()) == (80, 24)
    monkeypatch.setenv("COLUMNS", "3")
    assert size(io.StringIO())[0] == 20


@pytest.mark.skipif(os.name == "nt", reason="a POSIX terminal")
def test_the_size_of_a_terminal_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import termios

    monkeypatch.delenv("COLUMNS")
    monkeypatch.delenv("LINES", raising=False)
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    with open(main, "wb"), open(terminal, "w") as stream:
        assert size(stream) == (101, 33)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("settings", "terminal", "pipe"),
    [
        ({}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": ""}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colour_is_for_terminals_and_as_no_color_and_force_color_ask(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], terminal: bool, pipe: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert has_colour(Terminal()) is terminal
    assert has_colour(io.StringIO()) is pipe


def said(monkeypatch: pytest.MonkeyPatch, stream: Any, *message: str) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    say(*message)
    return str(stream.getvalue())


def test_a_message_is_wrapped_with_a_hanging_indent_and_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "48")
    monkeypatch.setenv("NO_COLOR", "1")
    assert said(monkeypatch, Terminal(), SENTENCE).splitlines() == [
        f"the file {PATH}",
        "  was written by 0.1.0, whose names are others",
    ]
    assert said(monkeypatch, Terminal(), "no adapter fits " * 5, "Error:").splitlines() == [
        "Error: no adapter fits no adapter fits no",
        "       adapter fits no adapter fits no adapter",
        "       fits",
    ]
    assert said(monkeypatch, io.StringIO(), SENTENCE, "Error:") == f"Error: {SENTENCE}\n"


@pytest.mark.parametrize(
    ("label", "start"),
    [("Error:", "\x1b[31m\x1b[1m"), ("Warning:", "\x1b[33m"), ("Next:", "\x1b[1m"), ("", "")],
)
def test_only_the_label_of_a_message_is_coloured(
    monkeypatch: pytest.MonkeyPatch, label: str, start: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = f"{start}{label}\x1b[0m zoo list\n" if label else "zoo list\n"
    assert said(monkeypatch, Terminal(), "zoo list", label) == shown


def test_a_message_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, Terminal(), "a\x1b[2Jb\x07\rc\nd")
    assert text == "a [2Jb  c\n  d\n"
