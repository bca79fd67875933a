"""BitFit: only the biases are trained (Ben Zaken et al. 2021, arXiv:2106.10199). `attach` is all it takes."""

from __future__ import annotations

from dataclasses import dataclass

from zoo import Method, hookimpl, param

zoo_api = 1


@dataclass(frozen=True)
class BitFitParams:
    only_attention: bool = param(False, "not those of the feed-forward parts and the norms")


class BitFit(Method):
    name = "strangers-bitfit"
    summary = "only the biases are trained"
    paper = "Ben Zaken et al. 2021, arXiv:2106.10199"
    Params = BitFitParams
    learning_rate = 5e-3
    unmergeable = None

    def attach(self, model, params, task, head):
        for name, value in model.named_parameters():
            in_head = any(name.startswith(f"{module}.") for module in head)
            bias = name.endswith(".bias") and ("attention" in name or not params.only_attention)
            value.requires_grad_(in_head or bias)
        return model

    def merge(self, model):
        return model  # the biases are the base's own


@hookimpl
def zoo_method():
    return BitFit()


@hookimpl
def zoo_card(record):
    return "## BitFit\n\nOnly biases differ from the base."
