"""Scores with their error bars, the baselines beside them, and the doubt in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.specs import Metric

LEVEL = 0.95
_RESAMPLES = 1000


def classification(truth: Sequence[int], predicted: Sequence[int], n_labels: int) -> list[Metric]:
    """Accuracy (Wilson interval), F1 and MCC (percentile bootstrap over examples, 1,000 resamples).

    F1 is that of label 1 for two labels, the macro average for more.
    """
    from sklearn.metrics import f1_score, matthews_corrcoef

    def f1(t: Any, p: Any, weight: Any) -> float:
        average = "binary" if n_labels == 2 else "macro"
        return float(f1_score(t, p, sample_weight=weight, average=average, zero_division=0))

    def mcc(t: Any, p: Any, weight: Any) -> float:
        return float(matthews_corrcoef(t, p, sample_weight=weight))

    t, p = np.asarray(truth), np.asarray(predicted)
    return [
        proportion("accuracy", int((t == p).sum()), len(t)),
        bootstrap("f1", f1, t, p),
        bootstrap("mcc", mcc, t, p),
    ]


def proportion(name: str, hits: int, n: int) -> Metric:
    """A share of n independent examples, with Wilson's score interval (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Metric(
        name=name, value=hits / n, low=float(interval.low), high=float(interval.high), n=n, level=LEVEL
    )


def bootstrap(name: str, score: Any, truth: np.ndarray, predicted: np.ndarray, seed: int = 0) -> Metric:
    """Percentile bootstrap (Efron 1979). Examples with the same (truth, predicted) are interchangeable, so
    resampling them is a multinomial draw of the few cells' counts, and the score takes those as weights."""
    cells, counts = np.unique(np.stack([truth, predicted]), axis=1, return_counts=True)
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=_RESAMPLES)
    scores = [score(cells[0], cells[1], draw) for draw in draws]
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = score(cells[0], cells[1], counts)
    return Metric(
        name=name, value=value, low=float(low), high=float(high), n=n, level=LEVEL, interval="bootstrap"
    )


def doubts(
    metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]], words: Mapping[str, str]
) -> list[str]:
    """A sentence for each baseline that is not clearly beaten: one value lies in the other's interval."""
    sentences = []
    for name, baseline in baselines.items():
        beside = {metric.name: metric for metric in baseline}
        level = [
            metric.name
            for metric in metrics
            if metric.name in beside
            and (metric.value <= beside[metric.name].high or metric.low <= beside[metric.name].value)
        ]
        if level:
            sentences.append(f"{', '.join(level)}: not better than {words.get(name, name)} beyond chance")
    return sentences
