"""AdaLoRA: the budget of rank goes to the matrices that need it (Zhang et al. 2023, arXiv:2303.10512)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, PeftMethod, Targets, Task, param

if TYPE_CHECKING:
    from torch import Tensor, nn

zoo_api = 1


class Adalora(PeftMethod):
    name, peft_type = "adalora", "ADALORA"
    peft_names = {"alpha": "lora_alpha", "dropout": "lora_dropout"}
    summary = "low-rank updates whose rank goes where it is needed"
    paper = "Zhang et al. 2023, arXiv:2303.10512"
    learning_rate = 5e-3

    @dataclass(frozen=True)
    class Params:
        target_r: int = param(8, "mean rank at the end", least=1)
        init_r: int = param(12, "rank of every update at the start; above target_r", least=2)
        alpha: int = param(32, "the update is scaled by alpha / init_r", least=1)
        dropout: float = param(0.1, "on the adapter's own input", least=0, below=1)
        orth_reg_weight: float = param(0.5, "weight of the penalty that keeps directions apart", least=0)
        targets: Targets = TARGETS

        def __post_init__(self) -> None:
            if self.init_r <= self.target_r:
                raise ValueError(f"init_r {self.init_r} is not above target_r {self.target_r}")

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        return super().peft_fields(params, task) | {"total_step": 1}  # not known yet

    def training_starts(self, model: nn.Module, steps: int) -> None:
        config = model.active_peft_config
        config.total_step, config.rank_pattern = steps, None
        model.base_model.rankallocator.reset_ipt()
        if steps > 3:  # in fewer it does not show what can go: the first step's rate is zero
            config.tinit, config.tfinal = max(2, round(0.15 * steps)), round(0.35 * steps)

    def penalty(self, model: nn.Module) -> Tensor:
        import torch

        named = [(name.split(".")[-2], value) for name, value in model.named_parameters()]
        found = [one.T if side == "lora_B" else one for side, one in named if side in ("lora_A", "lora_B")]
        with torch.autocast(found[0].device.type, enabled=False):
            found = [torch.dist(rows @ rows.T, torch.eye(len(rows)).to(rows)) for rows in found]
        return model.active_peft_config.orth_reg_weight * torch.stack(found).mean()

    def after_step(self, model: nn.Module, step: int) -> None:
        if model.active_peft_config.total_step > 3:
            model.base_model.update_and_allocate(step)

    def schedule(self, model: nn.Module) -> dict[str, Tensor]:
        import torch

        found, pattern = vars(model.base_model.rankallocator), model.active_peft_config.rank_pattern or {}
        kinds = [kind for kind, values in found.items() if isinstance(values, dict)]
        kept = {f"{kind}/{name}": value for kind in kinds for name, value in found[kind].items()}
        return kept | {f"pattern/{name}": torch.tensor(rows) for name, rows in pattern.items()}

    def resume_schedule(self, model: nn.Module, kept: dict[str, Tensor]) -> None:
        found: dict[str, Any] = {}
        for path, value in kept.items():
            found.setdefault(path.partition("/")[0], {})[path.partition("/")[2]] = value
        pattern = {name: rows.tolist() for name, rows in found.pop("pattern", {}).items()}
        model.active_peft_config.rank_pattern = pattern or None
        vars(model.base_model.rankallocator).update(found)
