"""Computes CLIP's symmetric contrastive loss (Radford et al. 2021, arXiv:2103.00020) with several positives.

A label holds the numbers of a pair's picture and caption, so a caption that two pictures share, or a picture
with two captions in one batch, is a positive wherever it occurs and never a negative. Where every picture and
caption occurs once, this is CLIP's loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_PLACES = 32
"""Bits of a label for the caption's number; the bits above are the picture's."""


def label(picture: int, caption: int) -> int:
    return picture << _PLACES | caption


def parts(labels: Any) -> tuple[Any, Any]:
    """The numbers of pictures and captions, of a tensor, an array or one label."""
    return labels >> _PLACES, labels & ((1 << _PLACES) - 1)


def distinct(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of first occurrences, shape (distinct,), and each number's index among them, shape (n,)."""
    import torch

    rows = torch.arange(len(numbers), device=numbers.device)
    first = (numbers[:, None] == numbers[None]).int().argmax(1)
    is_first = first == rows
    return rows[is_first], (is_first.cumsum(0) - 1)[first]


def right_answers(labels: Tensor) -> Tensor:
    """Whether each distinct picture has each pair's caption, booleans of shape (pictures, pairs)."""
    pictures, captions = parts(labels)
    firsts, _ = distinct(pictures)
    of_picture = pictures[firsts][:, None] == pictures[None]
    same_caption = captions[:, None] == captions[None]
    return (of_picture.float() @ same_caption.float()) > 0


def contrastive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over the pairs of the mean of both directions' cross-entropies.

    Args:
        logits: similarities divided by the temperature, (distinct pictures, pairs).
        labels: of the pairs, (pairs,).
    """
    right = right_answers(labels).to(logits.dtype)
    _, places = distinct(parts(labels)[0])
    of_pictures = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    of_captions = -(logits.log_softmax(0) * right).sum(0) / right.sum(0)
    return (of_pictures[places].sum() + of_captions.sum()) / 2


def compute_in_parts(towers: list[nn.Module], rows: int) -> None:
    """Make each encoder train on `rows` inputs at a time, recomputing each part for its gradients.

    Loss and gradients are those of the whole batch, with the memory of one part: gradient caching (Gao et al.
    2021, arXiv:2101.06983).
    """
    for tower in towers:
        tower.__dict__.pop("forward", None)
        tower.__dict__["forward"] = _in_parts(tower.forward, rows)


def _in_parts(whole: Callable[..., Any], rows: int) -> Callable[..., Any]:
    import torch
    from torch.utils.checkpoint import checkpoint

    def pooled(**inputs: Any) -> Tensor:
        found: Tensor = whole(**inputs).pooler_output
        return found

    def forward(*args: Any, **inputs: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        if args or not torch.is_grad_enabled():
            return whole(*args, **inputs)
        # the Trainer passes the number of items to models that take any argument: it has no rows
        tensors = {
            name: value
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor) and value.dim() > 0
        }
        others = {name: value for name, value in inputs.items() if name not in tensors}
        several = zip(*(value.split(rows) for value in tensors.values()), strict=True)
        found = [
            checkpoint(pooled, use_reentrant=False, **dict(zip(tensors, part, strict=True)), **others)
            for part in several
        ]
        return BaseModelOutputWithPooling(pooler_output=torch.cat(found))

    return forward
