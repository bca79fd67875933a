"""Uni-LoRA: all low-rank updates are read from one trained vector by a fixed random projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, PeftMethod, Targets, Task, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class Unilora(PeftMethod):
    name = "unilora"
    summary = "all low-rank updates from one trained vector"
    paper = "Li et al. 2025, arXiv:2506.00799"
    learning_rate = 1e-2
    peft_type = "UNILORA"
    peft_names = {"length": "theta_d_length", "seed": "proj_seed", "dropout": "unilora_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(4, "rank of the update", least=1)
        length: int = param(256, "of the trained vector", least=1)
        seed: int = param(42, "draws the projection", least=0)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        import torch

        # PEFT counts how often its projection uses each number: that takes numbers, even on the meta device
        with torch.device("cpu"):
            return super().attach(model, params, task, head)
