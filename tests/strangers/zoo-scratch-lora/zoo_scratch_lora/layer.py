"""The layer: W x + alpha / r * B A x, with W frozen, A drawn by Kaiming and B zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class LoraLinear(nn.Linear):
    """A linear layer with an update beside its weight. Made by `adapt`, so that its names stay."""

    lora_a: nn.Parameter  # (r, inputs)
    lora_b: nn.Parameter  # (outputs, r)
    scaling: float
    dropout: float

    def forward(self, input: Tensor) -> Tensor:
        a, b = (functional.dropout(one, self.dropout, self.training) for one in (self.lora_a, self.lora_b))
        # (B A) x as B (A x): the product of B and A would be as large as W
        return super().forward(input) + functional.linear(functional.linear(input, a), b) * self.scaling


def linear_layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Linear]:
    """Those whose name contains one of `names`; a subclass may be called in a way that misses the update."""
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear and any(one in name for one in names)
    }


def adapt(layer: nn.Linear, r: int, alpha: float, dropout: float) -> None:
    """Make a linear layer a LoraLinear, in its place; as B is zero it still says the same."""
    place = layer.weight.device
    layer.__class__ = LoraLinear
    layer.lora_a = nn.Parameter(torch.empty(r, layer.in_features, device=place))
    layer.lora_b = nn.Parameter(torch.zeros(layer.out_features, r, device=place))
    nn.init.kaiming_uniform_(layer.lora_a, a=math.sqrt(5))
    layer.scaling, layer.dropout = alpha / r, dropout


def merge(layer: LoraLinear) -> None:
    """Add the update to the weight and make the layer a plain one again."""
    with torch.no_grad():
        layer.weight += layer.scaling * (layer.lora_b @ layer.lora_a)
    del layer.lora_a, layer.lora_b, layer.scaling, layer.dropout
    layer.__class__ = nn.Linear
