"""MiSS: one small matrix, repeated over the whole weight, is trained (Kang & Yin 2024, arXiv:2409.15371)."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Miss(PeftMethod):
    name = "miss"
    summary = "one small matrix, repeated over the weight"
    paper = "Kang & Yin 2024, arXiv:2409.15371"
    peft_type = "MISS"
    peft_names = {"dropout": "miss_dropout"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(32, "rows of the repeated matrix: as many numbers as LoRA of half the rank", least=1)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS
