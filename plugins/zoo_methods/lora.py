"""LoRA: a trained low-rank update beside each frozen weight (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass

from zoo import TARGETS, Method, PeftMethod, Targets, hookimpl, param

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
    peft_type = "LORA"
    peft_names = {"alpha": "lora_alpha", "dropout": "lora_dropout"}
    peft_fixed = {"use_dora": False, "use_rslora": False}


@hookimpl
def zoo_method() -> Method:
    return Lora()
