"""Lily: down-projections are shared by neighbouring layers, up-projections by all, mixed by a trained router.

Zhong et al. 2024, arXiv:2407.09946.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class LilyParams:
    r: int = param(32, "rank of the update", least=1)
    stride_a: int = param(1, "neighbouring layers that share a down-projection", least=1)
    num_b: int = param(2, "up-projections that all layers share", least=2)
    scaling: float = param(1.0, "of the update", least=0)
    targets: Targets = TARGETS


class Lily(PeftMethod):
    name = "lily"
    summary = "low-rank updates whose halves the layers share"
    paper = "Zhong et al. 2024, arXiv:2407.09946"
    Params = LilyParams
    learning_rate = 1e-3
    unmergeable = "its router mixes the update anew for every input"

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import LilyConfig

        return LilyConfig(
            task_type=task.peft_type,
            r=params.r,
            stride_A=params.stride_a,
            num_B=params.num_b,
            scaling=params.scaling,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Lily()
