"""rsLoRA: LoRA scaled by the root of its rank, for high ranks (Kalajdzievski 2023, arXiv:2312.03732)."""

from dataclasses import dataclass

from zoo import param
from zoo_methods.lora import Lora

zoo_api = 1


class RsLora(Lora):
    name = "rslora"
    summary = "LoRA whose scale suits high ranks"
    paper = "Kalajdzievski 2023, arXiv:2312.03732"
    learning_rate = 5e-4
    peft_fixed = {"use_dora": False, "use_rslora": True}

    @dataclass(frozen=True)
    class Params(Lora.Params):
        r: int = param(32, "rank of the update", least=1)
        alpha: int = param(16, "the update is scaled by alpha / sqrt(r)", least=1)
