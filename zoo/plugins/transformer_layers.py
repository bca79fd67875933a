"""Finds the layers of a transformer, and the places in them where a method can add something of its own.

By model type, never by guesswork. What is added is a module from (..., width) to (..., width); it becomes a
part of the model, called `adapter`, so its weights have a name and are saved by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError
from zoo.models.families import FAMILIES, LayerNames, family

if TYPE_CHECKING:
    from torch import Tensor, device, nn


class Layer:
    """One layer of a model, to add to. Each method wants a module of its own."""

    def __init__(self, module: nn.Module, parts: LayerNames):
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
    parts = family(kind).layers
    if parts is None:
        known = ", ".join(sorted(name for name, one in FAMILIES.items() if one.layers))
        raise IncompatibleError(f"the layers of a {kind} are not known; those of {known} are.", "zoo methods")
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
