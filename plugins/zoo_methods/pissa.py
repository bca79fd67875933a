"""PiSSA: LoRA that starts as a weight's principal part, the rest frozen (Meng et al. 2024, arXiv:2404.02948).

The frozen weight loses what the adapter starts with. What is saved is the difference to that start, a plain
LoRA of twice the rank, which fits the base as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, BaseId, PeftMethod, Targets, Task, param

if TYPE_CHECKING:
    from torch import Tensor, nn

zoo_api = 1


@dataclass(frozen=True)
class PissaParams:
    r: int = param(8, "rank of the principal part; that of the saved adapter is twice it", least=1)
    iterations: int = param(16, "of the randomised singular value decomposition; 0: the exact one", least=0)
    targets: Targets = TARGETS


class Pissa(PeftMethod):
    name = "pissa"
    summary = "LoRA that starts as the weight's principal part"
    paper = "Meng et al. 2024, arXiv:2404.02948"
    Params: type = PissaParams
    peft_type = "LORA"
    peft_names = {"iterations": None}

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        # a scale of 1, and no dropout: the weight's own part goes through it
        start = {"lora_alpha": params.r, "lora_dropout": 0.0, "init_lora_weights": self.start(params)}
        return super().peft_fields(params, task) | start

    def recognise(self, config: Mapping[str, Any]) -> None:
        return None  # what is saved is a plain LoRA

    def start(self, params: Any) -> Any:
        """PEFT's name of what the adapter starts as."""
        return f"pissa_niter_{params.iterations}" if params.iterations else "pissa"

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        adapted = super().attach(model, params, task, head)
        started = super().state(adapted)
        adapted.started_as = {
            name: value.detach().clone() for name, value in started.items() if ".lora_" in name
        }
        return adapted

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """B A - B' A' as one product, where B' A' is what the adapter started as."""
        import torch

        trained = super().state(model)
        for name, start in model.started_as.items():
            parts = (trained[name], start.to(trained[name].device))
            if ".lora_A" in name:
                trained[name] = torch.cat(parts, dim=0)
            else:
                trained[name] = torch.cat((parts[0], -parts[1]), dim=1)
        return trained

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        from peft import LoraConfig
        from safetensors.torch import save_file

        super().save(model, folder, base)
        trained = {name: value.detach().cpu().contiguous() for name, value in self.state(model).items()}
        save_file(trained, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = LoraConfig.from_pretrained(str(folder))
        config.r, config.lora_alpha, config.init_lora_weights = 2 * config.r, 2 * config.lora_alpha, True
        config.save_pretrained(str(folder))
