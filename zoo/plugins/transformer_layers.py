"""The layers of a transformer and the places in them where a method can add something of its own.

By model type, never by guesswork. What is added is a module from (..., width) to (..., width); it becomes a
part of the model, called `adapter`, so its weights have a name and are saved by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError

if TYPE_CHECKING:
    from torch import Tensor, device, nn


@dataclass(frozen=True)
class _Parts:
    """Names inside one kind of layer."""

    layers: str
    """The list of them, as the end of its name."""
    attention: str
    """The matrix whose output is the attention part's."""
    feedforward: str
    """The module whose output is the feed-forward part's, before the residual is added."""
    last_norm: str | None
    """The norm after the residual sum; None where norms come first."""
    residual: str | None = None
    """Where no module is the whole feed-forward part: the one that adds (its result, its input)."""


_BERT = _Parts("encoder.layer", "attention.output.dense", "output.dense", "output.LayerNorm", "output")
_DISTILBERT = _Parts("transformer.layer", "attention.out_lin", "ffn", "output_layer_norm")
_CLIP = _Parts("encoder.layers", "self_attn.out_proj", "mlp", None)
_LLAMA = _Parts("layers", "self_attn.o_proj", "mlp", None)
_KNOWN = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": _DISTILBERT,
    "clip": _CLIP,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
}


class Layer:
    """One layer of a model, to add to. Each method wants a module of its own."""

    def __init__(self, module: nn.Module, parts: _Parts):
        self._module, self._parts = module, parts
        attention = module.get_submodule(parts.attention)
        self.width: int = attention.out_features
        self.device: device = attention.weight.device

    def after_attention(self, adapter: nn.Module) -> None:
        """To the attention part's output, computed from it."""
        self._add(adapter, self._parts.attention, _from_output)

    def after_feedforward(self, adapter: nn.Module) -> None:
        """To the feed-forward part's output, computed from it."""
        self._add(adapter, self._parts.feedforward, _from_output)

    def beside_feedforward(self, adapter: nn.Module) -> None:
        """To the feed-forward part's output, computed from its input."""
        if self._parts.residual is None:
            self._add(adapter, self._parts.feedforward, _from_input)
            return
        owner = self._module.get_submodule(self._parts.residual)
        owner.adapter = adapter
        owner.register_forward_pre_hook(_into_residual)

    def at_end(self, adapter: nn.Module) -> None:
        """To the residual sum, computed from the layer's result; a norm that comes last is taken again."""
        last = self._parts.last_norm
        self._add(adapter, last or "", _from_output if last is None else _before_norm)

    def _add(self, adapter: nn.Module, part: str, hook: Callable[..., Any]) -> None:
        owner = self._module.get_submodule(part)
        owner.adapter = adapter
        owner.register_forward_hook(hook)


def layers_of(model: Any) -> list[Layer]:
    """All layers of all towers of a model, in order.

    Raises:
        IncompatibleError: layers of this model type are not known.
    """
    kind = model.config.model_type
    if kind not in _KNOWN:
        raise IncompatibleError(
            f"the layers of a {kind} are not known; those of {', '.join(sorted(_KNOWN))} are.", "zoo methods"
        )
    parts = _KNOWN[kind]
    lists = [one for name, one in model.named_modules() if f".{name}".endswith(f".{parts.layers}")]
    return [Layer(one, parts) for found in lists for one in found]


def _from_output(owner: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + owner.adapter(output)


def _from_input(owner: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + owner.adapter(inputs[0])


def _before_norm(norm: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return norm.forward(inputs[0] + norm.adapter(output))


def _into_residual(owner: Any, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    # its input is added to its result anyway, so what is added to the one is added to the other
    result, before = inputs
    return result, before + owner.adapter(before)
