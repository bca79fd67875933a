"""LoRA: a trained low-rank update beside each frozen weight (Hu et al. 2021, arXiv:2106.09685)."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Lora(PeftMethod):
    name = "lora"
    summary = "low-rank updates beside frozen weights"
    paper = "Hu et al. 2021, arXiv:2106.09685"
    peft_type = "LORA"
    peft_names = {"alpha": "lora_alpha", "dropout": "lora_dropout"}
    peft_fixed = {"use_dora": False, "use_rslora": False}

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "rank of the update", least=1)
        alpha: int = param(16, "the update is scaled by alpha / r", least=1)
        dropout: float = param(0.1, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS
