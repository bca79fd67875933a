"""Bottleneck adapters: small networks, down to few units and up again, in every layer. PEFT has none of them.

houlsby: one after the attention and one after the feed-forward part (Houlsby et al. 2019, arXiv:1902.00751);
pfeiffer: one at the end of the layer, before its last norm (Pfeiffer et al. 2020, arXiv:2005.00247);
parallel: one beside the feed-forward part (He et al. 2021, arXiv:2110.04366).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from zoo import IncompatibleError, Method, Task, layers_of, param

if TYPE_CHECKING:
    from torch import Tensor, nn

zoo_api = 1


class Bottleneck(Method):
    name = "bottleneck"
    summary = "bottleneck adapters after or beside the parts of each layer"
    paper = "Houlsby et al. 2019, arXiv:1902.00751"
    unmergeable = "its adapters are not linear, so no matrix computes the same"

    @dataclass(frozen=True)
    class Params:
        style: Literal["houlsby", "pfeiffer", "parallel"] = param(
            "pfeiffer", "after both parts of a layer, at its end, or beside its feed-forward part"
        )
        reduction: int = param(16, "an adapter has the layer's width divided by this as units", least=1)
        activation: Literal["relu", "gelu", "silu", "tanh"] = param("gelu", "between down and up")
        scale: float | None = param(None, "factor of what is added; none: 4 for parallel, else 1", least=1e-3)
        learn_scale: bool = param(False, "that factor is trained, one in each adapter")

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        self.freeze(model, head)
        for layer in layers_of(model):
            if params.reduction > layer.width:
                raise IncompatibleError(
                    f"bottleneck: a width of {layer.width} divided by {params.reduction} leaves no unit.",
                    f"-s reduction={layer.width}",
                )
            add = {
                "houlsby": (layer.after_attention, layer.after_feedforward),
                "pfeiffer": (layer.at_end,),
                "parallel": (layer.beside_feedforward,),
            }
            for place in add[params.style]:
                place(_adapter_class()(layer.width, params).to(layer.device))
        return model


@cache
def _adapter_class() -> Any:
    """Made on first use because naming its base imports torch."""
    import torch
    from torch import nn
    from transformers.activations import ACT2FN

    class Adapter(nn.Module):
        def __init__(self, width: int, params: Bottleneck.Params):
            super().__init__()
            self.down = nn.Linear(width, width // params.reduction)
            self.activation = ACT2FN[params.activation]
            self.up = nn.Linear(width // params.reduction, width)
            for value in self.up.parameters():  # at first nothing is added
                nn.init.zeros_(value)
            scale = params.scale or (4.0 if params.style == "parallel" else 1.0)
            self.scale = nn.Parameter(torch.tensor([scale])) if params.learn_scale else scale

        def forward(self, values: Tensor) -> Tensor:
            hidden = self.activation(self.down(values.to(self.down.weight.dtype)))
            return (self.scale * self.up(hidden)).to(values.dtype)

    return Adapter
