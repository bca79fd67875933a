"""PSOFT: the weight is rotated within its own r principal directions (Wu et al. 2025, arXiv:2505.11235)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class PsoftParams:
    r: int = param(32, "principal directions", least=2)
    alpha: int = param(32, "the update is scaled by alpha / r", least=1)
    dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class Psoft(PeftMethod):
    name = "psoft"
    summary = "trained rotations of the principal directions"
    paper = "Wu et al. 2025, arXiv:2505.11235"
    Params = PsoftParams
    learning_rate = 2e-3
    peft_type = "PSOFT"

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import PsoftConfig

        return PsoftConfig(
            task_type=task.peft_type,
            r=params.r,
            psoft_alpha=params.alpha,
            psoft_dropout=params.dropout,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Psoft()
