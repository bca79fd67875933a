"""VeRA: trained vectors scale frozen random low-rank matrices that all layers share."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Vera(PeftMethod):
    name = "vera"
    summary = "trained scales of shared random low-rank matrices"
    paper = "Kopiczko et al. 2023, arXiv:2310.11454"
    learning_rate = 1e-2
    peft_type = "VERA"
    peft_names = {"dropout": "vera_dropout"}
    bounded_rank = False  # the frozen matrices are random: more directions than sides are still of use

    @dataclass(frozen=True)
    class Params:
        r: int = param(256, "rank of the shared matrices; above a matrix side is fine", least=1)
        d_initial: float = param(0.1, "initial scale of the rank's directions", least=0)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS
