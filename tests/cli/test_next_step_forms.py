"""Every form of a hint, and the command that it becomes after a command that failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo.cli import next_steps
from zoo.cli.next_steps import next_step


def step(hint: str, typed: str) -> str:
    return next_step(hint, typed.split())


@pytest.mark.parametrize(
    ("hint", "typed", "then"),
    [
        # an option to set: added, or in the place of its former value
        ("--name other", "train lora t", "zoo train lora t --name other"),
        ("--name other", "train lora t --name mine --seed 3", "zoo train lora t --seed 3 --name other"),
        ("--name other", "train lora t --name=mine --seed 3", "zoo train lora t --seed 3 --name other"),
        ("--yes", "publish mine", "zoo publish mine --yes"),
        ("--allow-other-base", "predict mine x", "zoo predict mine x --allow-other-base"),
        ("--name mine --resume", "train lora t", "zoo train lora t --name mine --resume"),
        ("-o merged", "merge mine", "zoo merge mine -o merged"),
        # one of several: only its own key is replaced
        ("-s r=8", "train lora t -s r=99 -s alpha=4", "zoo train lora t -s alpha=4 -s r=8"),
        (
            "--column text=a",
            "train lora t --column label=b",
            "zoo train lora t --column label=b --column text=a",
        ),
        ("--column text=a", "train lora t --text-column b", "zoo train lora t --column text=a"),
        ("--column text=a", "train lora t --text-column=b", "zoo train lora t --column text=a"),
        (
            "--column text=a",
            "train lora t --label-column b",
            "zoo train lora t --label-column b --column text=a",
        ),
        # what is an argument there and not an option
        ("--data FILE", "data check --task clip-retrieval", "zoo data check --task clip-retrieval FILE"),
        ("--data FILE", "train lora clip-retrieval", "zoo train lora clip-retrieval --data FILE"),
        # something to leave out, with its value
        ("without --resume", "train lora t --resume --seed 3", "zoo train lora t --seed 3"),
        ("without --limit", "train lora t --limit 0 --seed 3", "zoo train lora t --seed 3"),
        ("without --limit", "train lora t --limit=0 --seed 3", "zoo train lora t --seed 3"),
        ("without -s init_text", "train prompt t -s r=8 -s init_text=x", "zoo train prompt t -s r=8"),
        ("without --resume", "train lora t", "zoo train lora t"),
        # one word instead of another
        ("lora instead of lroa", "train lroa t", "zoo train lora t"),
        ("lora instead of t, t instead of lora", "train t lora", "zoo train lora t"),
        ("r=8 instead of rank=8", "train lora t -s rank=8", "zoo train lora t -s r=8"),
        ("r=8 instead of rank=8", "train lora t -srank=8", "zoo train lora t -sr=8"),
        ("r=8 instead of rank=8", "train lora t --set=rank=8", "zoo train lora t --set=r=8"),
        ("mine instead of mime", "rm mime --yes", "zoo rm mine"),
        (
            "'my file.csv' instead of a.csv",
            "train lora t --data a.csv",
            "zoo train lora t --data 'my file.csv'",
        ),
        # a command
        ("zoo list", "show nobody", "zoo list"),
        ("hf auth login", "publish mine", "hf auth login"),
        ("zoo tasks", "train lora t --registry here", "zoo tasks"),
        ("zoo list", "show nobody --registry here", "zoo list --registry here"),
        ("zoo list", "show nobody --registry=here", "zoo list --registry here"),
        ("zoo rm mine", "pull a/b --registry here", "zoo rm mine --registry here"),
        ("zoo list --registry there", "show nobody --registry here", "zoo list --registry there"),
        ("zoo list --help", "list --registry here", "zoo list --help"),
        # several, one after the other
        ("iconv a > b && b instead of a", "data check a", "iconv a > b && zoo data check b"),
        # advice
        ("fetch the whole folder", "import a", "fetch the whole folder"),
    ],
)
def test_a_hint_becomes_a_command(hint: str, typed: str, then: str) -> None:
    assert step(hint, typed) == then


def test_a_file_is_replaced_however_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hint = f"{tmp_path / 'b.csv'} instead of {tmp_path / 'a.csv'}"
    for typed in ("a.csv", "./a.csv", f"../{tmp_path.name}/a.csv", str(tmp_path / "a.csv"), "path:a.csv"):
        assert step(hint, f"data check {typed}") == "zoo data check b.csv"
    assert step(hint, "train lora t --data=a.csv") == "zoo train lora t --data=b.csv"


def test_a_file_that_lies_elsewhere_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    there = tmp_path / "there"
    assert step(f"zoo import {there}", "train lora t") == f"zoo import {there}"


def test_a_path_for_pip_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    install = f"pip install -e '{tmp_path}{os.sep}zoo[qlora]'"
    assert step(install, "train qlora t") == install


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        ("zoo list", True),
        ("hf auth login", True),
        ("unset HF_HUB_OFFLINE", True),
        ("iconv -f latin1 -t utf-8 a > b && zoo list", True),
        ("fetch the whole folder", False),
        ("try again when it is done", False),
        ("", False),
    ],
)
def test_a_command_is_told_from_advice(text: str, is_command: bool) -> None:
    assert next_steps.is_command(text) is is_command


def test_two_words_that_are_no_command_are_the_method_and_the_task() -> None:
    message, hint = next_steps.explain_command("IMDB-BERT", ["train", "list"], ["IMDB-BERT"])
    assert (message, hint) == ("no command is called 'IMDB-BERT'.", "zoo --help")
    _, hint = next_steps.explain_command(
        "bert-imdb", ["train"], ["--debug", "bert-imdb", "lora", "--seed", "3"]
    )
    assert hint == "zoo --debug train lora bert-imdb --seed 3"
