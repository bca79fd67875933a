"""PEANuT: the update is a small neural network of the frozen weight itself."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Peanut(PeftMethod):
    name = "peanut"
    summary = "updates that a small network makes of the frozen weight"
    paper = "Zhong et al. 2024, arXiv:2410.01870"
    peft_type = "PEANUT"
    peft_names = {"activation": "act_fn"}
    bounded_rank = False  # a network may be wider than what it reads

    @dataclass(frozen=True)
    class Params:
        r: int = param(32, "width of the network", least=1)
        depth: int = param(0, "hidden layers on either side", least=0)
        activation: str = param("relu", "between its layers, by transformers' name")
        scaling: float = param(1.0, "of the update", least=0)
        targets: Targets = TARGETS
