"""Infers from the tensors of an adapter the sizes of the modules that they were made for.

Every kind of PEFT leaves its mark in the names: `lora_A` is (rank, in), so it pins the inward side of its
module. What pins nothing (a spectrum of a thousand frequencies) only needs its module to exist. As in the
layers of peft 0.21; what a newer one adds is not checked, and the report says so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]
Config = Mapping[str, Any]

IN, OUT = "in", "out"
LEAST = "smaller side"
SUM = "in + out"
NUMBERS = "numbers"
"""At least so many in the matrix."""
ROWS = "rows"
"""At least so many tokens in the embedding."""


@dataclass(frozen=True)
class Pin:
    side: str
    size: int
    tensor: str


@dataclass
class Parts:
    """An adapter's tensors, sorted by what they are."""

    adapted: dict[str, dict[str, Shape]] = field(default_factory=lambda: defaultdict(dict))
    """Module -> parameter of the method -> shape."""
    whole: dict[str, Shape] = field(default_factory=dict)
    """Tensors that take the place of the base's own: heads, biases, whole modules."""
    common: dict[str, Shape] = field(default_factory=dict)
    """What belongs to no module: prompts, projections that all modules share."""


_PREFIXES = ("base_model.model.", "base_model.")
_WRAPPERS = ("base_layer", "token_adapter", "original_module", "modules_to_save", "default")
"""Names that PEFT puts into a path, now or once, and that are no modules of the base."""
_COMMON = (
    "prompt_embeddings",
    "prompt_encoder",
    "prefix_task_cols",
    "prefix_task_rows",
    "vera_A",
    "vera_B",
    "pvera_A",
    "pvera_B",
    "randlora_A",
    "randlora_B",
    "vblora_vector_bank",
    "unilora_theta_d",
    "tinylora_v",
)


def sort_tensors(shapes: Mapping[str, Shape]) -> Parts:
    found = Parts()
    for name, shape in shapes.items():
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name = name[len(prefix) :]
                break
        parts = [part for part in name.split(".") if part not in _WRAPPERS]
        at = next((at for at, part in enumerate(parts) if _is_mark(part)), None)
        if at is None:
            found.whole[".".join(parts)] = shape
        elif at == 0:
            found.common[".".join(parts)] = shape
        elif parts[at] not in _COMMON:  # else a module's copy of what all share
            parameter = ".".join(parts[at:])
            found.adapted[".".join(parts[:at])][parameter.removesuffix(".weight")] = shape
    return found


def _is_mark(part: str) -> bool:
    return part in _RULES or part in _COMMON or part in _MUTE or part.startswith(_KINDS)


def pins(parameters: Mapping[str, Shape], config: Config) -> Iterator[Pin]:
    """What the parameters of one module say of its two sides."""
    for name, shape in parameters.items():
        rule = _RULES.get(name) or _RULES.get(name.partition(".")[0])
        if rule is not None:
            try:
                for side, size in rule(shape, config):
                    yield Pin(side, size, name)
            except (IndexError, TypeError, ValueError):  # not of the shape that peft writes
                yield Pin(SUM, -1, name)
    yield from _kronecker(parameters)


def unchecked(parameters: Mapping[str, Shape]) -> list[str]:
    """Parameters of a kind that this module does not know."""
    return [
        name
        for name in parameters
        if name not in _RULES and (first := name.partition(".")[0]) not in _RULES and first not in _MUTE
    ]


def _kronecker(parameters: Mapping[str, Shape]) -> Iterator[Pin]:
    """LoKr: the sides of the module are the products of those of two factors, whole or in two parts."""
    factors = []
    for name in ("lokr_w1", "lokr_w2"):
        if name in parameters:
            factors.append(parameters[name][:2])
        elif f"{name}_a" in parameters and f"{name}_b" in parameters:
            a, b = parameters[f"{name}_a"], parameters[f"{name}_b"]
            if f"{name.replace('w', 't')}" in parameters:  # of a convolution: both parts begin with the rank
                factors.append((a[1], b[1]))
            else:
                factors.append((a[0], b[1]))
    if len(factors) == 2 and all(len(one) == 2 for one in factors):
        (out_1, in_1), (out_2, in_2) = factors
        yield Pin(OUT, out_1 * out_2, "lokr_w1")
        yield Pin(IN, in_1 * in_2, "lokr_w1")


Sizes = Iterator[tuple[str, int]]


def _dims(**sides: int) -> Callable[[Shape, Config], Sizes]:
    """`_dims(inward=1)`: the second number of the shape is the inward side."""
    names = {"inward": IN, "outward": OUT}

    def rule(shape: Shape, config: Config) -> Sizes:
        for side, at in sides.items():
            yield names[side], shape[at]

    return rule


def _all_out(shape: Shape, config: Config) -> Sizes:
    yield OUT, math.prod(shape)


def _loha_a(shape: Shape, config: Config) -> Sizes:
    yield OUT, shape[1] if _is_effective_conv(shape, config) else shape[0]


def _is_effective_conv(shape: Shape, config: Config) -> bool:
    return bool(config.get("use_effective_conv2d")) and shape[0] == config.get("r") != shape[1]


def _block_grid(shape: Shape, config: Config) -> Sizes:
    """C3A: (out / block, in / block, block)."""
    yield OUT, shape[0] * shape[2]
    yield IN, shape[1] * shape[2]


def _ia3(shape: Shape, config: Config) -> Sizes:
    """(1, in) before a feed-forward matrix, (out, 1) behind another."""
    yield (OUT, shape[0]) if shape[1] == 1 else (IN, shape[1])


def _miss(shape: Shape, config: Config) -> Sizes:
    if config.get("init_weights") == "mini":
        return
    yield OUT, shape[0] * shape[1] if len(shape) == 3 else shape[1]


def _oft(shape: Shape, config: Config) -> Sizes:
    """(in / block, block * (block - 1) / 2), or one block that all share."""
    if len(shape) == 2 and not config.get("block_share"):
        yield IN, shape[0] * (1 + math.isqrt(1 + 8 * shape[1])) // 2


def _road(shape: Shape, config: Config) -> Sizes:
    halves = {"road_1": 1, "road_2": 2, "road_4": 4}.get(str(config.get("variant", "road_1")))
    if halves:
        yield OUT, 2 * shape[0] // halves


def _least(shape: Shape, config: Config) -> Sizes:
    yield LEAST, shape[1]


def _spectrum(shape: Shape, config: Config) -> Sizes:
    yield NUMBERS, shape[0]


def _shira(shape: Shape, config: Config) -> Sizes:
    rank = config.get("r")
    if isinstance(rank, int) and rank > 0 and shape[0] % rank == 0 and not config.get("rank_pattern"):
        yield SUM, shape[0] // rank


def _vblora(side: str, at: int) -> Callable[[Shape, Config], Sizes]:
    def rule(shape: Shape, config: Config) -> Sizes:
        if isinstance(length := config.get("vector_length"), int):
            yield side, shape[at] * length

    return rule


def _tokens(shape: Shape, config: Config) -> Sizes:
    yield OUT, shape[1]
    rows = config.get("token_indices") or config.get("trainable_token_indices") or []
    if isinstance(rows, dict):
        rows = [row for some in rows.values() for row in some]
    if rows and all(isinstance(row, int) for row in rows):
        yield ROWS, max(rows) + 1


_RULES: dict[str, Callable[[Shape, Config], Sizes]] = {
    "lora_A": _dims(inward=1),
    "lora_B": _dims(outward=0),
    "lora_embedding_A": _dims(inward=1),
    "lora_embedding_B": _dims(outward=0),
    "lora_magnitude_vector": _all_out,
    "hira_A": _dims(inward=1),
    "hira_B": _dims(outward=0),
    "hira_embedding_A": _dims(inward=1),
    "hira_embedding_B": _dims(outward=0),
    "delora_A": _dims(inward=1),
    "delora_B": _dims(outward=0),
    "delora_w_norm": _dims(inward=0),
    "gralora_A": lambda shape, config: iter([(IN, shape[0] * shape[1])]),
    "gralora_B": lambda shape, config: iter([(OUT, shape[0] * shape[2])]),
    "gralora_A_general": _dims(inward=1),
    "gralora_B_general": _dims(outward=0),
    "hada_w1_a": _loha_a,
    "hada_w2_a": _loha_a,
    "hada_w1_b": _dims(inward=1),
    "hada_w2_b": _dims(inward=1),
    "c3a_kernel": _block_grid,
    "ia3_l": _ia3,
    "hra_u": _dims(inward=0),
    "miss_block": _miss,
    "oft_R": _oft,
    "boft_R": lambda shape, config: iter([(IN, shape[1] * shape[2])]),
    "boft_s": _all_out,
    "peanut_A": _dims(outward=1),
    "peanut_B": _dims(outward=0),
    "vera_lambda_b": _dims(outward=0),
    "pvera_lambda_b": _dims(outward=0),
    "randlora_gamma": _least,
    "road_theta": _road,
    "road_alpha": _road,
    "shira_weight": _shira,
    "fourierft_spectrum": _spectrum,
    "waveft_spectrum": _spectrum,
    "tinylora_A": _dims(inward=1),
    "tinylora_B": _dims(outward=0),
    "vblora_logits_A": _vblora(IN, 1),
    "vblora_logits_B": _vblora(OUT, 0),
    "beft_bias": _all_out,
    "deft_P": _dims(outward=0),
    "deft_R": _dims(inward=1),
    "poly_lora_A": lambda shape, config: iter([(IN, shape[1] * shape[2])]),
    "poly_lora_B": lambda shape, config: iter([(OUT, shape[1] * shape[3])]),
    "lily_A": _dims(inward=1),
    "trainable_tokens_delta": _tokens,
    "ln_tuning_layers": _all_out,
    "adapter.down": _dims(outward=1),
    "adapter.up": _dims(outward=0),
    "adapter.up.bias": _dims(outward=0),
}
"""Parameter (without a last `.weight`) -> what its shape says of its module."""
_MUTE = {
    "adapter",
    "lora_E",
    "ranknum",
    "hada_t1",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
    "delora_lambda",
    "oft_embedding_R",
    "peanut_encoders",
    "peanut_decoders",
    "psoft_R",
    "pvera_lambda_d",
    "vera_lambda_d",
    "randlora_lambda",
    "shira_indices",
    "tinylora_P",
    "adaption_prompt",
    "adaption_gate",
}
"""Parameters of which no size comes from the module."""
_KINDS = ("frod_", "glora_", "osf_", "supertuning_", "adamss_", "lily_", "poly_", "shadow_", "lora_")
"""How the names of kinds begin whose shapes are not known here."""
