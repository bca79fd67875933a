"""What may come after a line, as the shells ask for it; the shells themselves are in test_scripts.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.cli.test_startup import HEAVY
from tests.conftest import Result, run_process
from tests.records import add_record, make_base, make_metric
from zoo.cli import cli
from zoo.cli.shell.values import BY_NAME
from zoo.plugins import manager
from zoo.registry.store import Registry

Complete = Callable[..., dict[str, str]]
FREE = {
    *("--split", "--name", "--limit", "--eval-limit", "--epochs", "--lr", "--batch-tokens", "--seed"),
    *("--gradient-accumulation", "--max-length", "--text-column", "--label-column", "--pair", "texts"),
    *(
        "--prompt",
        "--system",
        "--max-new-tokens",
        "--temperature",
        "--top-p",
        "--labels",
        "--author",
        "query",
    ),
    *("repo", "--revision", "--base-id", "--license", "--message", "reference"),
}
"""What a person makes up, or the Hub alone knows."""


@pytest.fixture
def complete(zoo: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Complete:
    """The words that zsh offers after a line, with their help; `<file>` and `<dir>` are its own paths."""

    def ask(line: str, shell: str = "zsh", **variables: str) -> dict[str, str]:
        asked = {"_ZOO_COMPLETE": f"{shell}_complete", "_ZOO_LINE": line, **variables}
        for name, value in asked.items():
            monkeypatch.setenv(name, value)
        found = zoo()
        assert (found.code, found.err) == (0, "")
        rows = [one.split("\t") for one in found.out.splitlines() if one]
        return {word if kind == "plain" else f"<{kind}>": help for kind, word, help in rows}

    return ask


@pytest.fixture
def have(tmp_path: Path) -> Registry:
    """Two adapters, where `zoo` looks."""
    registry = Registry(tmp_path / "registry" / "registry.json")
    add_record(registry, "lora-bert-imdb")
    add_record(registry, "mine", metrics=[make_metric("loss")], base=make_base(id="me/other"))
    return registry


def test_commands_have_the_help_of_zoo_help(complete: Complete) -> None:
    found = complete("zoo tr")
    assert found == {"train": "Train an adapter: zoo train METHOD TASK."}
    assert {*cli.list_commands(click.Context(cli))} == {*complete("zoo ")}


def test_subcommands_and_options_of_both_levels(complete: Complete) -> None:
    assert {*complete("zoo registry ")} >= {"rebuild", "schema"}
    assert {*complete("zoo --")} >= {"--debug", "--version", "--help"}
    assert {*complete("zoo train --ba")} == {"--base", "--batch-tokens", "--base-dropout"}
    assert {*complete("zoo data check --ta")} == {"--task"}


def test_help_knows_the_commands_and_those_below_them(complete: Complete) -> None:
    assert complete("zoo help ") == complete("zoo ")
    assert {*complete("zoo help registry ")} == {*complete("zoo registry ")}
    assert complete("zoo help train ") == complete("zoo help nosuch ") == {}


def test_an_option_is_offered_once_unless_it_may_be_repeated(complete: Complete) -> None:
    assert "--json" not in complete("zoo list --json --")
    assert "--set" in complete("zoo train lora bert-imdb --set r=8 --")


def test_methods_tasks_and_plugins_are_those_that_pip_knows(complete: Complete) -> None:
    methods, tasks = {*manager.find("method")}, {*manager.find("task")}
    assert {*complete("zoo train ")} == {*complete("zoo methods ")} == methods
    assert {*complete("zoo train lora ")} == {*complete("zoo list --task ")} == tasks
    assert {*complete("zoo plugin check ")} == methods | tasks | {*manager.find("source")}


@pytest.mark.usefixtures("have")
def test_adapters_are_those_of_the_registry_with_what_they_are(complete: Complete) -> None:
    found = complete("zoo show ")
    assert found == {
        "lora-bert-imdb": "lora, bert-imdb, google-bert/bert-base-cased",
        "mine": "lora, bert-imdb, me/other",
    }
    one = ("predict", "chat", "merge", "card", "publish", "reproduce")
    for command in (*one, "evaluate", "verify", "check", "rm"):
        assert complete(f"zoo {command} ") == found
    assert {*complete("zoo rm mine ")} == {"lora-bert-imdb"}
    assert complete("zoo undo ") == {}
    assert {*complete("zoo show ./m")} == {"<dir>"}


def test_what_can_be_undone_is_its_number_and_the_command(complete: Complete, have: Registry) -> None:
    have.remove("mine", command="zoo rm mine --yes")
    assert complete("zoo undo ") == {"1": "zoo rm mine --yes"}


@pytest.mark.usefixtures("have")
def test_adapters_are_those_of_the_registry_that_is_named_before(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_record(Registry(tmp_path / "else" / "registry.json"), "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path / "else"))
    for named in (str(tmp_path / "else"), "~/else", "$WHERE", f"'{tmp_path}/else/registry.json'"):
        assert {*complete(f"zoo show --registry {named} ")} == {"elsewhere"}
        assert {*complete(f"zoo show --registry={named} e")} == {"elsewhere"}


@pytest.mark.usefixtures("have")
def test_filters_know_the_bases_and_metrics_of_the_registry(complete: Complete) -> None:
    assert {*complete("zoo list --base ")} == {"google-bert/bert-base-cased", "me/other", "<dir>"}
    assert {*complete("zoo list --min ")} == {"accuracy=", "f1=", "mcc=", "loss="}
    assert {*complete("zoo list --sort ")} >= {"name", "created", "accuracy", "loss"}


def test_bases_and_data_are_the_local_ones_by_id_and_by_reference(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    for name, files in {
        "models--google-bert--bert-base-cased/snapshots/1234": ("config.json", "model.safetensors"),
        "models--gpt2/snapshots/1234": ("config.json", "model.safetensors"),
        "models--cut-off/blobs": ("1234.incomplete",),
        "datasets--glue/snapshots/1234": ("train.csv",),
    }.items():
        (cache / name).mkdir(parents=True)
        for file in files:
            (cache / name / file).write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    mini = "sentence-transformers/all-MiniLM-L6-v2"
    found = complete("zoo train lora bert-imdb --base ")
    assert {mini, "google-bert/bert-base-cased", "gpt2", "<dir>"} <= {*found}
    assert found[mini] == f"pip:{mini}"
    assert not {"glue", "cut-off"} & {*found}
    assert f"pip:{mini}" in complete("zoo train lora bert-imdb --base pip:s")
    assert {*complete("zoo train lora bert-imdb --base=goog")} == {
        "--base=google-bert/bert-base-cased",
        "<dir>",
    }
    assert {*complete("zoo train lora bert-imdb --data ")} >= {"stanfordnlp/imdb", "glue", "<file>"}


def test_parameters_are_those_of_the_method_that_is_named_with_their_help(complete: Complete) -> None:
    found = complete("zoo train lora bert-imdb -s ")
    assert list(found)[:2] == ["r=", "alpha="]
    assert found["r="] == "rank of the update (default 8)"
    assert {*complete("zoo train lora bert-imdb --set=al")} == {"--set=alpha="}
    assert {*complete("zoo train bert-imdb -s ")} == set()
    assert "alpha=" in complete("zoo train -s r=8 lora bert-imdb -s ")
    assert "r=" not in complete("zoo train -s r=8 lora bert-imdb -s ")
    assert "alpha=" in complete("zoo plugin check lora -s ")


def test_values_of_a_parameter_are_offered_where_they_are_few(complete: Complete) -> None:
    assert {*complete("zoo train hra bert-imdb -s gram_schmidt=")} == {
        "gram_schmidt=true",
        "gram_schmidt=false",
    }
    assert {*complete("zoo train p-tuning bert-imdb -s encoder=l")} == {"encoder=lstm"}
    assert complete("zoo train lora bert-imdb -s r=") == {}


@pytest.mark.usefixtures("have")
def test_columns_are_those_of_the_task_or_of_the_adapters(complete: Complete) -> None:
    pair = {"sentence1=", "sentence2=", "label="}
    assert {*complete("zoo train lora bert-mrpc --column ")} == pair
    assert {*complete("zoo data check --task bert-mrpc --column ")} == pair
    assert {*complete("zoo predict mine --column ")} == {"text=", "label="}
    assert {*complete("zoo evaluate mine --column ")} == {"text=", "label="}


def test_choices_are_offered(complete: Complete) -> None:
    assert {*complete("zoo train lora bert-imdb --precision ")} == {"auto", "bf16", "fp32"}
    assert {*complete("zoo completion ")} == {"bash", "zsh", "fish"}
    assert {*complete("zoo plugin new ")} == {"method", "task"}


def test_settings_have_the_values_of_their_options(complete: Complete) -> None:
    assert "what zoo train computes in" in complete("zoo config get ")["precision"]
    assert {*complete("zoo config set precision ")} == {"auto", "bf16", "fp32"}
    assert {*complete("zoo config set wide ")} == {"true", "false"}
    assert {*complete("zoo config set tracker wa")} == {*complete("zoo train --tracker wa")} == {"wandb"}
    assert {*complete("zoo config set registry ")} == {"<file>"}
    assert {*complete("zoo config set namespace ")} == set()


def test_paths_are_left_to_the_shell(complete: Complete) -> None:
    assert {*complete("zoo train lora bert-imdb --data ./r")} == {"<file>"}
    assert {*complete("zoo merge x -o ")} == {"<dir>"}
    assert {*complete("zoo list > ")} == {*complete("zoo list 2>l")} == {"<file>"}


def commands(command: click.Command, words: str = "zoo") -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(words, command)]
    ctx = click.Context(command)
    below = {name: command.get_command(ctx, name) for name in command.list_commands(ctx)}
    return [found for name, one in below.items() if one for found in commands(one, f"{words} {name}")]


def test_the_table_of_values_has_a_line_for_all_that_is_not_free_text_and_for_nothing_else() -> None:
    bare, used = set(), set()
    for words, command in commands(cli):
        for param in command.params:
            name = max(param.opts, key=len)
            found = {name, f"{words} {name}"} & {*BY_NAME}
            used |= found
            is_flag = isinstance(param, click.Option) and (param.is_flag or param.count)
            if param.type is click.STRING and not is_flag and not found and name not in FREE:
                bare.add(f"{words} {name}")
    assert (bare, {*BY_NAME} - used) == (set(), set())


def test_bash_gets_what_follows_the_last_of_its_word_breaks(complete: Complete) -> None:
    breaks = " \t\n\"'@><=;|&(:"
    assert {*complete("zoo train lora bert-imdb -s al", "bash", _ZOO_BREAKS=breaks)} == {"alpha="}
    hra = "zoo train hra bert-imdb -s gram_schmidt="
    assert {*complete(hra, "bash", _ZOO_BREAKS=breaks)} == {"true", "false"}
    assert {*complete(hra, "bash", _ZOO_BREAKS=" ")} == {"gram_schmidt=true", "gram_schmidt=false"}
    base = "zoo train lora bert-imdb --base "
    mini = "sentence-transformers/all-MiniLM-L6-v2"
    assert {*complete(f"{base}pip:sent", "bash", _ZOO_BREAKS=breaks)} >= {mini}
    assert {*complete(f"{base}'pip:sent", "bash", _ZOO_BREAKS=breaks)} >= {f"pip:{mini}"}
    assert {*complete("zoo train lora bert-imdb --precision=", "bash", _ZOO_BREAKS=breaks)} == {
        *("auto", "bf16", "fp32")
    }


def test_a_damaged_registry_and_wrong_words_give_nothing(complete: Complete, have: Registry) -> None:
    assert complete("zoo show --registry nowhere/registry.json ") == {}
    have.path.write_text("{", encoding="utf-8")
    for line in (
        "zoo show ",
        "zoo nosuch ",
        "zoo train nosuch bert-imdb -s ",
        "zoo train lora bert-imdb -s x=",
    ):
        assert complete(line) == {}
    assert {*complete("zoo tr")} == {"train"}


def test_a_name_that_a_shell_would_run_is_not_offered(complete: Complete, have: Registry) -> None:
    text = have.path.read_text(encoding="utf-8")
    have.path.write_text(text.replace('"mine": {', '"$(touch x)": {'), encoding="utf-8")
    assert {*complete("zoo show ")} == {"lora-bert-imdb"}


def test_a_broken_plugin_prints_nothing_and_takes_nothing_else_down(tmp_path: Path) -> None:
    meta = tmp_path / "zoo_broken-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-broken\nVersion: 1.0\n")
    points = "\n".join(f"[zoo.{kind}s]\nbroken = zoo_broken" for kind in manager.KINDS)
    (meta / "entry_points.txt").write_text(points)
    (tmp_path / "zoo_broken.py").write_text(
        "import sys\nprint('hello')\nprint('hello', file=sys.stderr)\nexit(9)"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for line, expected in (("-s ", ""), ("--base sen", "sentence-transformers/all-MiniLM-L6-v2")):
        asked = {"_ZOO_COMPLETE": "bash_complete", "_ZOO_LINE": f"zoo train broken bert-imdb {line}"}
        found = run_process(env={**asked, "PYTHONPATH": path}, fresh=True)
        assert (found.code, found.err) == (0, "")
        assert [one.split("\t")[1] for one in found.out.splitlines() if one.startswith("plain")] == (
            [expected] if expected else []
        )


IMPORTED = """
import json, os, sys
from zoo.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("line", "modules"),
    [
        ("zoo t", {"zoo.cli.train", "zoo.cli.plugins", "zoo.plugins.manager", "zoo.registry.store"}),
        ("zoo show l", {"zoo.plugins.source", "huggingface_hub"}),
        ("zoo train --", {"zoo.plugins.manager", "zoo.plugins.source"}),
        ("zoo train l", {"zoo_methods", "zoo.plugins.source", "huggingface_hub"}),
        ("zoo train lora bert-imdb -s ", {"huggingface_hub"}),
        ("zoo train lora bert-imdb --base ", {"huggingface_hub.errors", "httpx", "httpx2"}),
        ("zoo doctor --", {"zoo.adapters", "zoo.hub", "huggingface_hub"}),
        ("zoo publish --", {"zoo.hub.publish", "huggingface_hub"}),
    ],
)
def test_a_key_imports_little(line: str, modules: set[str], have: Registry) -> None:
    asked = {"_ZOO_COMPLETE": "fish_complete", "_ZOO_LINE": line, "ZOO_REGISTRY": str(have.path)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("plain\t")
    assert not {*HEAVY, *modules} & {*json.loads(done.stderr)}
