"""Every command that prints rows or facts, on terminals of 80 and 120 columns and in a pipe."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Result, reviews, write_csv
from tests.records import WEIGHTS, copy_registry, make_base, make_record
from tests.terminal import Screen, call_on_terminal
from zoo.cli import main
from zoo.cli.tables import Column, print_rows
from zoo.registry.store import Registry, dump

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX terminal")

LONG = "someone-Llama-3.2-1B-Instruct-lora-r16-alpaca-cleaned"
DATA = "--data {folder}/reviews.csv --base {folder}/zoo/base"
CJK = "情感分析-低秩适配器"
WARNING = "accuracy: not better than the untrained base with a fresh head beyond chance"
TEXTS = (
    "I loved every minute again last night",
    "a dull and lifeless film " * 9,
    "这是一部非常好看的电影，" * 9,
)
Zoo = Callable[..., Result]
Terminal = Callable[..., Screen]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One with a short path, as a person has."""
    made = Path(tempfile.mkdtemp(prefix="zoo", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def many(folder: Path, trained_bert: Registry) -> Registry:
    """Three trained adapters, and the records of forty more, one of a long and one of a wide name."""
    registry = copy_registry(trained_bert, folder / "zoo")
    write_csv(folder / "reviews.csv", reviews())
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    made = [make_record(f"lora-bert-imdb-{number}") for number in range(2, 40)]
    made += [make_record(LONG, flags=[WARNING]), make_record(CJK, base=make_base(id="哈工大/中文-bert-wwm"))]
    content = msgspec.json.decode(registry.path.read_bytes())
    content["adapters"] |= {one.name: one for one in made}
    registry.path.write_bytes(dump(content))
    return registry


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, many: Registry) -> Terminal:
    """`zoo ARGS...` on a terminal, in this process."""
    monkeypatch.setenv("ZOO_REGISTRY", str(many.path))
    monkeypatch.setenv("ZOO_PAGER", "")
    monkeypatch.setenv("TERM", "xterm-256color")

    def run(*args: object, columns: int = 80) -> Screen:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, args)])
        return call_on_terminal(monkeypatch, main, columns)

    return run


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch, zoo: Zoo, many: Registry) -> Zoo:
    monkeypatch.setenv("ZOO_REGISTRY", str(many.path))
    return zoo


COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "": (0, ()),
    "methods": (0, ("ln-tuning", "prefix tuning: trained keys and values before the text")),
    "methods lora": (0, ("distilbert-sst2", "low-rank updates beside frozen weights")),
    "tasks": (0, ("distilbert-sst2", "mean_recall")),
    "plugins": (0, ("distilbert-sst2", "zoo_methods.ln_tuning")),
    "sources": (0, ("local", "hub")),
    "list": (0, ("lora-bert-imdb-39", LONG, CJK)),
    "show lora": (0, ("{folder}/zoo/adapters/lora",)),
    f"show {LONG}": (0, (LONG, f"sha256:{WEIGHTS}", "hub:google-bert/bert-base-cased@0123456789")),
    "check": (3, ("lora-bert-imdb-39", LONG, CJK)),
    f"check lora {LONG}": (3, (LONG, "sentence-transformers/all-MiniLM-L6-v2")),
    "doctor --fast": (5, ("{folder}/zoo/registry.json", LONG, CJK, "lora-bert-imdb-39")),
    "registry check": (5, ("{folder}/zoo/registry.json", LONG, CJK, "lora-bert-imdb-39")),
    f"verify lora {LONG}": (5, ("lora: adapter", f"{LONG}: files")),
    "evaluate lora head": (0, ("majority",)),
    "reproduce lora": (0, ("adapter_model.safetensors", "bit-identical")),
    "predict lora --file {folder}/texts.txt": (0, (TEXTS[0],)),
    "publish lora me/lora --dry-run": (5, ("adapter_model.safetensors", "zoo card lora --write")),
    f"train lora bert-imdb {DATA} --dry-run": (0, ("{folder}/zoo/base", "{folder}/reviews.csv")),
    "data check {folder}/reviews.csv --task bert-imdb": (0, ("{folder}/reviews.csv",)),
    "show nosuch-adapter-of-mine": (3, ("nosuch-adapter-of-mine", "zoo list")),
}
"""Command -> its exit code, and names, ids and paths that are whole on a line of its screen."""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal_and_no_name_is_folded(
    terminal: Terminal, folder: Path, command: str, columns: int
) -> None:
    code, whole = COMMANDS[command]
    screen = terminal(*command.format(folder=folder).split(), columns=columns)
    assert screen.code == code, screen.text
    assert not screen.wider_than(columns)
    missing = [name for name in whole if not any(name.format(folder=folder) in line for line in screen.lines)]
    assert not missing, screen.text


def test_a_training_is_no_wider_than_the_terminal_from_its_first_line_to_the_last(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    words = (
        f"train lora bert-imdb --data {folder}/reviews.csv --base {folder}/zoo/base --epochs 1 --name made"
    )
    registry = tmp_path / "registry.json"
    screen = terminal(*words.split(), "--precision", "fp32", "--registry", registry)
    assert screen.code == 0, screen.text
    assert not screen.wider_than(80)
    assert any(line.startswith("training ") and "loss 0." in line for line in screen.lines), screen.text
    assert any(line.split()[:2] == ["trained", "accuracy"] for line in screen.lines)
    assert "registered 'made' in" in screen.text
    for path in (f"{folder}/zoo/base", registry, registry.with_name("adapters") / "made"):
        assert any(str(path) in line for line in screen.lines), screen.text


def test_methods_are_a_line_each_on_80_columns(terminal: Terminal, pipe: Zoo) -> None:
    names = [line.split("\t")[0] for line in pipe("methods").out.splitlines()]
    screen = terminal("methods")
    assert [line.split()[0] for line in screen.lines[: len(names)]] == names
    assert screen.lines[len(names) :] == ["4 more columns with --wide", ""]


def test_wide_shows_every_column_whole(terminal: Terminal, pipe: Zoo) -> None:
    header, *rows = (line.split("\t") for line in pipe("list", "--wide").out.splitlines())
    head, *lines = terminal("list", "--wide").lines
    assert head.split() == header
    assert len(lines) == len(rows) + 1
    for row, line in zip(rows, lines, strict=False):
        assert row[-1] in line
        assert row[header.index("created")] in line
    assert terminal("list", "--no-wide").lines[-2].endswith("more columns with --wide")


HEADERS = {
    "methods": "name,what it does,tasks,merges,trainable,paper,package",
    "methods lora": "method,lora",
    "tasks": "name,what is learned,bases,data,columns,metric,package",
    "plugins": "kind,name,package,module,state",
    "sources": "source,scheme,kind,here now,note",
    "list": "name,method,task,base,metric,value,low,high,n,trainable,parameters,bytes,created,warning",
    "show lora": "name,lora",
    "check lora": "name,base,fit,status,detail,fix",
    "doctor --fast": "python,3",
    "data check {folder}/reviews.csv --task bert-imdb": "task,bert-imdb",
}


@pytest.mark.parametrize("command", HEADERS)
def test_in_a_pipe_every_column_is_there_and_nothing_is_cut_or_coloured(
    pipe: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = pipe(*command.format(folder=folder).split())
    assert done.out.replace("\t", ",").startswith(HEADERS[command])
    assert not {"\x1b", "…"} & {*done.out}
    assert "--wide" not in done.err
    if command == "list":
        assert {LONG, CJK} <= {line.split("\t")[0] for line in done.out.splitlines()}
        assert done.out.count(WARNING) == 1


@pytest.mark.parametrize(
    ("settings", "colours"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_the_words_of_an_error_are_coloured_on_a_terminal_only(
    terminal: Terminal, pipe: Zoo, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], colours: bool
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    screen = terminal("show", "nosuch")
    styled = ("\x1b[31m\x1b[1mError:\x1b[0m no adapter", "\x1b[1mNext:\x1b[0m zoo list")
    assert [text in screen.raw for text in styled] == [colours] * 2
    assert ("\x1b" in terminal("tasks").raw) is colours  # the header
    assert pipe("show", "nosuch").err == "Error: no adapter is called 'nosuch'.\nNext: zoo list\n"


# how a table is fitted


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines of a table on a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")

    def on_terminal(columns: int, header: list[str | Column], *rows: tuple[object, ...]) -> list[str]:
        return call_on_terminal(monkeypatch, lambda: print_rows(header, rows), columns).lines[:-1]

    return on_terminal


def test_columns_of_the_highest_rank_go_first_and_together(printed: Callable[..., list[str]]) -> None:
    header = ["name", Column("low", rank=2), Column("high", rank=2), Column("n", rank=3), "measured value"]
    row = ("one", "0.8300", "0.9300", 1000, "0.88")
    assert printed(50, header, row) == [
        "name  low     high    n      measured value",
        "one   0.8300  0.9300  1,000  0.88",
    ]
    assert printed(40, header, row) == [
        "name  low     high    measured value",
        "one   0.8300  0.9300  0.88",
        "1 more column with --wide",
    ]
    assert printed(30, header, row) == ["name  measured value", "one   0.88", "3 more columns with --wide"]


def test_a_column_without_any_value_is_left_out_silently(printed: Callable[..., list[str]]) -> None:
    assert printed(40, ["name", "fix"], ("one", ""), ("two", None)) == ["name", "one", "two"]
    assert printed(40, ["name", "fix"]) == ["name  fix"]


def test_sentences_are_wrapped_or_cut_and_commands_stay_commands(printed: Callable[..., list[str]]) -> None:
    detail = "the base is not on this disk, and the Hub was not asked"
    fix = "zoo pull somebody/an-adapter --name another-name"
    header = ["name", Column("detail", least=20), Column("fix", below=True)]
    assert printed(40, header, ("one", detail, fix), ("two", "ok", "")) == [
        "name  detail",
        "one   the base is not on this disk, and",
        "      the Hub was not asked",
        "    fix  zoo pull somebody/an-adapter \\",
        "         --name another-name",
        "two   ok",
    ]
    cut = printed(40, ["name", Column("detail", least=20, cut=True)], ("one", detail))
    assert cut == ["name  detail", "one   the base is not on this disk, and…"]


def test_a_name_that_is_longer_than_the_others_has_a_line_of_its_own(
    printed: Callable[..., list[str]],
) -> None:
    short = [(f"adapter-{number}", "0.8800") for number in range(9)]
    lines = printed(40, ["name", "value"], *short, (LONG[:38], "0.9000"), (CJK, "0.9100"))
    assert lines[:2] == ["name       value", "adapter-0  0.8800"]
    assert lines[-4:] == [LONG[:38], "           0.9000", CJK, "           0.9100"]


def test_a_sentence_with_a_path_that_does_not_fit_goes_below_its_row(
    printed: Callable[..., list[str]],
) -> None:
    path = "/home/somebody/zoo/registry.json"
    lines = printed(40, ["name", "status", Column("detail", least=20)], ("one", "failed", f"{path} is gone"))
    assert lines == ["name  status", "one   failed", "    detail", f"        {path}", "        is gone"]


def test_untrusted_text_moves_no_cursor_on_a_terminal(printed: Callable[..., list[str]]) -> None:
    (_, row) = printed(40, ["name", Column("text", least=10)], ("a\x1b[2J", "b\rc\td\x07\u202e"))
    assert row == "a [2J  b c d"


# the pager


@pytest.fixture
def pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pager of ours was given; it says with what LESS it was called."""
    program, given = tmp_path / "pager", tmp_path / "given"
    program.write_text(f'#!/bin/sh\necho "LESS=$LESS" > {given}\ncat >> {given}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("ZOO_PAGER", str(program))
    monkeypatch.setenv("PAGER", "false")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.delenv("LESS", raising=False)
    return given


def test_what_is_longer_than_the_screen_is_paged(terminal: Terminal, pager: Path) -> None:
    screen = terminal("list")
    options, header, *rows = pager.read_text(encoding="utf-8").splitlines()
    assert (options, header.split()[0]) == ("LESS=-RX", "name")
    assert LONG in rows
    assert screen.lines == ["7 more columns with --wide", ""]
    pager.unlink()
    assert "distilbert-sst2" in terminal("tasks").text
    assert not pager.exists()


def test_facts_and_their_table_are_one_page(terminal: Terminal, pager: Path) -> None:
    assert not terminal("methods", "lora", "--wide").text.strip()
    text = pager.read_text(encoding="utf-8")
    assert "\n\n-s " in text
    assert "\nmethod " in text
    assert "LESS=-RX -S -+F" in text  # to scroll sideways


def test_only_a_terminal_is_paged_and_never_json(
    terminal: Terminal, pipe: Zoo, pager: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LONG in pipe("list").out
    assert LONG in terminal("list", "--json").text
    assert not pager.exists()
    monkeypatch.setenv("ZOO_PAGER", "")
    assert LONG in terminal("list").text
    monkeypatch.setenv("ZOO_PAGER", "no-such-pager-here")
    assert LONG in terminal("list").text


def test_ctrl_c_and_q_leave_less_without_an_error(many: Registry, tmp_path: Path) -> None:
    pexpect = pytest.importorskip("pexpect", reason="needs pexpect (the test extra)")
    if not shutil.which("less"):
        pytest.skip("needs less")
    registry = Registry(tmp_path / "registry.json")
    records = [make_record(f"adapter-{number:04}") for number in range(2000)]  # more than a pipe holds
    registry.path.write_bytes(dump({"schema": 1, "adapters": {one.name: one for one in records}}))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LESS", "PAGER")}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "zoo", "list", "--registry", str(registry.path)],
        env={**env, "TERM": "xterm", "ZOO_PAGER": "less"},
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 80),
    )
    child.expect_exact("adapter-0020")
    child.sendintr()
    child.sendintr()
    child.send(" q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert not {"Traceback", "Error", "interrupted"} & {*child.before.replace(":", " ").split()}
