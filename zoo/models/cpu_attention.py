"""Attention for bf16 on a CPU: plain matrix products where PyTorch's fused kernel is slow.

The fused kernel keeps the scores out of memory. On a CPU that buys nothing for texts of some hundred tokens,
and its bf16 backward pass runs at a tenth of the speed of the matrix products it consists of (measured:
tests/benchmarks/README.md). Where the scores would be large, or the arithmetic is not bf16, the call goes to
the fused kernel unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.models.dropout import drop

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "zoo_matmul"
MOST_BYTES = 64 << 20
"""Scores of one layer kept for the backward pass, four times as much where none is kept."""
_UNUSUAL = ("position_bias", "softcap", "cache", "s_aux")
"""Extras of single architectures, which the fused kernel's wrapper knows how to treat or to refuse."""


def use(model: nn.Module) -> None:
    """Let a transformers model call `attend` instead of the fused kernel. Other models are left alone."""
    from transformers import AttentionInterface, PreTrainedModel
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    for module in model.modules():
        if (
            isinstance(module, PreTrainedModel)
            and module.config._attn_implementation == "sdpa"
            and module._can_set_attn_implementation()
        ):
            module.set_attn_implementation({"": NAME})  # this one: a part of it may have its own


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **extras: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention, as transformers calls it.

    Args:
        query: (batch, heads, queries, size).
        key, value: (batch, key-value heads, keys, size); fewer heads than the query's are shared (GQA).
        attention_mask: (batch or 1, 1, queries, keys): True where a query sees a key, or what is added.

    Returns:
        (batch, queries, heads, size), and no weights.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    batch, heads, queries, size = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    if (
        query.dtype != torch.bfloat16
        or not key.dtype == value.dtype == query.dtype
        or query.device.type != "cpu"
        or batch * heads * queries * keys * 2 > MOST_BYTES * (1 if torch.is_grad_enabled() else 4)
        or key.shape[0] != batch
        or any(extras.get(name) is not None for name in _UNUSUAL)
    ):
        # the wrapper decides by its own rules when the mask is None
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **extras
        )
        return result
    if attention_mask is None and causal and queries > 1:
        attention_mask = torch.ones(queries, keys, dtype=torch.bool).tril()[None, None]
    shared = heads // kv_heads
    groups = batch * kv_heads
    scores = torch.baddbmm(
        query.new_zeros(()),
        query.reshape(groups, shared * queries, size),
        key.reshape(groups, keys, size).transpose(1, 2),
        beta=0,
        alpha=size**-0.5 if scaling is None else scaling,
    )
    if attention_mask is not None:
        # in place: an addition asks nothing of the backward pass
        scores.view(batch, heads, queries, keys).add_(_as_bias(attention_mask, scores.dtype))
    weights = drop(scores.softmax(-1), dropout)
    mixed = torch.bmm(weights, value.reshape(groups, keys, value.shape[-1]))
    return mixed.view(batch, heads, queries, -1).transpose(1, 2).contiguous(), None


def _as_bias(mask: Tensor, dtype: Any) -> Tensor:
    import torch

    if mask.stride(2) == 0:
        mask = mask[:, :, :1]  # the same for every query: one row says it
    least = torch.finfo(dtype).min  # not -inf: a row that sees nothing would be NaN
    if mask.dtype != torch.bool:
        return mask.to(dtype).clamp(min=least)
    return torch.zeros((), dtype=dtype).where(mask, least)
