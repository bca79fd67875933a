"""WaveFT: a few coefficients of the update's wavelet transform are trained."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Waveft(PeftMethod):
    name = "waveft"
    summary = "a few trained wavelet coefficients of the update"
    paper = "Bilican et al. 2025, arXiv:2505.12532"
    learning_rate = 1e-2
    peft_type = "WAVEFT"
    peft_names = {"wavelet": "wavelet_family", "seed": "random_loc_seed"}

    @dataclass(frozen=True)
    class Params:
        n_frequency: int = param(1000, "trained coefficients of a matrix", least=1)
        scaling: float = param(25.0, "of the update", least=0)
        wavelet: str = param("db1", "family of the wavelet")
        seed: int = param(777, "draws which coefficients", least=0)
        targets: Targets = TARGETS
