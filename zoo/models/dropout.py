"""Draws dropout masks cheaply on a CPU, where PyTorch spends a tenth of a training step on them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PLACES = 1 << 16
"""Steps of a dropout rate: 16 random bits decide over one element."""


def drop(values: Tensor, rate: float) -> Tensor:
    """Dropout from 16 random bits an element, four elements a draw: PyTorch draws one number for each.

    Args:
        rate: share that becomes zero, exact to 1/65536; the rest is scaled by 1 / (1 - rate).
    """
    import torch

    if rate <= 0:
        return values
    if rate >= 1:
        return values * 0
    draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64, device=values.device)
    draws.random_(-(2**63), None)
    bits = draws.view(torch.int16)[: values.numel()].view(values.shape)
    kept = bits >= min(round(rate * PLACES), PLACES - 1) - PLACES // 2
    return values * kept.to(values.dtype).mul_(1 / (1 - rate))


@cache
def dropout_class() -> type:
    """`nn.Dropout` with `drop`, made on first use because naming its base imports torch."""
    from torch import nn

    class Dropout(nn.Dropout):
        def forward(self, input: Tensor) -> Tensor:
            return drop(input, self.p) if self.training else input

        def __reduce__(self) -> tuple[Any, ...]:
            return nn.Dropout, (self.p, self.inplace), vars(self)  # saved, it is PyTorch's

    return Dropout
