"""`zoo config`: what is set, where it comes from, and commands that heed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.records import add_record
from zoo.registry.store import Registry

Zoo = Callable[..., Result]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, zoo: Zoo) -> Path:
    """A working folder without a registry above it, and no variable that names one."""
    monkeypatch.delenv("ZOO_REGISTRY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def listed(zoo: Zoo) -> dict[str, tuple[str, str]]:
    done = zoo("config", "list")
    assert done.code == 0, done.err
    header, *rows = (line.split("\t") for line in done.out.splitlines())
    assert header == ["key", "value", "from"]
    return {key: (value, origin) for key, value, origin in rows}


def test_list_says_of_each_setting_its_value_and_where_it_comes_from(
    zoo: Zoo, outside: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert listed(zoo) == {
        "registry": (str(tmp_path / "data/adapter-zoo/registry.json"), "default"),
        "namespace": ("", "default"),
        "precision": ("auto", "default"),
        "wide": ("false", "default"),
        "tracker": ("none", "default"),
    }
    for words in (("precision", "fp32"), ("wide", "True"), ("registry", tmp_path / "mine")):
        done = zoo("config", "set", *words)
        assert (done.code, done.out) == (0, "")
        assert "Warning" not in done.err
    monkeypatch.setenv("ZOO_NAMESPACE", "team")
    assert listed(zoo) == {
        "registry": (str(tmp_path / "mine/registry.json"), "config file"),
        "namespace": ("team", "environment variable ZOO_NAMESPACE"),
        "precision": ("fp32", "config file"),
        "wide": ("true", "config file"),
        "tracker": ("none", "default"),
    }
    found = zoo("config", "list", "--json").json
    assert [sorted(one) for one in found] == [["key", "origin", "value"]] * 5
    assert {one["key"]: one["value"] for one in found if one["origin"] == "config file"} == {
        "registry": str(tmp_path / "mine/registry.json"),
        "precision": "fp32",
        "wide": True,
    }


def test_get_prints_the_value_that_commands_use(
    zoo: Zoo, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (zoo("config", "get", "precision").out, zoo("config", "get", "namespace").out) == ("auto\n", "\n")
    monkeypatch.setenv("ZOO_WIDE", "1")
    assert zoo("config", "get", "wide").out == "true\n"
    assert zoo("config", "get", "registry").out.endswith("/adapter-zoo/registry.json\n")


def test_set_says_what_comes_before_the_file_here(
    zoo: Zoo, outside: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_PRECISION", "bf16")
    done = zoo("config", "set", "precision", "fp32")
    assert done.code == 0
    assert "Warning: here the environment variable ZOO_PRECISION comes first: bf16" in done.err
    add_record(Registry(outside / "registry.json"), "one")
    done = zoo("config", "set", "registry", tmp_path / "mine")
    assert f"Warning: here the nearest registry.json comes first: {outside / 'registry.json'}" in done.err


def test_unset_takes_a_key_out_and_says_if_it_was_not_there(zoo: Zoo, config_file: Path) -> None:
    zoo("config", "set", "wide", "true")
    assert zoo("config", "unset", "wide").err == ""
    assert config_file.read_text() == ""
    done = zoo("config", "unset", "wide")
    assert (done.code, done.err) == (0, f"wide is not set in {config_file}\n")


def test_path_needs_no_file_and_reads_none(zoo: Zoo, config_file: Path) -> None:
    assert zoo("config", "path").out == f"{config_file}\n"
    config_file.parent.mkdir()
    config_file.write_text("damaged", encoding="utf-8")
    assert zoo("config", "path").out == f"{config_file}\n"


KEYS = "registry, namespace, precision, wide, tracker"


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("get wied", f"no setting is called 'wied': {KEYS}. Did you mean 'wide'?", "list"),
        ("set precison fp32", "Did you mean 'precision'?", "list"),
        ("unset nothing", "no setting is called 'nothing'", "list"),
        ("set precision fp16", "precision is auto, bf16 or fp32, not 'fp16'", "set precision fp32"),
        ("set wide yes", "wide is true or false, not 'yes'", "set wide true"),
        ("set namespace me/you", "namespace is a user or organisation of", "set namespace my-team"),
        ("set tracker tensorbord", "not 'tensorbord'", "set tracker tensorboard"),
    ],
)
def test_a_wrong_word_is_refused_and_nothing_is_written(
    zoo: Zoo, config_file: Path, words: str, said: str, hint: str
) -> None:
    done = zoo("config", *words.split())
    assert (done.code, done.out) == (2, "")
    assert said in done.error
    assert f"Next: zoo config {hint}\n" in done.err
    assert not config_file.exists()


def test_a_registry_is_written_as_a_whole_path(zoo: Zoo, outside: Path, config_file: Path) -> None:
    zoo("config", "set", "registry", "sub/mine.json")
    assert config_file.read_text() == f'registry = "{outside}/sub/mine.json"\n'
    assert zoo("config", "set", "registry", "").code == 2


def test_a_registry_in_the_config_is_used_where_no_project_has_one(
    zoo: Zoo, outside: Path, tmp_path: Path
) -> None:
    for folder, name in ((tmp_path / "mine", "of-the-config"), (outside, "of-the-project")):
        add_record(Registry(folder / "registry.json"), name)
    zoo("config", "set", "registry", tmp_path / "mine")
    assert "of-the-project" in zoo("list").out
    (outside / "registry.json").unlink()
    assert "of-the-config" in zoo("list").out


def test_a_damaged_file_is_one_sentence_in_other_commands_and_config_mends_it(
    zoo: Zoo, outside: Path, config_file: Path
) -> None:
    config_file.parent.mkdir()
    config_file.write_text('precision = "fp32"\nwidth = 100\nwide = "always"\n', encoding="utf-8")
    for words in (("list",), ("show", "one"), ("train", "lora", "bert-imdb"), ("config", "list")):
        done = zoo(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err.splitlines() == [
            f"Error: {config_file}, line 2: no setting is called 'width': {KEYS}. Did you mean 'wide'?",
            "Next: zoo config unset width",
        ]
    assert zoo("config", "unset", "width").code == 0
    assert "line 2: wide is true or false, not 'always'" in zoo("list").error
    assert zoo("config", "set", "wide", "true").code == 0
    assert config_file.read_text() == 'precision = "fp32"\nwide = true\n'
    assert zoo("list").code == 0


def test_a_command_that_reads_no_setting_works_beside_a_damaged_file(zoo: Zoo, config_file: Path) -> None:
    config_file.parent.mkdir()
    config_file.write_text("=", encoding="utf-8")
    assert zoo("tasks").code == 0
    assert zoo("config", "set", "wide", "true").code == 2


def test_the_help_explains_each_key(zoo: Zoo) -> None:
    text = zoo("config", "--help").out
    assert "what zoo train computes in: auto, bf16 or fp32" in text
    assert "the nearest" in text


@pytest.mark.parametrize(
    ("words", "precision"), [((), "fp32"), (("--precision", "auto"), "auto")], ids=["config", "option"]
)
def test_train_takes_its_precision_from_the_config_unless_an_option_says_otherwise(
    zoo: Zoo, tiny_bert: Path, reviews_csv: Path, words: tuple[str, ...], precision: str
) -> None:
    from zoo.runtime.device import choose_precision

    zoo("config", "set", "precision", "fp32")
    done = zoo(
        *(
            "train",
            "lora",
            "bert-imdb",
            "--base",
            tiny_bert,
            "--data",
            reviews_csv,
            "--dry-run",
            "--json",
            *words,
        )
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["precision"] == choose_precision(precision)


def test_a_tracker_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "swanlab", None)  # as if it were not installed
    done = zoo("train", "lora", "bert-imdb", "--tracker", "swanlab")
    assert (done.code, done.out) == (3, "")
    assert done.err == "Error: the tracker 'swanlab' is not installed.\nNext: pip install swanlab\n"
    zoo("config", "set", "tracker", "swanlab")
    assert "pip install swanlab" in zoo("train", "lora", "bert-imdb", "--dry-run").err
    done = zoo("train", "lora", "bert-imdb", "--tracker", "tensorbord")
    assert (done.code, done.out) == (3, "")
    assert done.error.startswith("Error: no tracker is called 'tensorbord': clearml, comet_ml, ")
    assert done.error.endswith("Did you mean 'tensorboard'?")
