"""HRA: each frozen weight is multiplied by a chain of trained Householder reflections."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Hra(PeftMethod):
    name = "hra"
    summary = "trained Householder reflections of the frozen weights"
    paper = "Yuan et al. 2024, arXiv:2405.17484"
    learning_rate = 5e-3
    peft_type = "HRA"
    peft_names = {"gram_schmidt": "apply_GS"}

    @dataclass(frozen=True)
    class Params:
        r: int = param(8, "reflections, an even number", least=2)
        gram_schmidt: bool = param(False, "keep the reflections orthogonal to each other")
        targets: Targets = TARGETS

        def __post_init__(self) -> None:
            if self.r % 2:
                raise ValueError(f"r {self.r} is odd: reflections start as the identity in pairs")
