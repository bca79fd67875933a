"""LoRA: a trained low-rank update beside each frozen weight (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import Method, PeftMethod, Task, hookimpl

if TYPE_CHECKING:
    from peft import PeftConfig


@dataclass(frozen=True)
class LoraParams:
    r: int = 8
    """Rank of the update."""
    alpha: int = 16
    """The update is scaled by alpha / r."""
    dropout: float = 0.1
    """Dropout on the adapter's own input."""
    targets: tuple[str, ...] | None = None
    """Modules to adapt; none is the task's, or PEFT's choice for the model type (query and value in BERT)."""

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"r is the rank and must be at least 1, got {self.r}.")
        if self.alpha < 1:
            raise ValueError(f"alpha must be at least 1, got {self.alpha}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, got {self.dropout}.")


class Lora(PeftMethod):
    name = "lora"
    summary = "low-rank updates beside frozen weights"
    paper = "Hu et al. 2021, arXiv:2106.09685"
    Params = LoraParams
    learning_rate = 1e-3

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import LoraConfig

        targets = params.targets or task.targets
        return LoraConfig(
            task_type=task.peft_type,
            r=params.r,
            lora_alpha=params.alpha,
            lora_dropout=params.dropout,
            target_modules=list(targets) if targets else None,
        )


@hookimpl
def zoo_method() -> Method:
    return Lora()
