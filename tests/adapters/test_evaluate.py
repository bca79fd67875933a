"""Every evaluation goes through `zoo_evaluate`: that of a run, `zoo evaluate` and `zoo verify --metrics`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Result, reviews, write_csv
from zoo.adapters.evaluate import HeldOut
from zoo.data.dataset import open_dataset
from zoo.plugins import manager, source
from zoo.registry.store import Registry
from zoo.runtime.console import Report

Zoo = Callable[..., Result]

_TASK = """
from zoo_tasks.bert_imdb import BertImdb

from zoo import Metric, hookimpl

zoo_api = 1


class OwnMeasure(BertImdb):
    name = "own-measure"


@hookimpl
def zoo_task():
    return OwnMeasure()


@hookimpl
def zoo_evaluate(run):
    assert run.held_out
    return {returned}
"""
_METRICS = '[Metric(name="accuracy", value=0.77, low=0.7, high=0.8, n=len(run.held_out))]'
_RETURNED = {
    "a list of metrics, as in 0.1.0": _METRICS,
    "a list of metrics, and outputs on the run": f"setattr(run, 'outputs', None) or {_METRICS}",
    "an Evaluation": f"__import__('zoo.plugins.run').plugins.run.Evaluation({_METRICS})",
}


@pytest.mark.parametrize("returned", _RETURNED.values(), ids=_RETURNED)
def test_a_plugins_own_measure_is_the_same_in_training_evaluate_and_verify(
    returned: str,
    zoo: Zoo,
    tiny_bert: Path,
    reviews_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = tmp_path / "site"
    meta = site / "zoo_own_measure-1.0.dist-info"
    meta.mkdir(parents=True)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-own-measure\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text("[zoo.tasks]\nown-measure = zoo_own_measure\n")
    (site / "zoo_own_measure.py").write_text(_TASK.format(returned=returned))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(__import__("sys").modules, "zoo_own_measure", raising=False)

    trained = zoo(
        "train", "head", "own-measure", "--base", tiny_bert, "--data", reviews_csv,
        "--epochs", 1, "--precision", "fp32", "--name", "mine", "--json",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    again = zoo("evaluate", "mine", "--json")
    assert again.code == 0, again.err
    values = [metric["value"] for one in (trained.json, *again.json) for metric in one["metrics"]]
    assert values == [0.77, 0.77]
    verified = zoo("verify", "mine", "--metrics")
    assert verified.code == 0, verified.out
    assert "0.7700 now" in verified.out


@pytest.fixture
def trained(zoo: Zoo, trained_bert: Registry) -> Zoo:
    """`zoo evaluate` of the shared adapters, which it does not change."""
    return lambda *words: zoo("evaluate", *words, "--registry", trained_bert.path, "--json")


def test_a_limit_takes_the_same_few_held_out_rows_each_time_and_leaves_the_record_alone(
    trained: Zoo, trained_bert: Registry
) -> None:
    before = trained_bert.path.read_bytes()
    first, again = trained("lora", "--limit", 5), trained("lora", "--limit", 5)
    assert first.code == 0, first.err
    assert first.json == again.json
    (found,) = first.json
    counts = {
        metric["n"] for metrics in (found["metrics"], *found["baselines"].values()) for metric in metrics
    }
    assert counts == {5}
    assert "evaluating on fewer rows: held out of train: 12 of 60 rows by smallest SHA-256, stratified; " in (
        first.err
    )
    assert "of these, 5 of 12 rows by smallest SHA-256, stratified" in first.err
    assert trained_bert.path.read_bytes() == before


def test_a_limit_above_the_held_out_rows_changes_nothing(trained: Zoo) -> None:
    whole, limited = trained("lora"), trained("lora", "--limit", 1000)
    assert limited.json == whole.json
    assert "fewer rows" not in limited.err


def test_the_few_rows_are_those_that_a_training_with_as_many_evaluates_on(trained_bert: Registry) -> None:
    record, task = trained_bert.get("lora"), manager.load_task("bert-imdb")
    assert record.data is not None
    rows = source.resolve(record.data.location, (), "data", Report())
    spec = msgspec.structs.replace(record.spec, eval_limit=5)
    few, train = HeldOut(Report(), limit=5).rows(record, task)
    made = open_dataset(task, rows, spec, Report())
    assert len(few) == 5
    assert few == made.held_out
    assert train == made.train


def test_a_limit_holds_for_other_data_too(trained: Zoo, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", reviews(30, seed=5))
    found = trained("lora", "--data", other, "--limit", 7)
    assert {metric["n"] for metric in found.json[0]["metrics"]} == {7}
    assert f"evaluating on fewer rows of {other}: 7 of 30 rows by smallest SHA-256, stratified" in found.err


def test_a_limit_of_nothing_is_refused(trained: Zoo) -> None:
    assert trained("lora", "--limit", 0).code == 2
