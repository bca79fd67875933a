"""Computes metrics with intervals, and says which of them do not beat a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zoo.registry.schema import Metric

LEVEL = 0.95
_RESAMPLES = 1000
UNTRAINED = "untrained"
"""The baseline that is the base before training, on the same rows."""
_CHANGE = "_change"
"""Ends the name of a metric that is the difference to it."""


def classification(truth: Sequence[int], predicted: Sequence[int], n_labels: int) -> list[Metric]:
    """Accuracy (Wilson interval), F1 and MCC (percentile bootstrap over examples, 1,000 resamples).

    F1 is that of label 1 for two labels, the macro average for more.
    """
    hits = sum(int(t == p) for t, p in zip(truth, predicted, strict=True))
    counts = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(counts, (np.asarray(truth), np.asarray(predicted)), 1)
    return [
        proportion("accuracy", hits, len(truth)),
        bootstrap("f1", f1, counts),
        bootstrap("mcc", mcc, counts),
    ]


def f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each confusion matrix, shape (..., labels, labels), rows the truth; 0 where undefined."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    counts = confusion.sum(-1) + confusion.sum(-2)
    per_label = _ratio(2 * hits, counts)
    if confusion.shape[-1] == 2:
        return per_label[..., 1]
    occurs = counts > 0  # in truth or prediction
    return np.asarray((per_label * occurs).sum(-1) / occurs.sum(-1))


def mcc(confusion: np.ndarray) -> np.ndarray:
    """Matthews' correlation (for several labels: Gorodkin 2004) of each matrix; 0 where undefined."""
    matrix = confusion.astype(float)
    n = matrix.sum((-2, -1))
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).sum(-1)
    truth, predicted = matrix.sum(-1), matrix.sum(-2)
    covariance = hits * n - (truth * predicted).sum(-1)
    spread = (n**2 - (truth**2).sum(-1)) * (n**2 - (predicted**2).sum(-1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(above, below, out=np.zeros(np.shape(above)), where=np.asarray(below) > 0))


def proportion(name: str, hits: int, n: int) -> Metric:
    """A share of n independent examples, with Wilson's score interval (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Metric(
        name=name, value=hits / n, low=float(interval.low), high=float(interval.high), n=n, level=LEVEL
    )


def resampled(
    name: str, value: float, draws: np.ndarray | Sequence[float], n: int, *, lower_is_better: bool = False
) -> Metric:
    """A metric of n examples with the percentile interval (Efron 1979) of its `draws`, NaN left out."""
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Metric(
        name=name,
        value=float(value),
        low=float(low),
        high=float(high),
        n=n,
        level=LEVEL,
        interval="bootstrap",
        lower_is_better=lower_is_better,
    )


def bootstrap(name: str, score: Callable[[np.ndarray], np.ndarray], confusion: np.ndarray) -> Metric:
    """A score of a confusion matrix, resampled over the examples that the matrix counts.

    Examples in one cell are interchangeable, so a resample is one multinomial draw of the cells. This and the
    array formulas are our own because a call of a metrics library for each resample takes seconds.
    """
    n = int(confusion.sum())
    draws = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, size=_RESAMPLES)
    return resampled(name, float(score(confusion)), score(draws.reshape(-1, *confusion.shape)), n)


def token_loss(losses: np.ndarray, tokens: np.ndarray) -> list[Metric]:
    """Mean loss of a token, and perplexity.

    The tokens of one conversation depend on each other, so whole conversations are resampled.

    Args:
        losses: of each conversation, the sum over its tokens, in nats.
        tokens: of each conversation, how many.
    """
    drawn = _mean_of_tokens(losses, tokens)
    return _loss_metrics("", drawn, np.exp(drawn), len(tokens))


def token_loss_change(before: np.ndarray, after: np.ndarray, tokens: np.ndarray) -> list[Metric]:
    """How training changed both, paired: each resample takes both losses of a conversation."""
    old, new = (_mean_of_tokens(losses, tokens) for losses in (before, after))
    return _loss_metrics(_CHANGE, new - old, np.exp(new) - np.exp(old), len(tokens))


def resampling_weights(n: int) -> np.ndarray:
    """Shape (1 + resamples, n): all ones, then how often each resample draws one of n."""
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    return np.concatenate([np.ones((1, n)), draws])


def _mean_of_tokens(losses: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The mean over all conversations, then that of each resample."""
    drawn = resampling_weights(len(losses))
    return np.asarray((drawn @ losses.astype(float)) / (drawn @ tokens.astype(float)))


def _loss_metrics(suffix: str, loss: np.ndarray, perplexity: np.ndarray, n: int) -> list[Metric]:
    return [
        resampled(f"{name}{suffix}", drawn[0], drawn[1:], n, lower_is_better=True)
        for name, drawn in (("loss", loss), ("perplexity", perplexity))
    ]


def not_beaten(
    metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]], descriptions: Mapping[str, str]
) -> list[str]:
    """A sentence for each baseline that is not clearly beaten: one value lies in the other's interval."""
    sentences = []
    for name, baseline in baselines.items():
        changes = {
            metric.name.removesuffix(_CHANGE): metric
            for metric in metrics
            if metric.name.endswith(_CHANGE) and name == UNTRAINED
        }
        beside = {metric.name: metric for metric in baseline}
        level = [
            metric.name
            for metric in metrics
            if metric.name in beside and not _is_beyond(metric, beside[metric.name], changes.get(metric.name))
        ]
        if level:
            sentences.append(
                f"{', '.join(level)}: not better than {descriptions.get(name, name)} beyond chance"
            )
    return sentences


def _is_beyond(metric: Metric, baseline: Metric, change: Metric | None) -> bool:
    """Better, with neither value in the other's interval; or changed for the better, with 0 outside."""
    if change is not None:
        return change.high < 0 if change.lower_is_better else change.low > 0
    if metric.lower_is_better:
        return metric.value < baseline.low and metric.high < baseline.value
    return metric.value > baseline.high and metric.low > baseline.value
