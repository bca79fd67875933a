"""Scores and error bars against the libraries' own and against published values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.records import make_metric
from zoo.tasks.metrics import bootstrap, classification, not_beaten, proportion

WORDS = {"majority": "always answering 'yes'", "untrained": "the untrained base"}


def drawn(n: int, n_labels: int, accuracy: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Truth and answers, of which a share of `accuracy` is right."""
    pick = np.random.default_rng(seed)
    truth = pick.integers(n_labels, size=n)
    guess = pick.integers(n_labels, size=n)
    return truth.tolist(), np.where(pick.random(n) < accuracy, truth, guess).tolist()


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (852, 1000, 0.828662, 0.872647),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (1, 29, 0.006113, 0.171755),  # Newcombe 1998, table I, method 3: .0061 to .1718
        (81, 263, 0.255289, 0.366210),  # the same table: .2553 to .3662
    ],
)
def test_a_proportion_has_wilsons_interval(hits: int, n: int, low: float, high: float) -> None:
    found = proportion("accuracy", hits, n)
    assert (found.value, found.n, found.interval, found.level) == (hits / n, n, "wilson", 0.95)
    assert found.low == pytest.approx(low, abs=2e-5)
    assert found.high == pytest.approx(high, abs=2e-5)


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_the_values_are_those_of_scikit_learn(n_labels: int) -> None:
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    truth, predicted = drawn(400, n_labels, 0.6)
    found = {metric.name: metric for metric in classification(truth, predicted, n_labels)}
    assert list(found) == ["accuracy", "f1", "mcc"]
    average = "binary" if n_labels == 2 else "macro"
    assert found["accuracy"].value == pytest.approx(accuracy_score(truth, predicted))
    assert found["f1"].value == pytest.approx(f1_score(truth, predicted, average=average))
    assert found["mcc"].value == pytest.approx(matthews_corrcoef(truth, predicted))
    assert [metric.interval for metric in found.values()] == ["wilson", "bootstrap", "bootstrap"]
    for metric in found.values():
        assert metric.n == 400
        assert metric.low < metric.value < metric.high


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("score", ["f1", "mcc"])
def test_the_weighted_bootstrap_agrees_with_one_that_draws_examples(score: str, n_labels: int) -> None:
    """Drawing counts of the few (truth, predicted) cells is drawing examples, only faster."""
    from sklearn.metrics import f1_score, matthews_corrcoef

    truth, predicted = (np.array(rows) for rows in drawn(300, n_labels, 0.7))
    average = "binary" if n_labels == 2 else "macro"
    plain: Callable[[Any, Any], float] = (
        (lambda t, p: f1_score(t, p, average=average)) if score == "f1" else matthews_corrcoef
    )
    pick = np.random.default_rng(1)
    draws = [pick.integers(len(truth), size=len(truth)) for _ in range(600)]
    low, high = np.quantile([plain(truth[draw], predicted[draw]) for draw in draws], [0.025, 0.975])
    found = next(m for m in classification(truth.tolist(), predicted.tolist(), n_labels) if m.name == score)
    width = high - low
    assert found.low == pytest.approx(low, abs=0.15 * width)
    assert found.high == pytest.approx(high, abs=0.15 * width)


def test_the_order_of_the_examples_does_not_matter() -> None:
    truth, predicted = drawn(200, 2, 0.7)
    turned = classification(truth[::-1], predicted[::-1], 2)
    assert turned == classification(truth, predicted, 2)


def test_a_score_is_resampled_over_the_examples_that_the_confusion_matrix_counts() -> None:
    def share(confusion: Any) -> Any:
        return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))

    found = bootstrap("share", share, np.array([[1, 1], [0, 2]]))
    assert (found.value, found.n) == (0.75, 4)
    assert 0 <= found.low <= 0.75 <= found.high <= 1


def test_a_label_that_never_occurs_is_no_part_of_the_macro_average() -> None:
    from sklearn.metrics import f1_score

    truth, predicted = drawn(100, 3, 0.6)
    found = classification(truth, predicted, 5)
    assert found[1].value == pytest.approx(f1_score(truth, predicted, average="macro"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("truth", "predicted", "values"),
    [
        ([1, 1, 1], [1, 1, 1], (1.0, 1.0, 0.0)),
        ([0, 0, 0], [0, 0, 0], (1.0, 0.0, 0.0)),
        ([0, 1, 0, 1], [0, 0, 0, 0], (0.5, 0.0, 0.0)),
        ([0, 1, 0, 1], [0, 1, 0, 1], (1.0, 1.0, 1.0)),
        ([0, 1, 0, 1], [1, 0, 1, 0], (0.0, 0.0, -1.0)),
        ([1], [1], (1.0, 1.0, 0.0)),
    ],
)
def test_one_sided_answers_have_numbers_and_no_warnings(
    truth: list[int], predicted: list[int], values: tuple[float, ...]
) -> None:
    found = classification(truth, predicted, 2)
    assert tuple(metric.value for metric in found) == pytest.approx(values)
    assert all(metric.low <= metric.value <= metric.high for metric in found)


def test_a_clear_win_over_every_baseline_raises_no_doubt() -> None:
    metrics = [make_metric("accuracy", 0.88, low=0.86, high=0.90)]
    baselines = {
        "majority": [make_metric("accuracy", 0.5, low=0.47, high=0.53)],
        "untrained": [make_metric("accuracy", 0.52, low=0.49, high=0.55)],
    }
    assert not_beaten(metrics, baselines, WORDS) == []


@pytest.mark.parametrize(
    ("low", "value", "high"),
    [
        (0.45, 0.5, 0.55),  # a tie
        (0.30, 0.35, 0.40),  # worse
        (0.49, 0.56, 0.60),  # its interval holds the baseline
        (0.51, 0.52, 0.53),  # it lies in the baseline's interval
    ],
)
def test_a_baseline_that_is_not_clearly_beaten_is_a_doubt(low: float, value: float, high: float) -> None:
    baselines = {"majority": [make_metric("accuracy", 0.5, low=0.47, high=0.53)]}
    metrics = [make_metric("accuracy", value, low=low, high=high)]
    assert not_beaten(metrics, baselines, WORDS) == [
        "accuracy: not better than always answering 'yes' beyond chance"
    ]


def test_each_baseline_is_judged_by_itself_and_names_the_metrics_that_tie() -> None:
    metrics = [make_metric("accuracy", 0.7), make_metric("f1", 0.8), make_metric("mcc", 0.4)]
    baselines = {
        "majority": [make_metric("accuracy", 0.68), make_metric("f1", 0.81), make_metric("mcc", 0.0)],
        "untrained": [make_metric("accuracy", 0.3)],
        "other": [make_metric("accuracy", 0.71)],
    }
    assert not_beaten(metrics, baselines, WORDS) == [
        "accuracy, f1: not better than always answering 'yes' beyond chance",
        "accuracy: not better than other beyond chance",
    ]


def test_a_metric_that_the_baseline_does_not_have_is_not_compared() -> None:
    assert not_beaten([make_metric("f1", 0.1)], {"majority": [make_metric("accuracy", 0.9)]}, WORDS) == []


def test_always_saying_yes_on_mrpc_is_flagged() -> None:
    """The popular Hub adapter with accuracy .6649 and F1 .7987 on MRPC's 1,725 test pairs is just that."""
    truth = [1] * 1147 + [0] * 578
    yes = classification(truth, [1] * 1725, 2)
    assert yes[0].value == pytest.approx(0.6649, abs=5e-5)
    assert yes[1].value == pytest.approx(0.7987, abs=5e-5)
    (flag,) = not_beaten(yes, {"majority": yes}, WORDS)
    assert flag.startswith("accuracy, f1, mcc: not better than always answering 'yes'")


def test_the_published_p_tuning_result_on_mrpc_is_flagged() -> None:
    """Accuracy .71 and F1 .82 on the 408 validation pairs, where always saying yes gives .684 and .812."""
    truth = [1] * 279 + [0] * 129
    predicted = [1] * 270 + [0] * 9 + [1] * 109 + [0] * 20
    tuned = classification(truth, predicted, 2)
    assert tuned[0].value == pytest.approx(0.71, abs=5e-3)
    assert tuned[1].value == pytest.approx(0.82, abs=5e-3)
    flags = not_beaten(tuned, {"majority": classification(truth, [1] * 408, 2)}, WORDS)
    assert len(flags) == 1
    assert flags[0].startswith("accuracy, f1: not better")


def test_a_good_result_on_mrpc_is_not_flagged() -> None:
    truth = [1] * 279 + [0] * 129
    predicted = [1] * 261 + [0] * 18 + [1] * 22 + [0] * 107
    assert (
        not_beaten(classification(truth, predicted, 2), {"majority": classification(truth, [1] * 408, 2)}, {})
        == []
    )
