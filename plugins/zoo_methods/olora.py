"""OLoRA: LoRA that starts as an orthonormal part of the weight (Büyükakyüz 2024, arXiv:2406.01775)."""

from dataclasses import dataclass
from typing import Any

from zoo import TARGETS, Targets, param
from zoo_methods.pissa import Pissa

zoo_api = 1


@dataclass(frozen=True)
class OloraParams:
    r: int = param(8, "rank of the part; that of the saved adapter is twice it", least=1)
    targets: Targets = TARGETS


class Olora(Pissa):
    name = "olora"
    summary = "LoRA that starts as an orthonormal part of the weight"
    paper = "Büyükakyüz 2024, arXiv:2406.01775"
    Params = OloraParams
    learning_rate = 5e-4

    def start(self, params: Any) -> Any:
        return "olora"
