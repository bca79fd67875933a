"""PVeRA: VeRA whose update is drawn anew in every training step from a trained distribution.

Fillioux et al. 2025, arXiv:2512.07703.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import Method, Task, hookimpl
from zoo_methods.vera import Vera

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


class Pvera(Vera):
    name = "pvera"
    summary = "VeRA with a trained distribution of updates"
    paper = "Fillioux et al. 2025, arXiv:2512.07703"
    peft_type = "PVERA"

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
