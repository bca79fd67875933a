"""PSOFT: the weight is rotated within its own r principal directions."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Psoft(PeftMethod):
    name = "psoft"
    summary = "trained rotations of the principal directions"
    paper = "Wu et al. 2025, arXiv:2505.11235"
    learning_rate = 2e-3
    peft_type = "PSOFT"
    peft_names = {"alpha": "psoft_alpha", "dropout": "psoft_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(32, "principal directions", least=2)
        alpha: int = param(32, "the update is scaled by alpha / r", least=1)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS
