"""LoHa: the update is the elementwise product of two low-rank products, of rank up to r squared."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Loha(PeftMethod):
    name = "loha"
    summary = "elementwise product of two low-rank updates"
    paper = "Hyeon-Woo et al. 2021, arXiv:2108.06098"
    learning_rate = 2e-3
    peft_type = "LOHA"

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "rank of the update", least=1)
        alpha: int = param(16, "the update is scaled by alpha / r", least=1)
        rank_dropout: float = param(0.0, "share of the rank left out in a step", least=0, below=1)
        module_dropout: float = param(0.0, "how often an adapter is left out", least=0, below=1)
        targets: Targets = TARGETS
