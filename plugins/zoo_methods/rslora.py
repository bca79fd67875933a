"""rsLoRA: LoRA scaled by the root of its rank, for high ranks (Kalajdzievski 2023, arXiv:2312.03732)."""

from __future__ import annotations

from dataclasses import dataclass

from zoo import TARGETS, Method, Targets, hookimpl, param
from zoo_methods.lora import Lora

zoo_api = 1


@dataclass(frozen=True)
class RsLoraParams:
    r: int = param(32, "rank of the update", least=1)
    alpha: int = param(16, "the update is scaled by alpha / sqrt(r)", least=1)
    dropout: float = param(0.1, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class RsLora(Lora):
    name = "rslora"
    summary = "LoRA whose scale suits high ranks"
    paper = "Kalajdzievski 2023, arXiv:2312.03732"
    Params = RsLoraParams
    learning_rate = 5e-4
    peft_fixed = {"use_dora": False, "use_rslora": True}


@hookimpl
def zoo_method() -> Method:
    return RsLora()
