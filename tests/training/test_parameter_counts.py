"""What methods would train: counted once without weights, then listed without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from zoo.plugins import manager
from zoo.runtime.console import Report
from zoo.training.parameter_counts import count_methods, kept

Zoo = Callable[..., Result]
METHODS = [manager.find("method")[name] for name in ("full", "head", "lora")]
TASK = manager.find("task")["bert-imdb"]


def test_what_was_counted_is_kept_for_that_base_alone(tiny_bert: Path, cache: Path) -> None:
    assert kept(TASK, METHODS, str(tiny_bert)) == {}
    counted = count_methods(TASK, METHODS, str(tiny_bert), Report())
    assert counted["head"].trainable == 2 * 32 + 2
    assert kept(TASK, METHODS, str(tiny_bert)) == counted
    assert kept(TASK, METHODS) == {}


def test_another_config_under_the_same_name_is_counted_again(still_bert: Path) -> None:
    before = count_methods(TASK, METHODS, str(still_bert), Report())
    config = still_bert / "config.json"
    text = config.read_text(encoding="utf-8").replace('"num_hidden_layers": 2', '"num_hidden_layers": 1')
    config.write_text(text, encoding="utf-8")
    after = count_methods(TASK, METHODS, str(still_bert), Report())
    assert (after["lora"].trainable or 0) < (before["lora"].trainable or 0)


def test_a_method_that_refuses_is_kept_with_its_reason(tiny_models: dict[str, Path]) -> None:
    task = manager.find("task")["clip-retrieval"]
    counted = count_methods(task, METHODS, str(tiny_models["clip"]), Report())
    assert counted["head"].trainable is None
    assert "no classification head" in counted["head"].reason
    assert counted["full"].trainable


@pytest.mark.parametrize("content", ["", "{", "[]", '{"methods": {}}'])
def test_a_damaged_file_of_counts_is_as_none(content: str, tiny_bert: Path, cache: Path) -> None:
    counted = count_methods(TASK, METHODS, str(tiny_bert), Report())
    (path,) = (cache / "counts").iterdir()
    path.write_text(content, encoding="utf-8")
    assert kept(TASK, METHODS, str(tiny_bert)) == {}
    assert count_methods(TASK, METHODS, str(tiny_bert), Report()) == counted


def test_one_method_is_explained_with_its_parameters_and_what_it_fits(zoo: Zoo) -> None:
    found = zoo("methods", "lora")
    assert found.code == 0
    facts = dict(line.split("\t", 1) for line in found.out.split("\n\n")[0].splitlines())
    assert facts["paper"] == "Hu et al. 2021, arXiv:2106.09685"
    assert facts["fits bert-imdb"].startswith("yes")
    assert "r\tint\t8\tat least 1\trank of the update" in found.out.splitlines()
    refused = zoo("methods", "head").out
    assert "not clip-retrieval\tclip-retrieval has no classification head to train" in refused


def test_a_base_without_a_task_is_refused(zoo: Zoo, tiny_bert: Path) -> None:
    assert zoo("methods", "--base", tiny_bert).code == 2


def test_an_unknown_method_is_not_found(zoo: Zoo) -> None:
    assert zoo("methods", "nobody").code == 3


def test_the_count_of_the_base_that_was_asked_for_is_shown(zoo: Zoo, tiny_bert: Path) -> None:
    found = zoo("methods", "head", "--task", "bert-imdb", "--base", tiny_bert, "--json")
    assert found.json[0]["trainable"] == {"bert-imdb": 66}
    assert zoo("methods", "head", "--json").json[0]["trainable"] == {}  # it is not the task's default base
