"""DEFT: a learned projection takes directions out of each weight and puts new ones in."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Deft(PeftMethod):
    name = "deft"
    summary = "directions of each weight exchanged for learned ones"
    peft_type = "DEFT"
    peft_names = {"method": "decomposition_method"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "directions", least=1)
        method: str = param("relu", "how they are projected: relu or qr")
        targets: Targets = TARGETS
