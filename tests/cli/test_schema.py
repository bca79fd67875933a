"""Every command with --json prints what its schema says, for one name or several, in failure and of nothing.

The fixture `zoo` validates each of these outputs, here and in all other tests.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.conftest import Result, reviews, write_csv
from tests.json_schemas import check_json
from tests.records import copy_registry
from tests.third_party import adapter_files, put_down
from tests.third_party import hub as hub
from zoo.cli import cli
from zoo.registry.store import Registry

Zoo = Callable[..., Result]

CASES: dict[str, list[tuple[int, str]]] = {
    "train": [
        (0, "head bert-imdb --base BASE --data DATA --epochs 1 --precision fp32 --name new"),
        (0, "lora bert-imdb --base BASE --data DATA --dry-run"),
        (3, "lora bert-imdb --base BASE --data nowhere.csv"),
    ],
    "list": [(0, ""), (0, "--method vera"), (0, "--registry EMPTY")],
    "show": [(0, "lora"), (0, "lora head"), (0, "FOLDER"), (3, "lora nobody")],
    "evaluate": [(0, "head"), (0, "lora head --limit 5"), (3, "nobody")],
    "predict": [(0, "lora one"), (0, "full one two"), (3, "nobody one")],
    "merge": [(0, "lora --output OUT"), (2, "lora --output OUT"), (3, "nobody --output OUT")],
    "card": [(0, "lora"), (0, "head --write"), (3, "nobody")],
    "search": [(0, ""), (0, "nothing-like-it")],
    "pull": [(0, "them/lora-reviews"), (0, "them/lora-reviews"), (3, "them/nothing")],
    "import": [(0, "THEIRS --name theirs"), (3, "nowhere/at/all")],
    "publish": [(5, "lora --dry-run"), (3, "nobody --dry-run")],
    "verify": [(0, "head"), (5, "broken head"), (3, "nobody")],
    "reproduce": [(0, "head"), (3, "nobody")],
    "check": [(5, ""), (0, "lora"), (0, "lora head --base BASE"), (0, "--registry EMPTY"), (3, "nobody")],
    "methods": [(0, ""), (0, "lora"), (3, "loro")],
    "tasks": [(0, "")],
    "data check": [
        (0, "DATA --task bert-imdb --base BASE"),
        (2, "POOR --task bert-imdb --base BASE"),
        (3, "nowhere.csv --task bert-imdb"),
    ],
    "sources": [(0, "")],
    "config list": [(0, "")],
    "plugins": [(0, "")],
    "plugin new": [(0, "method my-method --into OUT"), (2, "method lora")],
    "plugin check": [(0, "local"), (3, "nobody")],
    "runs": [(0, ""), (0, "--registry EMPTY")],
    "resume": [(3, "nobody")],
    "registry rebuild": [(0, ""), (0, "--registry EMPTY")],
    "registry check": [(5, ""), (5, "--all"), (0, "--registry EMPTY")],
    "registry merge": [(0, "COPY --dry-run"), (0, "COPY"), (2, ""), (2, "EMPTY/none.json")],
    "registry migrate": [(0, ""), (0, "--registry EMPTY")],
    "undo": [(3, ""), (0, "--list"), (3, "5")],
    "schema": [(0, ""), (0, "data check"), (2, "chat")],
    "doctor": [(5, "--fast"), (0, "--fast --registry EMPTY")],
}
"""Command -> (exit code, words). A word in capitals is what `places` has for it."""


ON_THE_HUB = ("search", "pull", "publish")


@pytest.fixture
def places(trained_bert: Registry, tiny_bert: Path, tmp_path: Path) -> dict[str, object]:
    """What the words in capitals stand for, and where `zoo` looks: `lora`, `head`, `full` and `broken`."""
    registry = copy_registry(trained_bert, tmp_path / "registry")
    made = shutil.copytree(registry.adapter_folder("lora"), registry.work_folder("broken") / "made")
    registry.add(msgspec.structs.replace(registry.get("lora"), name="broken"), made)
    (registry.adapter_folder("broken") / "adapter_config.json").write_text("{", encoding="utf-8")
    for name in ("data", "empty"):
        (tmp_path / name).mkdir()
    return {
        "BASE": trained_bert.path.parent / "base",
        "DATA": write_csv(tmp_path / "data" / "rows.csv", reviews()).parent,
        "POOR": write_csv(tmp_path / "poor.csv", reviews(4)),
        "EMPTY": tmp_path / "empty",
        "COPY": copy_registry(trained_bert, tmp_path / "copy").path,
        "FOLDER": trained_bert.adapter_folder("full"),
        "THEIRS": put_down(tmp_path / "theirs", adapter_files(tiny_bert)),
        "OUT": tmp_path / "out",
    }


@pytest.mark.parametrize("command", CASES)
def test_what_a_command_prints_is_what_its_schema_says(
    command: str, zoo: Zoo, places: dict[str, object], tiny_bert: Path, request: pytest.FixtureRequest
) -> None:
    if command in ON_THE_HUB:
        request.getfixturevalue("hub").put("them/lora-reviews", adapter_files(tiny_bert))
    for code, words in CASES[command]:
        done = zoo(*command.split(), *(places.get(word, word) for word in words.split()), "--json")
        assert done.code == code, (words, done.err)
        assert done.out or code != 0, words


def commands(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or (name and command.invoke_without_command):
        yield name, command
    if not isinstance(command, click.Group):
        return
    for word in command.list_commands(click.Context(command)):
        below = command.get_command(click.Context(command), word)
        assert below is not None
        yield from commands(below, f"{name} {word}".strip())


def test_the_commands_with_a_schema_are_those_with_json_and_each_is_tried_here(zoo: Zoo) -> None:
    with_json = {name for name, one in commands() if any("--json" in param.opts for param in one.params)}
    assert {row["command"] for row in zoo("schema", "--json").json} == with_json == set(CASES)


@pytest.mark.parametrize("command", CASES)
def test_a_schema_is_valid_and_names_its_command_and_its_dialect(command: str, zoo: Zoo) -> None:
    schema = zoo("schema", *command.split()).json
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == f"zoo {command} --json"


def test_a_field_that_no_schema_has_fails(zoo: Zoo, places: dict[str, object]) -> None:
    (shown,) = zoo("show", "lora", "--json").json
    for changed in (shown | {"new": 1}, shown | {"cost": {**shown["cost"], "new": 1}}):
        with pytest.raises(ValidationError, match="'new' was unexpected"):
            check_json(["show", "lora", "--json"], json.dumps([changed]))


def test_a_field_carries_what_is_written_below_it(zoo: Zoo) -> None:
    parts = zoo("schema", "list").json["$defs"]
    peak = parts["Cost"]["properties"]["peak_memory_bytes"]["description"]
    assert peak.startswith("Highest resident memory of the process")
    assert parts["Metric"]["description"] == "A number with its error bar."
    inherited = zoo("schema", "check").json["$defs"]["Fit"]["properties"]
    assert inherited["status"]["enum"] == ["failed", "ok", "skipped", "warning"]
    assert inherited["fix"]["description"].startswith("The command that fixes it")


def test_the_schema_of_a_record_is_that_of_what_show_prints(zoo: Zoo) -> None:
    assert zoo("registry", "schema").json["$defs"] == zoo("schema", "show").json["$defs"]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("lits", "no command is called 'lits'. Did you mean 'list'?", "zoo schema list"),
        ("data", "zoo data has no --json.", "zoo schema data check"),
        ("chat", "zoo chat has no --json.", "zoo schema"),
        ("list lora", "no command is called 'list lora'. Did you mean 'list'?", "zoo schema list"),
    ],
)
def test_a_command_without_a_schema_is_refused_with_what_has_one(
    words: str, error: str, hint: str, zoo: Zoo
) -> None:
    done = zoo("schema", *words.split())
    assert (done.code, done.out) == (2, "")
    assert done.err == f"Error: {error}\nNext: {hint}\n"
