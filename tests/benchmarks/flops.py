"""The arithmetic that training a model on a text needs, counted by asking autograd what it will do.

One forward pass over a text of n tokens says of every linear layer (in -> out, over R rows: n, or 1 after
pooling) which gradients its backward pass needs:

    forward                           2 R in out
    gradient of its input             2 R in out   if the input needs one: not below the first adapted layer
    gradient of its weight            2 R in out   if the weight is trained

and of the attention of each layer (q heads of width d, so w = heads * d; half of it where it is causal):

    scores q k', weighted values p v  2 n n w each
    gradient of p, of v               2 n n w each   if v's projection needs one (p: if q's or k's does)
    gradient of q, of k               2 n n w each   if its projection needs one

Padding is not counted, nor what a kernel computes twice, nor softmax, norms and activations: a share of peak
made of this is the share that went into the model itself.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "q_proj": "q", "k_proj": "k", "v_proj": "v"}
_PROBE = 7
"""Tokens of the text that is tried: any number but 1."""
_PATIENCE = 5.0
"""Seconds for one size of product."""


@dataclass(frozen=True)
class TrainingFlops:
    per_token: float
    per_text: float
    per_token_squared: float

    def of(self, lengths: Iterable[int]) -> float:
        return sum(
            self.per_text + self.per_token * n + self.per_token_squared * n * n for n in map(float, lengths)
        )


def count(model: nn.Module, *, causal: bool = False) -> TrainingFlops:
    """Of forward and backward, with gradients as `requires_grad` of the model's parameters asks for them."""
    import torch
    from torch import nn

    config: Any = model.config
    linear: dict[bool, float] = defaultdict(float)
    projections: dict[str, dict[str, bool]] = defaultdict(dict)

    def on_linear(module: Any, inputs: Any, output: Any) -> None:
        rows = inputs[0].numel() // inputs[0].shape[-1]
        passes = 1 + (inputs[0].requires_grad and output.requires_grad) + module.weight.requires_grad
        linear[rows > 1] += passes * 2.0 * module.weight.numel()

    def on_projection(parent: str, part: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            projections[parent][part] = output.requires_grad

        return hook

    hooks = []
    for name, module in model.named_modules():
        parent, _, last = name.rpartition(".")
        if isinstance(module, nn.Linear):
            hooks.append(module.register_forward_hook(on_linear))
        if last in _PROJECTIONS:  # of an adapted one the whole: base and update
            hooks.append(module.register_forward_hook(on_projection(parent, _PROJECTIONS[last])))
    place = next(model.parameters()).device
    tokens = torch.ones(1, _PROBE, dtype=torch.long, device=place)
    training = model.training
    try:
        with torch.enable_grad():
            model.eval()(input_ids=tokens)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    width = config.num_attention_heads * (getattr(config, "head_dim", None) or _head_width(config))
    squared = 0.0
    for needs in projections.values():
        gradients = [needs["v"], needs["q"] or needs["k"], needs["q"], needs["k"]]
        squared += (2 + sum(gradients)) * 2.0 * width
    if len(projections) != config.num_hidden_layers:
        raise ValueError(f"found {len(projections)} attentions in {config.num_hidden_layers} layers")
    return TrainingFlops(linear[True], linear[False], squared / 2 if causal else squared)


def _head_width(config: Any) -> int:
    return int(config.hidden_size // config.num_attention_heads)


def matmul_peak(dtype: Any, sizes: Iterable[tuple[int, int, int]], repeats: int = 7) -> dict[str, float]:
    """FLOP/s of `(m, k) @ (k, n)` for each size: the median of the repeats, after one not counted.

    Where a product is slow (bf16 on hardware without it) it is repeated less.
    """
    import torch

    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {}
    for m, k, n in sizes:
        left, right = (torch.randn(shape, device=place).to(dtype) for shape in ((m, k), (k, n)))
        result = torch.empty(m, n, device=place, dtype=dtype)
        times: list[float] = []
        begun = time.perf_counter()
        for number in range(repeats + 1):
            start = time.perf_counter()
            torch.mm(left, right, out=result)
            if place.type == "cuda":
                torch.cuda.synchronize()
            if number:
                times.append(time.perf_counter() - start)
            if times and time.perf_counter() - begun > _PATIENCE:
                break
        found[f"{m}x{k}x{n}"] = 2.0 * m * k * n / statistics.median(times)
    return found
