"""LayerNorm tuning: only the norms' gains and shifts are trained (Zhao et al. 2023, arXiv:2312.11420)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import IncompatibleError, PeftMethod, Targets, param

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

zoo_api = 1


class LNTuning(PeftMethod):
    name = "ln-tuning"
    summary = "only the norm layers are trained"
    paper = "Zhao et al. 2023, arXiv:2312.11420"
    peft_type = "LN_TUNING"
    uses_task_targets = False

    @dataclass(frozen=True)
    class Params:
        targets: Targets = param(None, "norm layers to train; none: all of them")

    def usual_targets(self, config: PeftConfig, model: nn.Module) -> list[str] | None:
        # PEFT has lists for some model types; the layers themselves say it for all
        return _norms(model) or None

    def fit(self, config: Any, model: nn.Module) -> None:
        norms = _norms(model)
        other = [name for name in config.target_modules if name.rpartition(".")[2] not in norms]
        if other:
            raise IncompatibleError(
                f"ln-tuning: {', '.join(other)} is no norm layer; the norm layers are {', '.join(norms)}.",
                f"-s targets={','.join(norms)}",
            )


def _norms(model: nn.Module) -> list[str]:
    """Last parts of the names of the norm layers, each once, in order."""
    from torch import nn

    found = (
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)) or type(module).__name__.endswith("RMSNorm")
    )
    return list(dict.fromkeys(found))
