"""GraLoRA: each weight is cut into k x k blocks with a low-rank update of their own.

Jung et al. 2025, arXiv:2505.20355.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class GraloraParams:
    r: int = param(32, "rank of the update; a multiple of k", least=1)
    k: int = param(2, "blocks along each side", least=1)
    alpha: int = param(64, "the update is scaled by alpha / r", least=1)
    dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS

    def __post_init__(self) -> None:
        if self.r % self.k:
            raise ValueError(f"r {self.r} is not a multiple of k {self.k}")


class Gralora(PeftMethod):
    name = "gralora"
    summary = "low-rank updates of k x k blocks"
    paper = "Jung et al. 2025, arXiv:2505.20355"
    Params = GraloraParams
    learning_rate = 1e-3
    peft_type = "GRALORA"

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import GraloraConfig

        return GraloraConfig(
            task_type=task.peft_type,
            r=params.r,
            gralora_k=params.k,
            alpha=params.alpha,
            gralora_dropout=params.dropout,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Gralora()
