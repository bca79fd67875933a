"""TinyLoRA: a vector of a few numbers steers the principal directions of each weight."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Tinylora(PeftMethod):
    name = "tinylora"
    summary = "a few trained numbers a weight"
    paper = "Morris et al. 2026, arXiv:2602.04118"
    learning_rate = 1e-2
    peft_type = "TINYLORA"
    peft_names = {"seed": "projection_seed"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(2, "principal directions of the weight", least=1)
        u: int = param(64, "numbers trained for each weight", least=1)
        weight_tying: float = param(
            0.0, "share of the weights that have their numbers in common", least=0, most=1
        )
        seed: int = param(42, "draws the fixed projection", least=0)
        targets: Targets = TARGETS
