"""Every evaluation goes through `zoo_evaluate`: that of a run, `zoo evaluate` and `zoo verify --metrics`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result

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
    values = [metric["value"] for done in (trained, again) for metric in done.json["metrics"]]
    assert values == [0.77, 0.77]
    verified = zoo("verify", "mine", "--metrics")
    assert verified.code == 0, verified.out
    assert "0.7700 now" in verified.out
