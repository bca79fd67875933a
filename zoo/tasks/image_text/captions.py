"""Tokenizes captions, truncated and padded as the model was pretrained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def tokens(texts: Sequence[str], processor: Any, max_length: int) -> Iterator[dict[str, Any]]:
    """Each text's tokens, truncated before the EOS token, from which CLIP takes its embedding."""
    columns = processor.tokenizer(list(texts), verbose=False) if texts else {}
    for values in zip(*columns.values(), strict=True):
        cut = len(values[0]) > max_length
        if cut:
            values = tuple([*value[: max_length - 1], value[-1]] for value in values)
        yield {**dict(zip(columns, values, strict=True)), "cut": int(cut)}


def padded(encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
    tokenizer = processor.tokenizer
    names = [name for name in tokenizer.model_input_names if name in encoded[0]]
    # a model without an attention mask was pretrained with padding to the full length
    whole = "attention_mask" not in names
    return dict(
        tokenizer.pad(
            {name: [one[name] for one in encoded] for name in names},
            padding="max_length" if whole else True,
            max_length=tokenizer.model_max_length if whole else None,
            return_attention_mask=not whole,
            return_tensors="pt",
        )
    )
