"""AdaLoRA: the budget of rank goes to the matrices that need it (Zhang et al. 2023, arXiv:2303.10512)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import Tensor, nn

zoo_api = 1
_WARM, _FINAL = 0.15, 0.35  # shares of the steps before the first pruning, and after the last


@dataclass(frozen=True)
class AdaloraParams:
    target_r: int = param(8, "mean rank at the end", least=1)
    init_r: int = param(12, "rank of every update at the start; above target_r", least=2)
    alpha: int = param(32, "the update is scaled by alpha / init_r", least=1)
    dropout: float = param(0.1, "on the adapter's own input", least=0, below=1)
    orthogonality: float = param(0.5, "weight of the penalty that keeps directions apart", least=0)
    targets: Targets = TARGETS

    def __post_init__(self) -> None:
        if self.init_r <= self.target_r:
            raise ValueError(f"init_r {self.init_r} is not above target_r {self.target_r}")


class Adalora(PeftMethod):
    name = "adalora"
    summary = "low-rank updates whose rank goes where it is needed"
    paper = "Zhang et al. 2023, arXiv:2303.10512"
    Params = AdaloraParams
    learning_rate = 5e-3

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import AdaLoraConfig

        return AdaLoraConfig(
            task_type=task.peft_type,
            target_r=params.target_r,
            init_r=params.init_r,
            lora_alpha=params.alpha,
            lora_dropout=params.dropout,
            orth_reg_weight=params.orthogonality,
            target_modules=self.targets(params, task),
            total_step=1,  # not known yet
        )

    def training_starts(self, model: nn.Module, steps: int) -> None:
        config = model.active_peft_config
        config.total_step, config.rank_pattern = steps, None
        if steps > 3:  # in fewer it does not show what can go
            # the first step's rate is zero: what a direction is worth is known after two at the earliest
            config.tinit, config.tfinal = max(2, round(_WARM * steps)), round(_FINAL * steps)
        model.base_model.rankallocator.reset_ipt()
        model.kept_at_start = None

    def penalty(self, model: nn.Module) -> Tensor:
        import torch

        if model.kept_at_start is None:
            values = [pair for pair in model.base_model.model.named_parameters() if ".lora_E." in pair[0]]
            model.kept_at_start = {name: (value != 0).flatten().tolist() for name, value in values}
        found = []
        for name, value in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                rows = value if ".lora_A." in name else value.T
                with torch.autocast(value.device.type, enabled=False):
                    found.append(torch.dist(rows @ rows.T, torch.eye(len(rows), device=value.device)))
        return model.active_peft_config.orth_reg_weight * torch.stack(found).mean()

    def after_step(self, model: nn.Module, step: int) -> None:
        config, allocator = model.active_peft_config, model.base_model.rankallocator
        last = config.total_step - config.tfinal
        if config.total_step <= 3:
            return
        if step == last and not allocator.exp_avg_ipt:  # resumed just here
            allocator.update_ipt(model.base_model.model)
        if step > last and config.rank_pattern is None:  # resumed after the last pruning
            config.rank_pattern = model.kept_at_start
        model.base_model.update_and_allocate(step)


@hookimpl
def zoo_method() -> Method:
    return Adalora()
