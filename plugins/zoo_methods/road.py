"""RoAd: pairs of outputs of each frozen layer are rotated and scaled (Liao & Monz 2024, arXiv:2409.00119)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zoo import TARGETS, PeftMethod, Targets, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class Road(PeftMethod):
    name = "road"
    summary = "trained 2D rotations of the outputs"
    paper = "Liao & Monz 2024, arXiv:2409.00119"
    learning_rate = 5e-3
    peft_type = "ROAD"

    @dataclass(frozen=True)
    class Params:
        variant: Literal["road_1", "road_2", "road_4"] = param(
            "road_1", "angles and scales: one a pair, one an output, or two an output"
        )
        targets: Targets = TARGETS

    def fit(self, config: Any, model: nn.Module) -> None:
        # which outputs form a pair is of no account, and large groups compute faster
        config.group_size = None
        config.group_size = self.block(config, model, "group_size", 64, sides=(1,))
