"""LoKr: the update is a Kronecker product of a small matrix and a low-rank one."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Lokr(PeftMethod):
    name = "lokr"
    summary = "Kronecker product of a small and a low-rank matrix"
    paper = "Yeh et al. 2023, arXiv:2309.14859"
    learning_rate = 2e-3
    peft_type = "LOKR"
    peft_names = {"factor": "decompose_factor"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "rank of the larger factor; it is whole where that has no fewer numbers", least=1)
        alpha: int = param(16, "the update is scaled by alpha / r", least=1)
        factor: int = param(-1, "side of the small factor; -1: near the root of the matrix side", least=-1)
        rank_dropout: float = param(0.0, "share of the rank left out in a step", least=0, below=1)
        module_dropout: float = param(0.0, "how often an adapter is left out", least=0, below=1)
        targets: Targets = TARGETS
