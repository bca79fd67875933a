"""HiRA: the update is the frozen weight times, elementwise, a low-rank matrix."""

from __future__ import annotations

from dataclasses import dataclass

from zoo import TARGETS, Method, PeftMethod, Targets, hookimpl, param

zoo_api = 1


@dataclass(frozen=True)
class HiraParams:
    r: int = param(32, "rank of the update", least=1)
    dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
    targets: Targets = TARGETS


class Hira(PeftMethod):
    name = "hira"
    summary = "the frozen weight times a low-rank matrix"
    paper = "Huang et al. 2025, openreview.net/forum?id=TwJrTz9cRS"
    Params = HiraParams
    learning_rate = 1e-3
    peft_type = "HIRA"
    peft_names = {"dropout": "hira_dropout"}


@hookimpl
def zoo_method() -> Method:
    return Hira()
