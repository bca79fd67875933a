"""RandLoRA: a full-rank update as a trained sum of frozen random low-rank matrices."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Randlora(PeftMethod):
    name = "randlora"
    summary = "full-rank sums of frozen random low-rank matrices"
    paper = "Albert et al. 2025, arXiv:2502.00987"
    peft_type = "RANDLORA"
    peft_names = {"alpha": "randlora_alpha", "dropout": "randlora_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(32, "rank of each random matrix: a smaller one trains more parameters", least=1)
        alpha: int = param(640, "the update is scaled by alpha / r; 20 r is usual", least=1)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS
