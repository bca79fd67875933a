"""HiRA: the update is the frozen weight times, elementwise, a low-rank matrix.

Huang et al. 2025, openreview.net/forum?id=TwJrTz9cRS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class HiraParams:
    r: int = param(32, "rank of the update", least=1)
    dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class Hira(PeftMethod):
    name = "hira"
    summary = "the frozen weight times a low-rank matrix"
    paper = "Huang et al. 2025, openreview.net/forum?id=TwJrTz9cRS"
    Params = HiraParams
    learning_rate = 1e-3
    peft_type = "HIRA"

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import HiraConfig

        return HiraConfig(
            task_type=task.peft_type,
            r=params.r,
            hira_dropout=params.dropout,
            target_modules=self.targets(params, task),
        )


@hookimpl
def zoo_method() -> Method:
    return Hira()
