"""HiRA: the update is the frozen weight times, elementwise, a low-rank matrix."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Hira(PeftMethod):
    name = "hira"
    summary = "the frozen weight times a low-rank matrix"
    paper = "Huang et al. 2025, openreview.net/forum?id=TwJrTz9cRS"
    peft_type = "HIRA"
    peft_names = {"dropout": "hira_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(32, "rank of the update", least=1)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS
