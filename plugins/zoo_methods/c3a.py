"""C3A: the update is a block-circulant matrix, applied by fast Fourier transforms."""

from dataclasses import dataclass
from typing import Any

from zoo import TARGETS, PeftMethod, Targets, Task, param

zoo_api = 1


class C3a(PeftMethod):
    name = "c3a"
    summary = "block-circulant updates by Fourier transforms"
    paper = "Chen et al. 2024, arXiv:2407.19342"
    learning_rate = 1e-1
    peft_type = "C3A"
    block_sizes = {"block_size": (64, (0, 1))}

    @dataclass(frozen=True)
    class Params:
        block_size: int | None = param(None, "divides both sides; none: the largest up to 64", least=1)
        targets: Targets = TARGETS

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        # at zero, so that training begins at the base as it is
        return super().peft_fields(params, task) | {"init_weights": True}
