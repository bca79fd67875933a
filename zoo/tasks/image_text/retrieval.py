"""Measures retrieval from captions to pictures and back.

Every picture of the gallery is ranked for every caption, and every distinct caption for every picture. A
caption is correct for all pictures that have it. Intervals resample the queried pictures, each with its
captions (percentile bootstrap, Efron 1979); the gallery stays whole, since a smaller one is easier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from zoo.registry.schema import Metric
from zoo.tasks.metrics import resampled, resampling_weights

CUTS = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")
_BLOCK = 512
"""Rows of a similarity matrix held at once."""
_MOST = 5000
"""Points whose pairwise distances give the uniformity; of more, every n-th."""


class Pairs(NamedTuple):
    """The picture and the caption of each pair, as indexes into the distinct ones."""

    image: np.ndarray
    text: np.ndarray
    image_rows: np.ndarray
    """One pair of each distinct picture."""
    text_rows: np.ndarray
    """One pair of each distinct caption."""


class Ranks(NamedTuple):
    """Rank of the best correct answer to each query, from 1."""

    ranks: np.ndarray
    image: np.ndarray
    """The picture of each query: the unit of resampling."""


def pairs_of(images: Sequence[int], texts: Sequence[int]) -> Pairs:
    """
    Args:
        images, texts: the numbers of each pair's picture and caption.
    """
    _, image_rows, image = np.unique(np.asarray(images), return_index=True, return_inverse=True)
    _, text_rows, text = np.unique(np.asarray(texts), return_index=True, return_inverse=True)
    return Pairs(image, text, image_rows, text_rows)


def measure(images: np.ndarray, texts: np.ndarray, pairs: Pairs) -> list[Metric]:
    """Recall, rank, alignment and uniformity.

    Args:
        images, texts: embeddings of each pair, (pairs, width), of unit length.
    """
    weights = resampling_weights(len(pairs.image_rows)).astype(np.float32)
    found = dict(zip(DIRECTIONS, _ranked(images, texts, pairs), strict=True))
    recalls = {
        f"{direction}_recall@{cut}": (found[direction], cut) for direction in DIRECTIONS for cut in CUTS
    }
    shares = {name: _mean((ranks.ranks <= cut), ranks.image) for name, (ranks, cut) in recalls.items()}
    metrics = [_metric("mean_recall", _average(list(shares.values())), weights)]
    metrics += [_metric(name, share, weights) for name, share in shares.items()]
    for direction, ranks in found.items():
        metrics.append(_metric(f"{direction}_mrr", _mean(1 / ranks.ranks, ranks.image), weights))
        metrics.append(_metric(f"{direction}_median_rank", _median(ranks), weights, lower_is_better=True))
    distances = ((images - texts) ** 2).sum(1)
    metrics.append(_metric("alignment", _mean(distances, pairs.image), weights, lower_is_better=True))
    for name, points, rows in (("image", images, pairs.image_rows), ("text", texts, pairs.text_rows)):
        if len(rows) > 1:
            spread = _uniformity(points[rows], pairs.image[rows])
            metrics.append(_metric(f"{name}_uniformity", spread, weights, lower_is_better=True))
    return metrics


def chance(pairs: Pairs) -> list[Metric]:
    """The expected recalls of a random ranking."""
    several = _multiplicities(pairs)
    found = {
        f"{direction}_recall@{cut}": float(_random_recall(right, gallery, cut).mean())
        for direction, (right, gallery) in zip(DIRECTIONS, several, strict=True)
        for cut in CUTS
    }
    everything = {"mean_recall": float(np.mean(list(found.values()))), **found}
    n = len(pairs.image_rows)
    return [
        Metric(name=name, value=value, low=value, high=value, n=n, interval="exact")
        for name, value in everything.items()
    ]


def _multiplicities(pairs: Pairs) -> list[tuple[np.ndarray, int]]:
    """(correct answers of each query, size of the gallery), for both directions."""
    distinct = np.unique(np.stack([pairs.image, pairs.text]), axis=1)
    of_image, of_text = np.bincount(distinct[0]), np.bincount(distinct[1])
    return [(of_image, len(of_text)), (of_text[pairs.text], len(of_image))]


def _random_recall(right: np.ndarray, gallery: int, cut: int) -> np.ndarray:
    """1 - C(gallery - right, cut) / C(gallery, cut)."""
    missed = np.ones(len(right))
    for drawn in range(min(cut, gallery)):
        missed *= np.maximum(gallery - right - drawn, 0) / (gallery - drawn)
    return 1 - missed


def _ranked(images: np.ndarray, texts: np.ndarray, pairs: Pairs) -> tuple[Ranks, Ranks]:
    """Ranks of captions for each picture, and of pictures for each pair's caption."""
    gallery_images, gallery_texts = images[pairs.image_rows], texts[pairs.text_rows]
    right = np.unique(np.stack([pairs.image, pairs.text]), axis=1)
    to_text = _best_ranks(gallery_images, gallery_texts, right[0], right[1])
    back = right[:, np.argsort(right[1], kind="stable")]
    to_image = _best_ranks(gallery_texts, gallery_images, back[1], back[0])
    return Ranks(to_text, np.arange(len(to_text))), Ranks(to_image[pairs.text], pairs.image)


def _best_ranks(
    queries: np.ndarray, gallery: np.ndarray, query: np.ndarray, answer: np.ndarray
) -> np.ndarray:
    """Rank of the best correct answer to each query among the incorrect ones; ties count against it.

    Args:
        query, answer: each correct answer as indexes into `queries` (sorted) and `gallery`.
    """
    ranks = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _BLOCK):
        end = min(start + _BLOCK, len(queries))
        scores = queries[start:end] @ gallery.T
        of_block = slice(*np.searchsorted(query, (start, end)))
        rows, columns = query[of_block] - start, answer[of_block]
        best = np.full(end - start, -np.inf, dtype=scores.dtype)
        np.maximum.at(best, rows, scores[rows, columns])
        scores[rows, columns] = -np.inf
        ranks[start:end] = 1 + (scores >= best[:, None]).sum(1)
    return ranks


Score = Callable[[np.ndarray], np.ndarray]
"""Maps weights, (resamples, pictures), to a value per resample; a weight is how often a picture is drawn."""


def _metric(name: str, score: Score, weights: np.ndarray, *, lower_is_better: bool = False) -> Metric:
    value, *draws = score(weights)
    return resampled(name, value, draws, weights.shape[1], lower_is_better=lower_is_better)


def _mean(values: np.ndarray, image: np.ndarray) -> Score:
    """Mean of the queries' values, weighted by their pictures."""

    def score(weights: np.ndarray) -> np.ndarray:
        n = weights.shape[1]
        sums = np.bincount(image, values, n)
        counts = np.bincount(image, minlength=n)
        return np.asarray((weights @ sums) / (weights @ counts))

    return score


def _average(scores: Sequence[Score]) -> Score:
    return lambda weights: np.mean([score(weights) for score in scores], axis=0)


def _median(found: Ranks) -> Score:
    order = np.argsort(found.ranks, kind="stable")

    def score(weights: np.ndarray) -> np.ndarray:
        sorted_ranks, images = found.ranks[order], found.image[order]
        medians = []
        for start in range(0, len(weights), 64):  # all resamples of 25,000 captions at once take 100 MB
            reached = weights[start : start + 64][:, images].cumsum(1)
            medians.append(sorted_ranks[(reached >= reached[:, -1:] / 2).argmax(1)])
        return np.concatenate(medians)

    return score


def _uniformity(points: np.ndarray, image: np.ndarray) -> Score:
    """Log of the mean Gaussian potential, exp(-2 distance^2), over pairs of different points.

    Wang & Isola 2020, arXiv:2005.10242. A point drawn twice is not paired with itself; a resample of a single
    point has no pairs and is NaN.
    """
    step = -(-len(points) // _MOST)
    points, image = points[::step].astype(np.float32), image[::step]

    def score(weights: np.ndarray) -> np.ndarray:
        of_points = weights[:, image]
        potential = np.zeros(len(weights))
        for start in range(0, len(points), _BLOCK):
            rows = slice(start, start + _BLOCK)
            kernel = np.exp(4 * (points[rows] @ points.T) - 4)  # of unit length: distance^2 = 2 - 2 cosine
            kernel[np.arange(len(kernel)), np.arange(start, start + len(kernel))] = 0
            potential += np.einsum("rp,rp->r", of_points[:, rows], of_points @ kernel.T)
        pairs = of_points.sum(1) ** 2 - (of_points**2).sum(1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.log(potential / pairs))

    return score
