"""How a model's arithmetic is done: the type its frozen weights are held in, its dropout, its attention.

Nothing here changes what is computed beyond rounding, and nothing asks which method or task it serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import TYPE_CHECKING, Any

from zoo.models import cpu_attention, dropout
from zoo.runtime.device import device

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def settle(model: nn.Module, precision: str) -> None:
    """Make ready to train in `precision`, for good: see `hold` for what is rounded."""
    if precision == "bf16":
        hold(model)
    fit_cpu(model, precision)


def fit_cpu(model: nn.Module, precision: str) -> None:
    """Swap in the attention, the random numbers and the LSTM that suit a CPU; PyTorch's own suit a GPU.

    An LSTM computes in float32: oneDNN has none in bf16 for processors without AVX-512.
    """
    if device().type != "cpu":
        return
    from torch import nn

    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = dropout.dropout_class()
        elif isinstance(module, nn.RNNBase):
            module.forward = MethodType(forward, module)
    if precision == "bf16":
        cpu_attention.use(model)


def hold(model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """Keep frozen float32 matrices in bfloat16, once, instead of casting them in every step.

    Autocast rounds those of products just so, before each product. The embeddings go along, and with them the
    residual stream: in float32 it would be cast before every product that reads it. Norms and biases stay
    float32, and so does all that is trained. What PEFT would cast up before an adapter stays as it is:
    autocast casts the adapter.

    Returns:
        Each parameter with what it held before.
    """
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    before = []
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
        if not isinstance(module, (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv1D)):
            continue
        for value in module.parameters(recurse=False):
            if not value.requires_grad and value.dtype == torch.float32 and value.dim() > 1:
                before.append((value, value.data))
                value.data = value.data.to(torch.bfloat16)
    return before


@contextmanager
def held(model: nn.Module, precision: str) -> Iterator[None]:
    """`hold`, and everything exactly as before afterwards: for measuring a model that goes on to live."""
    if precision != "bf16":
        yield
        return
    casting = [module for module in model.modules() if getattr(module, "cast_input_dtype_enabled", False)]
    before = hold(model)
    try:
        yield
    finally:
        for value, data in before:
            value.data = data
        for module in casting:
            module.cast_input_dtype_enabled = True


def autocast(place: torch.device, precision: str) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast(place.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def silence_dropout(backbone: nn.Module) -> None:
    """Turn off every dropout of a backbone that will be frozen. Call it before an adapter brings its own.

    Noise in frozen weights regularises nothing that is trained, and on a CPU it costs more than the
    arithmetic: it keeps attention off its fast path.
    """
    from torch import nn

    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            # transformers keeps some rates as plain attributes: attention_dropout, layerdrop, dropout_prob
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def forward(recurrent: Any, input: Tensor, *state: Any) -> Any:
    """`forward` of a recurrent network in its weights' type; so called, a pickle of it is PyTorch's own."""
    import torch

    with torch.autocast(input.device.type, enabled=False):
        return type(recurrent).forward(recurrent, input.to(recurrent.weight_ih_l0.dtype), *state)
