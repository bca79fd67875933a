"""LoRA: a trained low-rank update beside each frozen weight (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig


zoo_api = 1


@dataclass(frozen=True)
class LoraParams:
    r: int = param(8, "rank of the update", least=1)
    alpha: int = param(16, "the update is scaled by alpha / r", least=1)
    dropout: float = param(0.1, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class Lora(PeftMethod):
    name = "lora"
    summary = "low-rank updates beside frozen weights"
    paper = "Hu et al. 2021, arXiv:2106.09685"
    Params: type = LoraParams
    learning_rate = 1e-3
    peft_type: str | None = "LORA"
    switches: ClassVar[dict[str, bool]] = {"use_dora": False, "use_rslora": False}
    """PEFT's for the methods that vary this one."""

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import LoraConfig

        return LoraConfig(
            task_type=task.peft_type,
            r=params.r,
            lora_alpha=params.alpha,
            lora_dropout=params.dropout,
            target_modules=self.targets(params, task),
            **self.switches,
        )


@hookimpl
def zoo_method() -> Method:
    return Lora()
