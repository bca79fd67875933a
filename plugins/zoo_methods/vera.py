"""VeRA: random low-rank matrices that all layers share stay frozen, and vectors that scale them are trained.

Kopiczko et al. 2023, arXiv:2310.11454.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class VeraParams:
    r: int = param(256, "rank of the shared matrices; above a matrix side is fine", least=1)
    d_initial: float = param(0.1, "initial scale of the rank's directions", least=0)
    dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class Vera(PeftMethod):
    name = "vera"
    summary = "trained scales of shared random low-rank matrices"
    paper = "Kopiczko et al. 2023, arXiv:2310.11454"
    Params = VeraParams
    learning_rate = 1e-2
    peft_type = "VERA"
    bounded_rank = False  # the frozen matrices are random: more directions than sides are still of use

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import VeraConfig

        return VeraConfig(
            task_type=task.peft_type,
            r=params.r,
            d_initial=params.d_initial,
            vera_dropout=params.dropout,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Vera()
