"""C3A: the update is a block-circulant matrix, applied by fast Fourier transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, Method, PeftMethod, Targets, Task, hookimpl, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class C3a(PeftMethod):
    name = "c3a"
    summary = "block-circulant updates by Fourier transforms"
    paper = "Chen et al. 2024, arXiv:2407.19342"
    learning_rate = 1e-1
    peft_type = "C3A"

    @dataclass(frozen=True)
    class Params:
        block_size: int | None = param(None, "divides both sides; none: the largest up to 64", least=1)
        targets: Targets = TARGETS

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        # at zero, so that training begins at the base as it is
        return super().peft_fields(params, task) | {"init_weights": True}

    def fit(self, config: Any, model: nn.Module) -> None:
        config.block_size = self.block(config, model, "block_size", 64)


@hookimpl
def zoo_method() -> Method:
    return C3a()
