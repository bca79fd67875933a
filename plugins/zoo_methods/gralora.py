"""GraLoRA: each weight is cut into k x k blocks with a low-rank update of their own."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Gralora(PeftMethod):
    name = "gralora"
    summary = "low-rank updates of k x k blocks"
    paper = "Jung et al. 2025, arXiv:2505.20355"
    peft_type = "GRALORA"
    peft_names = {"k": "gralora_k", "dropout": "gralora_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(32, "rank of the update; a multiple of k", least=1)
        k: int = param(2, "blocks along each side", least=1)
        alpha: int = param(64, "the update is scaled by alpha / r", least=1)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS

        def __post_init__(self) -> None:
            if self.r % self.k:
                raise ValueError(f"r {self.r} is not a multiple of k {self.k}")
