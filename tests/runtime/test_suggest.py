from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping

import click
import pytest

from zoo.cli import cli
from zoo.plugins import manager
from zoo.runtime import suggest


def commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


COMMANDS = {command.name for command in commands(cli)}
OPTIONS = {name for one in commands(cli) for param in one.params for name in param.opts}
PARAMETERS = {
    field.name for _, method, _ in manager.load_all("method") for field in dataclasses.fields(method.Params)
}
TARGETS: list[tuple[Mapping[str, str], set[str] | dict[str, manager.Plugin]]] = [
    (suggest.COMMANDS, {str(name) for name in COMMANDS}),
    (suggest.METHODS, manager.find("method")),
    (suggest.TASKS, manager.find("task")),
    (suggest.PARAMETERS, PARAMETERS),
    ({old: new.partition(" ")[0] for old, new in suggest.OPTIONS.items()}, OPTIONS),
]
TABLES = ("COMMANDS", "METHODS", "TASKS", "PARAMETERS", "OPTIONS")


@pytest.mark.parametrize(("synonyms", "known"), TARGETS, ids=TABLES)
def test_what_every_synonym_stands_for_exists(synonyms: Mapping[str, str], known: set[str]) -> None:
    assert {new for new in synonyms.values() if new not in known} == set()


@pytest.mark.parametrize("table", [*TABLES, "ADVICE"])
def test_every_synonym_is_written_as_it_is_looked_up(table: str) -> None:
    synonyms = getattr(suggest, table)
    assert [old for old in synonyms if old != suggest.fold(old)] == []


@pytest.mark.parametrize(("synonyms", "known"), TARGETS[:4], ids=TABLES[:4])
def test_no_synonym_hides_a_word_of_our_own(synonyms: Mapping[str, str], known: set[str]) -> None:
    if synonyms is suggest.COMMANDS:  # those of groups are not in its place
        known = set(cli.list_commands(click.Context(cli)))
    assert {suggest.fold(one) for one in known} & {*synonyms} == set()


def test_options_of_train_are_neither_synonyms_nor_advised_about() -> None:
    train = cli.get_command(click.Context(cli), "train")
    assert train is not None
    own = {name for param in train.params for name in param.opts}
    assert own & ({*suggest.OPTIONS} | {*suggest.ADVICE}) == set()
    assert {*suggest.OPTIONS} & {*suggest.ADVICE} == set()


def test_the_value_that_an_option_gets_is_taken_by_it() -> None:
    with_value = {new for new in suggest.OPTIONS.values() if " " in new}
    assert with_value == {f"--precision {one}" for one in ("auto", "bf16", "fp32")}


def test_advice_names_options_and_commands_that_exist() -> None:
    for advice in suggest.ADVICE.values():
        assert {*re.findall(r"--[a-z-]+", advice)} <= OPTIONS
        for command in re.findall(r"zoo (\w+)", advice):
            assert command in COMMANDS
        assert len(advice) < 100


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("LoRA", "lora"),
        ("LORA", "lora"),
        ("P_Tuning", "p-tuning"),
        (" lora ", "lora"),
        ("lroa", "lora"),
        ("lora-", "lora"),
        ("qlroa", "qlora"),
        ("dorra", "dora"),
        ("layernorm", "ln-tuning"),
        ("prefix_tuning", "prefix"),
        ("PROMPT_TUNING", "prompt"),
        ("full-finetuning", "full"),
        ("(IA)3", "ia3"),
        ("use_dora", "dora"),
        ("freeze", "head"),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_method_that_was_meant(word: str, meant: str | None) -> None:
    assert suggest.closest(word, manager.find("method"), suggest.METHODS) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("BERT-IMDB", "bert-imdb"),
        ("bert_imdb", "bert-imdb"),
        ("imdb", "bert-imdb"),
        ("sst2", "distilbert-sst2"),
        ("sst-2", "distilbert-sst2"),
        ("mrpc", "bert-mrpc"),
        ("bert-imbd", "bert-imdb"),
        ("chat", "tinyllama-chat"),
        ("sentiment", "bert-imdb"),
        ("lora", None),
    ],
)
def test_the_task_that_was_meant(word: str, meant: str | None) -> None:
    assert suggest.closest(word, manager.find("task"), suggest.TASKS) == meant


def test_swapped_letters_are_likelier_than_other_letters() -> None:
    assert suggest.closest("lroa", ["road", "lora"]) == "lora"
    assert suggest.closest("abdc", ["abec", "abcd"]) == "abcd"


def test_how_like_a_word_must_be_can_be_asked_for_but_swapped_letters_always_do() -> None:
    assert suggest.closest("eval-delay", ["eval-data"]) == "eval-data"
    assert suggest.closest("eval-delay", ["eval-data"], least=0.8) is None
    assert suggest.closest("lmit", ["limit"], least=0.8) == "limit"
    assert suggest.closest("nmae", ["name"], least=0.8) == "name"


def test_a_part_that_several_names_have_is_not_enough() -> None:
    assert suggest.closest("bert", ["bert-imdb", "bert-mrpc"]) is None
    assert suggest.closest("imdb", ["bert-imdb", "bert-mrpc"]) == "bert-imdb"


def test_a_known_word_is_itself_whatever_the_synonyms_say() -> None:
    assert suggest.closest("LoRA", ["lora", "dora"], {"lora": "dora"}) == "lora"


def test_a_synonym_of_what_is_not_known_here_is_no_help() -> None:
    assert suggest.closest("rank", ["scaling"], suggest.PARAMETERS) is None


def test_the_word_comes_back_as_it_is_spelt() -> None:
    assert suggest.closest("mine", ["Mine"]) == "Mine"
    assert suggest.did_you_mean("mime", ["Mine"]) == " Did you mean 'Mine'?"
    assert suggest.did_you_mean("elephant", ["Mine"]) == ""


def test_a_hint_says_which_word_is_to_replace_which_whatever_is_in_them() -> None:
    hint = suggest.instead("a new name", "it's")
    assert shlex.split(hint) == ["a new name", "instead", "of", "it's"]


def test_an_unknown_word_has_the_nearest_as_its_hint_or_what_lists_them() -> None:
    assert suggest.unknown("mime", ["mine"], "zoo list") == (" Did you mean 'mine'?", "mine instead of mime")
    assert suggest.unknown("elephant", ["mine"], "zoo list") == ("", "zoo list")
