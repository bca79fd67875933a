"""LoRA by hand, without peft (Hu et al. 2021, arXiv:2106.09685), with dropout on A and B themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo import IncompatibleError, Method, Targets, hookimpl, param

zoo_api = 1
_BERT = ("query", "key", "value", "attention.output.dense")
TARGETS = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin"),
    "clip": ("q_proj", "k_proj", "v_proj", "out_proj"),
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj"),
}
"""The projections of attention, by model type."""


@dataclass(frozen=True)
class ScratchLoraParams:
    r: int = param(16, "rank of the update", least=1)
    alpha: float = param(64.0, "the update is scaled by alpha / r", least=0)
    dropout: float = param(0.03, "on the numbers of A and B", least=0, below=1)
    bias: Literal["none", "all", "lora_only"] = param("none", "which biases of the base are trained")
    targets: Targets = param(None, "parts of the names of linear layers; none: those of attention")


class ScratchLora(Method):
    name = "scratch-lora"
    summary = "LoRA by hand: low-rank updates, with dropout on A and B themselves"
    paper = "Hu et al. 2021, arXiv:2106.09685"
    Params = ScratchLoraParams
    learning_rate = 1e-3
    unmergeable = None

    def attach(self, model, params, task, head):
        from zoo_scratch_lora.layer import adapt, linear_layers

        names = params.targets or TARGETS.get(model.config.model_type)
        if names is None:
            raise self._does_not_fit(
                model, "which layers to adapt is not known for it", "-s targets=NAME,NAME"
            )
        found = linear_layers(model, names)
        lost = [name for name in names if not any(name in one for one in found)]
        if lost:
            raise self._does_not_fit(
                model, f"no linear layer's name contains {', '.join(lost)}", "-s targets=NAME"
            )
        for name, layer in found.items():
            most = min(layer.in_features, layer.out_features)
            if params.r > most:
                raise self._does_not_fit(
                    model, f"rank {params.r} is above the {most} of {name}", f"-s r={most}"
                )
        model.requires_grad_(False)
        for layer in found.values():
            adapt(layer, params.r, params.alpha, params.dropout)
        for name, value in model.named_parameters():
            owner, _, last = name.rpartition(".")
            if last == "bias" and (params.bias == "all" or (params.bias == "lora_only" and owner in found)):
                value.requires_grad_(True)
        for name in head:
            model.get_submodule(name).requires_grad_(True)
        return model

    def merge(self, model):
        from zoo_scratch_lora.layer import LoraLinear, merge

        for layer in [module for module in model.modules() if isinstance(module, LoraLinear)]:
            merge(layer)
        return model

    def _does_not_fit(self, model, reason, hint):
        return IncompatibleError(f"{self.name} does not fit this {model.config.model_type}: {reason}.", hint)


@hookimpl
def zoo_method():
    return ScratchLora()
