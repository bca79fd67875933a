"""Makes a method of PEFT's that puts trained vectors before the text a plugin."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.plugins.peft_method import PeftMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.tasks.base import Task


class PromptMethod(PeftMethod):
    """Trained vectors before the text. Params has `num_virtual_tokens`."""

    unmergeable = "its prompts are inputs, not weights of the base"

    def refuses(self, task: Task, params: Any) -> str | None:
        if task.peft_type in ("SEQ_CLS", "CAUSAL_LM"):
            return None
        return f"its prompts go before the text of one language model, and {task.name} has none"

    def virtual_tokens(self, params: Any) -> int:
        return int(params.num_virtual_tokens)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        import torch

        encoder = model.prompt_encoder[model.active_adapter]
        if encoder.embedding.weight.is_meta:
            # only sizes are wanted; PEFT would move what has no content to the CPU
            tokens = torch.arange(encoder.embedding.num_embeddings, device="meta")
            model.get_prompt_embedding_to_save = lambda adapter: encoder(tokens[None])[0]
        return super().state(model)

    def usage(self) -> str:
        # zoo does it for padded batches too, see _padding_first
        return f"{super().usage()}  # with a decoder that classifies: one text at a time"

    def fit(self, config: Any, model: nn.Module) -> None:
        shape = model.config.get_text_config()
        if shape.is_encoder_decoder:
            raise self.does_not_fit(model, "its texts have an encoder and a decoder")
        # PEFT reads these under the names that most model types give them; transformers knows all names
        config.num_layers, config.num_attention_heads = shape.num_hidden_layers, shape.num_attention_heads
        config.token_dim = model.get_input_embeddings().weight.shape[1]

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        return _padding_first(super().attach(model, params, task, head))

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        return _padding_first(super().restore(model, folder, params, task))


def _padding_first(adapted: nn.Module) -> nn.Module:
    """Let a decoder that classifies see each text's padding before the prompt and not after the text.

    It reads the last token. Of embeddings, which is what a prompt makes of a text, it cannot tell which are
    padding, so it would read the last of them. In front it also leaves prompt and text side by side.
    """
    from transformers.models.auto import modeling_auto as known

    decoders = known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - known.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if adapted.active_peft_config.task_type != "SEQ_CLS" or adapted.config.model_type not in decoders:
        return adapted
    places = "position_ids" in inspect.signature(adapted.base_model.forward).parameters

    def move(model: nn.Module, args: Any, given: dict[str, Any]) -> Any:
        embeds, mask = given.get("inputs_embeds"), given.get("attention_mask")
        if embeds is None or mask is None:
            return None
        order = mask.argsort(dim=1, stable=True)
        mask = mask.gather(1, order)
        embeds = embeds.gather(1, order[:, :, None].expand_as(embeds))
        found = {**given, "inputs_embeds": embeds, "attention_mask": mask}
        if places:
            found["position_ids"] = mask.long().cumsum(1).sub(1).clamp(min=0)
        return args, found

    adapted.base_model.register_forward_pre_hook(move, with_kwargs=True)
    return adapted
