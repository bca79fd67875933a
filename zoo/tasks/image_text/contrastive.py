"""The symmetric contrastive loss of CLIP (Radford et al. 2021, arXiv:2103.00020), with several right answers.

A label says which picture and which caption a pair is made of, both as numbers, so that a caption that two
pictures share, or a picture with two captions in one batch, is a right answer wherever it occurs and never
counted as a wrong one. Where every picture and caption occurs once this is CLIP's loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_PLACES = 32
"""Bits of a label that number the caption; those above number the picture."""


def label(picture: int, caption: int) -> int:
    return picture << _PLACES | caption


def parts(labels: Any) -> tuple[Any, Any]:
    """The numbers of pictures and captions, of a tensor, an array or one label."""
    return labels >> _PLACES, labels & ((1 << _PLACES) - 1)


def distinct(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Positions at which a number first occurs, shape (distinct,), and each number's place among them."""
    import torch

    rows = torch.arange(len(numbers), device=numbers.device)
    first = (numbers[:, None] == numbers[None]).int().argmax(1)
    is_first = first == rows
    return rows[is_first], (is_first.cumsum(0) - 1)[first]


def right_answers(labels: Tensor) -> Tensor:
    """Which of the batch's distinct pictures each pair's caption belongs to: booleans (pictures, pairs)."""
    pictures, captions = parts(labels)
    firsts, _ = distinct(pictures)
    of_picture = pictures[firsts][:, None] == pictures[None]
    same_caption = captions[:, None] == captions[None]
    return (of_picture.float() @ same_caption.float()) > 0


def contrastive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over the pairs of a batch of half the cross-entropies in both directions.

    Args:
        logits: similarities by the temperature, (distinct pictures, pairs).
        labels: of the pairs, (pairs,).
    """
    right = right_answers(labels).to(logits.dtype)
    _, places = distinct(parts(labels)[0])
    of_pictures = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    of_captions = -(logits.log_softmax(0) * right).sum(0) / right.sum(0)
    return (of_pictures[places].sum() + of_captions.sum()) / 2


def compute_in_parts(towers: list[nn.Module], rows: int) -> None:
    """Let each tower train on `rows` inputs at a time, computing each part again for its gradients.

    The contrast is still that of the whole batch, and so are the gradients, while the memory is that of one
    part: gradient caching (Gao et al. 2021, arXiv:2101.06983).
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
        # the Trainer passes the number of items on to a model that takes any argument: it has no rows
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
