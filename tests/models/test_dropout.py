"""Dropout from 16 random bits an element is dropout."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from zoo.models.dropout import PLACES, drop


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate: float, dtype: Any) -> None:
    torch.manual_seed(0)
    count = 1_000_003
    dropped = drop(torch.ones(count, dtype=dtype), rate)
    share = float((dropped == 0).double().mean())
    sigma = math.sqrt(rate * (1 - rate) / count)
    assert abs(share - rate) < 4 * sigma + 1 / PLACES
    kept = dropped[dropped != 0].unique()
    assert len(kept) == 1
    assert float(kept) == pytest.approx(1 / (1 - rate), rel=1e-6 if dtype == torch.float32 else 0.005)


def test_dropout_of_one_element_says_nothing_of_its_neighbours() -> None:
    torch.manual_seed(0)
    zero = (drop(torch.ones(400_000), 0.5) == 0).float() - 0.5
    for apart in range(1, 9):
        assert abs(float((zero[apart:] * zero[:-apart]).mean())) < 0.25 * 4 / math.sqrt(400_000)
    for place in range(4):
        assert abs(float(zero[place::4].mean())) < 0.5 * 4 / math.sqrt(100_000)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (5, 7, 3), (4, 4), (3, 0, 2)])
def test_dropout_takes_any_shape(shape: tuple[int, ...]) -> None:
    values = torch.full(shape, 3.0)
    dropped = drop(values, 0.5)
    assert dropped.shape == values.shape
    assert set(dropped.flatten().tolist()) <= {0.0, 6.0}
    strided = torch.ones(4, 6).t()[::2]
    assert drop(strided, 0.5).shape == strided.shape


def test_rates_at_the_ends() -> None:
    values = torch.ones(10_000)
    assert drop(values, 0.0) is values
    for rate in (1.0, 2.0):
        assert not drop(values, rate).any()
    assert float((drop(values, 1 - 1e-7) != 0).float().mean()) < 0.01
    assert float((drop(values, 1e-7) == 0).float().mean()) < 0.01


def test_the_gradient_of_dropout_is_what_it_multiplied_by() -> None:
    values = torch.randn(1001, requires_grad=True)
    dropped = drop(values, 0.3)
    dropped.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad * values.detach(), dropped.detach())
