"""Recall, ranks, alignment and uniformity (zoo/pictures), beside plain loops that say what they mean."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from zoo.registry.schema import Metric
from zoo.tasks.image_text.retrieval import chance, measure, pairs_of
from zoo.tasks.metrics import not_beaten


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def embeddings(numbers: list[int], seed: int, width: int = 8) -> np.ndarray:
    """One vector a number: rows of the same picture or caption have the same."""
    drawn = np.random.default_rng(seed).normal(size=(max(numbers) + 1, width))
    return unit(drawn)[numbers]


def values(metrics: list[Metric]) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics}


# pictures 0 and 3 share caption 0; picture 1 has captions 1 and 2
IMAGES = [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
TEXTS = [0, 1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10, 11]


def plain_ranks(images: np.ndarray, texts: np.ndarray) -> tuple[list[int], list[int]]:
    image_of = {number: images[row] for row, number in enumerate(IMAGES)}
    text_of = {number: texts[row] for row, number in enumerate(TEXTS)}
    known = set(zip(IMAGES, TEXTS, strict=True))

    def rank(scores: dict[int, float], right: set[int]) -> int:
        best = max(scores[one] for one in right)
        return 1 + sum(score >= best for one, score in scores.items() if one not in right)

    to_text = [
        rank(
            {text: float(vector @ image_of[image]) for text, vector in text_of.items()},
            {text for text in text_of if (image, text) in known},
        )
        for image in sorted(image_of)
    ]
    to_image = [
        rank(
            {image: float(vector @ text_of[text]) for image, vector in image_of.items()},
            {image for image in image_of if (image, text) in known},
        )
        for text in TEXTS
    ]
    return to_text, to_image


def test_ranks_are_those_of_plain_loops_with_shared_and_several_captions() -> None:
    images, texts = embeddings(IMAGES, 0), embeddings(TEXTS, 1)
    found = values(measure(images, texts, pairs_of(IMAGES, TEXTS)))
    for direction, ranks in zip(("image_to_text", "text_to_image"), plain_ranks(images, texts), strict=True):
        for cut in (1, 5, 10):
            expected = sum(rank <= cut for rank in ranks) / len(ranks)
            assert found[f"{direction}_recall@{cut}"] == pytest.approx(expected)
        assert found[f"{direction}_mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
        assert found[f"{direction}_median_rank"] == sorted(ranks)[(len(ranks) - 1) // 2]
    recalls = [value for name, value in found.items() if "_recall@" in name]
    assert found["mean_recall"] == pytest.approx(sum(recalls) / 6)


def test_alignment_and_uniformity_are_those_of_the_paper() -> None:
    images, texts = embeddings(IMAGES, 0), embeddings(TEXTS, 1)
    found = values(measure(images, texts, pairs_of(IMAGES, TEXTS)))
    distances = [float(((a - b) ** 2).sum()) for a, b in zip(images, texts, strict=True)]
    assert found["alignment"] == pytest.approx(sum(distances) / len(distances))
    for name, points in (("image", images), ("text", texts)):
        distinct = np.unique(points, axis=0)
        potentials = [
            math.exp(-2 * float(((a - b) ** 2).sum())) for a, b in itertools.combinations(distinct, 2)
        ]
        expected = math.log(sum(potentials) / len(potentials))
        assert found[f"{name}_uniformity"] == pytest.approx(expected, rel=1e-5)


def test_a_caption_of_two_pictures_is_right_for_both() -> None:
    images = unit(np.eye(4, 6) + 0.01)
    texts = images[[0, 1, 2, 1]]  # pictures 1 and 3 have one caption, and it lies at picture 1
    found = values(measure(images, texts, pairs_of([0, 1, 2, 3], [0, 1, 2, 1])))
    assert found["text_to_image_recall@1"] == 1
    # picture 3 lies nearest to nobody's caption, its own included
    assert found["image_to_text_recall@1"] == 0.75


def test_one_caption_for_all_has_no_uniformity_and_every_number_is_finite() -> None:
    images = embeddings([0, 1, 2], 0)
    metrics = measure(images, images[[0, 0, 0]], pairs_of([0, 1, 2], [0, 0, 0]))
    assert "text_uniformity" not in values(metrics)
    assert all(math.isfinite(one) for metric in metrics for one in (metric.value, metric.low, metric.high))


def test_a_collapsed_model_that_says_the_same_of_everything_finds_nothing() -> None:
    same = unit(np.ones((30, 4)))
    found = values(measure(same, same, pairs_of(range(30), range(30))))
    assert found["mean_recall"] == 0
    assert found["image_to_text_median_rank"] == 30


def test_chance_is_what_random_rankings_score_on_average() -> None:
    pairs = pairs_of(IMAGES, TEXTS)
    expected = values(chance(pairs))
    tried = [
        values(measure(embeddings(IMAGES, seed), embeddings(TEXTS, 1000 + seed), pairs))
        for seed in range(150)
    ]
    for name, value in expected.items():
        assert np.mean([one[name] for one in tried]) == pytest.approx(value, abs=0.04)


def test_intervals_hold_the_value_and_narrow_with_more_pictures() -> None:
    widths = []
    for n in (50, 800):
        texts = embeddings(list(range(n)), 0)
        images = unit(texts + 0.35 * np.random.default_rng(1).normal(size=texts.shape))
        metrics = measure(images, texts, pairs_of(range(n), range(n)))
        assert all(metric.low <= metric.value <= metric.high for metric in metrics)
        assert {metric.n for metric in metrics} == {n}
        widths.append({metric.name: metric.high - metric.low for metric in metrics})
    assert widths[1]["text_to_image_recall@1"] < widths[0]["text_to_image_recall@1"] / 2
    assert widths[1]["alignment"] < widths[0]["alignment"] / 2


def test_captions_of_one_picture_are_resampled_together() -> None:
    """Five copies of a caption are no five observations: the interval must not shrink."""
    n = 60
    texts = embeddings(list(range(n)), 0)
    images = unit(texts + 0.5 * np.random.default_rng(1).normal(size=texts.shape))
    once = measure(images, texts, pairs_of(range(n), range(n)))
    rows = np.repeat(np.arange(n), 5)
    copies = measure(images[rows], texts[rows], pairs_of(rows.tolist(), range(5 * n)))
    name = "alignment"
    widths = [next(m.high - m.low for m in found if m.name == name) for found in (once, copies)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_for_ranks_alignment_and_uniformity_lower_is_better() -> None:
    texts = embeddings(list(range(100)), 0)
    rng = np.random.default_rng(1)
    poor, good = (
        measure(unit(texts + noise * rng.normal(size=texts.shape)), texts, pairs_of(range(100), range(100)))
        for noise in (1.0, 0.1)
    )
    assert [one.name for one in good if one.lower_is_better] == [
        "image_to_text_median_rank",
        "text_to_image_median_rank",
        "alignment",
        "image_uniformity",
        "text_uniformity",
    ]
    (flag,) = not_beaten(good, {"untrained": poor}, {})
    assert flag.startswith("image_uniformity, text_uniformity: not better")


def test_five_thousand_pictures_are_measured_in_seconds() -> None:
    n = 5000
    texts = embeddings(list(range(n)), 0, width=64).astype(np.float32)
    start = time.monotonic()
    measure(texts, texts, pairs_of(range(n), range(n)))
    assert time.monotonic() - start < 20
