"""DeLoRA: a low-rank update whose directions are normalised and whose strength is trained by itself."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Delora(PeftMethod):
    name = "delora"
    summary = "low-rank updates of normalised directions"
    paper = "Bini et al. 2025, arXiv:2503.18225"
    learning_rate = 5e-3
    peft_type = "DELORA"
    peft_names = {"dropout": "module_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "rank of the update", least=1)
        delora_lambda: int = param(15, "initial bound of the update's norm", least=1)
        dropout: float = param(0.0, "how often an adapter is left out", least=0, below=1)
        targets: Targets = TARGETS
