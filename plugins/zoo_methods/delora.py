"""DeLoRA: a low-rank update whose directions are normalised and whose strength is trained by itself.

Bini et al. 2025, arXiv:2503.18225.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class DeloraParams:
    r: int = param(8, "rank of the update", least=1)
    delora_lambda: int = param(15, "initial bound of the update's norm", least=1)
    dropout: float = param(0.0, "how often an adapter is left out", least=0, below=1)
    targets: Targets = TARGETS


class Delora(PeftMethod):
    name = "delora"
    summary = "low-rank updates of normalised directions"
    paper = "Bini et al. 2025, arXiv:2503.18225"
    Params = DeloraParams
    learning_rate = 5e-3
    peft_type = "DELORA"

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import DeloraConfig

        return DeloraConfig(
            task_type=task.peft_type,
            r=params.r,
            delora_lambda=params.delora_lambda,
            module_dropout=params.dropout,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Delora()
