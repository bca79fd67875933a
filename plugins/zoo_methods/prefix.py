"""Prefix tuning: trained keys and values before the text, in every layer (Li & Liang 2021, arXiv:2101.00190).

With `projection` a small network makes them while they are trained; what is saved is always the keys and
values themselves, num_virtual_tokens x 2 x layers x width numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import IncompatibleError, PromptMethod, Task, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class Prefix(PromptMethod):
    name = "prefix"
    summary = "prefix tuning: trained keys and values before the text, in every layer"
    paper = "Li & Liang 2021, arXiv:2101.00190"
    learning_rate = 1e-2
    peft_type = "PREFIX_TUNING"
    peft_names = {"projection": "prefix_projection"}

    @dataclass(frozen=True)
    class Params:
        num_virtual_tokens: int = param(20, "length of the prefix", least=1)
        projection: bool = param(False, "a small network makes the prefix while it is trained")
        encoder_hidden_size: int = param(128, "width of that network", least=1)

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        width = params.encoder_hidden_size if params.projection else None
        return super().peft_fields(params, task) | {"encoder_hidden_size": width}

    def fit(self, config: Any, model: nn.Module) -> None:
        backbone = getattr(model, model.base_model_prefix)
        if "past_key_values" not in inspect.signature(backbone.forward).parameters:
            reason = "its attention takes no keys and values beside the text's"
            raise self.does_not_fit(model, reason, "prompt instead of prefix")
        super().fit(config, model)
        config.token_dim = model.config.get_text_config().hidden_size  # PEFT divides it among shared heads

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        adapted = super().attach(model, params, task, head)
        # checkpointed layers drop the cache that holds the prefix, and would train without it, saying nothing
        adapted.gradient_checkpointing_enable = _refuse_checkpointing
        adapted.activation_checkpointing_enable = _refuse_checkpointing
        return adapted


def _refuse_checkpointing(*args: Any, **kwargs: Any) -> None:
    raise IncompatibleError(
        "prefix: layers that are computed again for the backward pass forget the prefix.",
        "without --gradient-checkpointing",
    )
