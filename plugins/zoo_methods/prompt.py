"""Prompt tuning: trained vectors go before the embedded text (Lester et al. 2021, arXiv:2104.08691).

In an encoder they move the text along: the first of them takes the place of the first token, and is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo import IncompatibleError, NotFoundError, PromptMethod, Task, param

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class Prompt(PromptMethod):
    name = "prompt"
    summary = "prompt tuning: trained vectors before the text"
    paper = "Lester et al. 2021, arXiv:2104.08691"
    learning_rate = 3e-2
    peft_type = "PROMPT_TUNING"
    peft_names = {"init": "prompt_tuning_init", "init_text": "prompt_tuning_init_text"}

    @dataclass(frozen=True)
    class Params:
        num_virtual_tokens: int = param(20, "length of the prompt", least=1)
        init: Literal["vocabulary", "random"] = param(
            "vocabulary", "the prompt starts as words drawn from the vocabulary, or as noise"
        )
        init_text: str | None = param(None, "the prompt starts as this text, repeated or cut to its length")

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        start = "RANDOM" if params.init == "random" or params.init_text else "SAMPLE_VOCAB"
        # the text is put in by `attach`
        more = {"prompt_tuning_init": start, "prompt_tuning_init_text": None}
        return super().peft_fields(params, task) | more

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        import torch

        adapted = super().attach(model, params, task, head)
        if params.init_text:
            # not PEFT's way: it keeps the tokenizer's path on this machine, and adds [CLS] and [SEP]
            tokens = _tokens(model, params.init_text, task)
            wanted = [tokens[index % len(tokens)] for index in range(params.num_virtual_tokens)]
            vectors = adapted.word_embeddings.weight
            with torch.no_grad():
                prompt = adapted.prompt_encoder["default"].embedding.weight
                prompt.copy_(vectors[torch.tensor(wanted, device=vectors.device)])
        return adapted


def _tokens(model: nn.Module, text: str, task: Task) -> list[int]:
    try:
        tokenizer = task.load_processor(Path(model.name_or_path))
    except NotFoundError as error:
        raise IncompatibleError(
            f"init_text needs the base's tokenizer: {error}", "without -s init_text"
        ) from error
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not found:
        raise IncompatibleError(
            f"init_text '{text}' has no token in the base's vocabulary.", "-s init_text='Classify this text:'"
        )
    return found
