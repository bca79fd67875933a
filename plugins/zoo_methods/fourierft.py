"""FourierFT: a few coefficients of the update's Fourier transform are trained."""

from dataclasses import dataclass
from typing import Any

from zoo import TARGETS, PeftMethod, Targets, Task, param

zoo_api = 1


class Fourierft(PeftMethod):
    name = "fourierft"
    summary = "a few trained Fourier coefficients of the update"
    paper = "Gao et al. 2024, arXiv:2405.03003"
    learning_rate = 3e-2
    peft_type = "FOURIERFT"
    peft_names = {"seed": "random_loc_seed"}

    @dataclass(frozen=True)
    class Params:
        n_frequency: int = param(1000, "trained coefficients of a matrix", least=1)
        scaling: float = param(150.0, "of the update", least=0)
        seed: int = param(777, "draws which coefficients", least=0)
        targets: Targets = TARGETS

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        # at zero, so that training begins at the base as it is
        return super().peft_fields(params, task) | {"init_weights": True}
