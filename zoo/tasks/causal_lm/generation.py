"""Generates answers of a chat model, streamed where a callback is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.models.precision import autocast
from zoo.runtime.device import device
from zoo.tasks.causal_lm.chat_template import prompt_ids
from zoo.tasks.causal_lm.conversations import Message

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. A temperature of 0 is greedy decoding."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 0.95
    """Nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751); unused at temperature 0."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens must be at least 1, got {self.max_new_tokens}.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p must be above 0 and at most 1, got {self.top_p:g}.")
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"--temperature must be 0 or more, got {self.temperature:g}.")

    def options(self) -> dict[str, Any]:
        if self.temperature == 0:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}


def answer(
    model: nn.Module,
    tokenizer: Any,
    messages: Sequence[Message],
    sampling: Sampling,
    precision: str,
    on_text: Callable[[str], None] | None = None,
) -> str:
    """The model's next message in the conversation.

    `on_text` is called with each piece of text as it is generated; Ctrl-C then ends the answer and not the
    program. A conversation that does not fit into the model's positions loses its beginning.
    """
    import torch

    place = device()
    model.to(place).eval()
    ids = prompt_ids(messages, tokenizer)[-room(model, sampling) :]
    given = torch.tensor([ids], device=place)
    streamer = _streamer(tokenizer, on_text) if on_text else None
    try:
        with torch.inference_mode(), autocast(place, precision):
            found = model.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=_ends(model, tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                use_cache=True,
                streamer=streamer,
                **sampling.options(),
            )
    except KeyboardInterrupt:
        if streamer is None:
            raise
        streamer.end()
        return str(streamer.generated)
    text: str = tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True)
    return text.strip()


def room(model: nn.Module, sampling: Sampling) -> int:
    """Tokens that are left for the prompt in the model's positions.

    Raises:
        UsageError: the answer alone takes all positions.
    """
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if most is None:
        return 1 << 30
    left = int(most) - sampling.max_new_tokens
    if left < 1:
        raise UsageError(
            f"--max-new-tokens {sampling.max_new_tokens} leaves no room for a prompt "
            f"in the {most} positions of the base.",
            f"--max-new-tokens {most // 2}",
        )
    return left


def _ends(model: nn.Module, tokenizer: Any) -> list[int] | None:
    """The tokens that end an answer: the model's EOS tokens and the tokenizer's."""
    config = getattr(model, "generation_config", None)
    named = getattr(config, "eos_token_id", None)
    found = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id} - {None}
    return sorted(found) or None


def _streamer(tokenizer: Any, on_text: Callable[[str], None]) -> Any:
    """Defined in a function because its base class imports torch."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):
        generated = ""

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            self.generated += text
            on_text(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
