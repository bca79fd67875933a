"""(IA)3: trained vectors scale keys, values and feed-forward parts (Liu et al. 2022, arXiv:2205.05638)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import TARGETS, PeftMethod, Targets, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1
_TARGETS = {"clip": ["k_proj", "v_proj", "mlp.fc2"], "distilbert": ["k_lin", "v_lin", "ffn.lin2"]}
_FEEDFORWARD = {"clip": ["mlp.fc2"], "distilbert": ["ffn.lin2"]}
"""By model type, where PEFT does not know them: what is scaled, and those of it whose input is."""


class IA3(PeftMethod):
    name = "ia3"
    summary = "trained vectors that scale keys, values and feed-forward activations"
    paper = "Liu et al. 2022, arXiv:2205.05638"
    learning_rate = 1e-2
    peft_type = "IA3"
    default_targets = _TARGETS
    uses_task_targets = False
    peft_names = {"feedforward": "feedforward_modules"}

    @dataclass(frozen=True)
    class Params:
        targets: Targets = TARGETS
        feedforward: Targets = param(
            None, "those of the targets whose input is scaled, not their output; none: the model type's usual"
        )

        def __post_init__(self) -> None:
            missing = sorted(set(self.feedforward or ()) - set(self.targets or ()))
            if missing:
                raise ValueError(f"feedforward names {', '.join(missing)}, which the targets do not")

    def fit(self, config: Any, model: nn.Module) -> None:
        from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as KNOWN

        if config.feedforward_modules is not None:
            return
        targets = config.target_modules
        if isinstance(targets, str):  # all linear ones, which PEFT will write out
            targets = [name for name, _ in model.named_modules()]
        usual = {**KNOWN, **_FEEDFORWARD}.get(model.config.model_type, ())
        config.feedforward_modules = [
            name for name in targets if any(f".{name}".endswith(f".{one}") for one in usual)
        ]
