"""BitFit: only the biases are trained (Ben Zaken et al. 2021, arXiv:2106.10199)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import IncompatibleError, Method, Targets, Task, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class BitFit(Method):
    name = "bitfit"
    summary = "only the biases are trained"
    paper = "Ben Zaken et al. 2021, arXiv:2106.10199"
    unmergeable = None

    @dataclass(frozen=True)
    class Params:
        targets: Targets = param(None, "modules whose biases are trained; none: all that have one")

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        owners = [name for name, module in model.named_modules() if getattr(module, "bias", None) is not None]
        has = list(dict.fromkeys(name.rpartition(".")[2] for name in owners))
        wanted = params.targets or has
        lost = [one for one in wanted if not any(f".{name}".endswith(f".{one}") for name in owners)]
        if lost or not owners:
            reason = (
                f"no {', '.join(lost)} has a bias; there are {', '.join(has)}" if has else "it has no biases"
            )
            raise IncompatibleError(
                f"bitfit does not fit this {model.config.model_type}: {reason}.",
                f"-s targets={','.join(has)}" if has else "ln-tuning instead of bitfit",
            )
        self.freeze(model, head)
        for name in owners:
            if any(f".{name}".endswith(f".{one}") for one in wanted):
                model.get_submodule(name).bias.requires_grad_(True)
        return model
