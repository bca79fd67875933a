"""SHiRA: a few numbers of each weight, drawn at random, are trained and the rest is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, PeftMethod, Targets, param

if TYPE_CHECKING:
    from torch import Tensor, nn

zoo_api = 1


class Shira(PeftMethod):
    name = "shira"
    summary = "a sparse, high-rank update"
    paper = "Bhardwaj et al. 2024, arXiv:2406.13175"
    learning_rate = 5e-3
    peft_type = "SHIRA"
    peft_names = {"seed": "random_seed"}
    bounded_rank = False  # it counts numbers, not directions

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "as many numbers are trained as by LoRA of this rank", least=1)
        seed: int = param(0, "draws which numbers", least=0)
        targets: Targets = TARGETS

    def fit(self, config: Any, model: nn.Module) -> None:
        config.mask_fn = _mask


def _mask(layer: nn.Module, r: int, random_seed: int, **_: Any) -> Tensor:
    """Ones where a number is trained. PEFT's own is made beside the weight, which may be without numbers."""
    import torch

    shape = (layer.out_features, layer.in_features)
    mask = torch.zeros(shape[0] * shape[1], device="cpu")
    order = torch.Generator().manual_seed(random_seed)
    mask[torch.randperm(len(mask), generator=order, device="cpu")[: r * sum(shape)]] = 1
    return mask.view(shape)
