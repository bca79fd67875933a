"""A filter that nothing passes says which one it was, and one that names nothing is an error."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from tests.records import add_record, make_base, make_metric
from zoo.cli.first_adapter import first_command
from zoo.plugins import manager
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry

Zoo = Callable[..., Result]


@pytest.fixture
def two(zoo: Zoo, registry: Registry) -> Registry:
    """Where `zoo` looks: LoRA on BERT and a third party's method on a local base, both for IMDB."""
    add_record(registry, "one", metrics=[make_metric(), make_metric("loss", 0.4, lower_is_better=True)])
    spec = AdapterSpec(method="deft", task="bert-imdb", name="two")
    add_record(registry, "two", spec=spec, base=make_base(id="local:my-bert", weights={"a": "12" * 32}))
    return registry


@pytest.mark.parametrize(
    ("words", "code", "said", "hint"),
    [
        ("--method lorra", 3, "called 'lorra'. Did you mean 'lora'?", "zoo list --method lora"),
        ("--method def", 3, "called 'def'. Did you mean 'deft'?", "zoo list --method deft"),
        ("--task imdb", 3, "no task is called 'imdb'. Did you mean", "zoo list --task bert-imdb"),
        (
            "--method lora --task bert-imbd",
            3,
            "Did you mean 'bert-imdb'?",
            "zoo list --method lora --task bert-imdb",
        ),
        (
            *("--task bert-mrpc --method lorra", 3),
            *("Did you mean 'lora'?", "zoo list --task bert-mrpc --method lora"),
        ),
        ("--min accuracyy=.9", 2, "mcc. Did you mean 'accuracy=.9'?", "zoo list --min accuracy=.9"),
        ("--max los=.9", 2, "--max: no metric is called 'los'", "zoo list --max loss=.9"),
        ("--sort accuracyy", 2, "seconds, accuracy, f1, loss, mcc. Did you mean 'accuracy'?", None),
        ("--sort nmae", 2, "Did you mean 'name'?", None),
        ("--base bert-bas-cased", 3, "Did you mean 'bert-base-cased'?", "zoo list --base bert-base-cased"),
        ("--base local:your-bert", 3, "Did you mean 'local:my-bert'?", "zoo list --base local:my-bert"),
        ("--base ./my-bert", 3, "there is no folder './my-bert'.", "zoo sources"),
        ("--base path:/nope", 3, "there is no folder '/nope'.", "zoo sources"),
        ("--min accuracy=high", 2, "'--min accuracy' wants a number, got 'high'", None),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("two")
def test_a_filter_that_names_nothing_is_an_error_that_says_what_may_be_meant(
    zoo: Zoo, words: str, code: int, said: str, hint: str | None
) -> None:
    for form in ((), ("--json",)):
        done = zoo("list", *words.split(), *form)
        assert (done.code, done.out) == (code, "")
        assert said in done.error
        step = " ".join(("Next:", hint or "", *(form if hint and hint.startswith("zoo list") else ())))
        assert done.err.splitlines()[1:] == ([step] if hint else [])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--method ia3", "--method ia3 fits none of 2 adapters"),
        ("--task bert-mrpc", "--task bert-mrpc fits none of 2 adapters"),
        ("--method lora --task bert-mrpc", "--task bert-mrpc fits none of 1 adapter with --method lora"),
        ("--min accuracy=.99 --method lora", "--min accuracy=.99 fits none of 1 adapter with --method lora"),
        ("--min accuracy=.5 --max loss=.1", "--max loss=.1 fits none of 2 adapters with --min accuracy=.5"),
        ("--base roberta-base", "--base roberta-base fits none of 2 adapters"),
        ("--base sentence-transformers/all-MiniLM-L6-v2", "fits none of 2 adapters"),
        ("--base 0123456789", "--base 0123456789 fits none of 2 adapters"),
        ("--base meta-llama/Llama-3.1-8B", "no base is called 'meta-llama/Llama-3.1-8B' here."),
    ],
)
def test_a_filter_that_names_something_and_leaves_nothing_says_which_it_was(
    zoo: Zoo, two: Registry, words: str, reason: str
) -> None:
    done = zoo("list", *words.split())
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert done.err.startswith("no adapter fits: --")
    assert reason in done.err
    assert done.err.endswith(f"; looked in {two.path}\n")
    assert zoo("list", *words.split(), "--json").out == "[]\n"


def test_a_metric_that_a_task_has_and_no_adapter_was_measured_by_is_no_error(zoo: Zoo, two: Registry) -> None:
    known = {task.primary_metric for _, task, _ in manager.load_all("task")}
    assert known - {"accuracy", "loss"}
    for metric in known:
        done = zoo("list", "--min", f"{metric}=1e9")
        assert (done.code, f"--min {metric}=1e9 fits none of 2" in done.err) == (0, True)


def test_a_folder_without_a_slash_is_told_how_to_write_it(
    zoo: Zoo, two: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-bert").mkdir()
    monkeypatch.chdir(tmp_path)
    done = zoo("list", "--base", "my-bert")
    assert (done.code, "Next: zoo list --base ./my-bert\n" in done.err) == (3, True)


# an empty zoo


def test_an_empty_registry_says_how_to_train_the_first_adapter(zoo: Zoo, registry: Registry) -> None:
    done = zoo("list")
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert done.err == f"{registry.path} holds no adapter yet\nNext: {first_command()}\n"


@pytest.mark.slow
def test_the_command_that_trains_the_first_adapter_is_one_that_train_accepts(zoo: Zoo) -> None:
    words = shlex.split(zoo("list").err.splitlines()[-1].removeprefix("Next: zoo "))
    done = zoo(*words, "--dry-run", "--json")
    assert done.code == 0, done.err
    assert done.json["rows"].startswith("2,000 to train on")


def test_an_empty_registry_does_not_hide_a_typo(zoo: Zoo) -> None:
    assert zoo("list", "--method", "lorra").code == 3
    assert zoo("list", "--base", "bert-bas-cased").code == 3
    assert "holds no adapter yet" in zoo("list", "--method", "lora", "--min", "accuracy=.5").err


# --registry


@pytest.mark.parametrize(
    "words",
    [
        *("list", "show one", "rm one --yes", "predict one text", "evaluate one", "check one", "verify one"),
        "reproduce one",
        *("card one", "merge one -o x", "publish one --dry-run", "doctor --fast", "registry rebuild"),
        *("registry check", "registry merge", "registry migrate", "registry restore one", "undo"),
    ],
)
def test_a_command_that_reads_refuses_a_registry_that_is_not_there(
    zoo: Zoo, tmp_path: Path, words: str
) -> None:
    for path in (tmp_path / "nope", tmp_path / "nope.json"):
        done = zoo(*words.split(), "--registry", path)
        assert (done.code, done.out) == (3, "")
        assert f"there is no registry at '{path}'" in done.error
        assert "Next: zoo config get registry\n" in done.err
        assert not path.exists()


def test_a_folder_that_is_there_may_be_empty_and_adapters_without_their_registry_json_are_one(
    zoo: Zoo, tmp_path: Path, registry: Registry
) -> None:
    (tmp_path / "empty").mkdir()
    done = zoo("list", "--registry", tmp_path / "empty")
    assert (done.code, "holds no adapter yet" in done.err) == (0, True)
    assert f"--registry {tmp_path / 'empty'}/registry.json" in done.err
    add_record(registry, "one")
    registry.path.unlink()
    assert zoo("registry", "rebuild", "--registry", registry.path).code == 0
    assert "one" in zoo("list", "--registry", registry.path).out


def test_train_and_import_make_the_registry_that_is_named(
    zoo: Zoo, tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    settings: tuple[Any, ...] = ("--base", tiny_bert, "--data", reviews_csv, "--epochs", 1, "--dry-run")
    done = zoo("train", "lora", "bert-imdb", *settings, "--registry", tmp_path / "new")
    assert done.code == 0, done.err
    done = zoo("import", tmp_path, "--registry", tmp_path / "new-too")
    assert "adapter_config.json" in done.error


# of other commands


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("methods --task imdb", "Did you mean 'bert-imdb'?"),
        ("methods lorra", "Did you mean 'lora'?"),
        ("data check rows.csv --task imdb", "Did you mean 'bert-imdb'?"),
        ("plugin check lora --task imdb", "Did you mean 'bert-imdb'?"),
        ("search --method lorra", "no method is called 'lorra' here. Did you mean 'lora'?"),
        ("search --task imdb", "no task is called 'imdb' here. Did you mean 'bert-imdb'?"),
        ("search --base bert-bas-cased", "'bert-bas-cased' here. Did you mean 'bert-base-cased'?"),
    ],
)
def test_other_commands_refuse_a_near_miss_without_asking_the_hub(zoo: Zoo, words: str, said: str) -> None:
    done = zoo(*words.split())
    assert (done.code, done.out) == (3, "")
    assert said in done.error
    assert "Next: zoo " in done.err
