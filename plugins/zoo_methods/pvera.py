"""PVeRA: VeRA whose update is drawn anew in every training step from a trained distribution.

Fillioux et al. 2025, arXiv:2512.07703.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class PveraParams:
    r: int = param(256, "rank of the shared matrices; above a matrix side is fine", least=1)
    d_initial: float = param(0.1, "initial scale of the rank's directions", least=0)
    dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class Pvera(PeftMethod):
    name = "pvera"
    summary = "VeRA with a trained distribution of updates"
    paper = "Fillioux et al. 2025, arXiv:2512.07703"
    Params = PveraParams
    learning_rate = 1e-2
    bounded_rank = False  # the frozen matrices are random: more directions than sides are still of use

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import PveraConfig

        return PveraConfig(
            task_type=task.peft_type,
            r=params.r,
            d_initial=params.d_initial,
            pvera_dropout=params.dropout,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Pvera()
