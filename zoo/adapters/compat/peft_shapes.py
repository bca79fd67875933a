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

from zoo.models.safetensors_header import Shape

Config = Mapping[str, Any]

IN, OUT = "in", "out"
LEAST = "smaller side"
SUM = "in + out"
NUMBERS = "numbers"
"""At least so many in the matrix."""
ROWS = "rows"
"""At least so many tokens in the embedding."""


@dataclass
class Parts:
    """An adapter's tensors, sorted by what they are."""

    adapted: dict[str, dict[str, Shape]] = field(default_factory=lambda: defaultdict(dict))
    """Module -> parameter of the method -> shape."""
    whole: dict[str, Shape] = field(default_factory=dict)
    """Tensors that take the place of the base's own: heads, biases, whole modules."""
    common: dict[str, Shape] = field(default_factory=dict)
    """What belongs to no module: prompts, projections that all modules share."""


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
        bare = name.removeprefix("base_model.model.").removeprefix("base_model.")
        parts = [part for part in bare.split(".") if part not in _WRAPPERS]
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


def pins(parameters: Mapping[str, Shape], config: Config) -> Iterator[tuple[str, int, str]]:
    """What the parameters of one module say of its two sides: (side, size, parameter)."""
    for name, shape in parameters.items():
        rule = _RULES.get(name) or _RULES.get(name.partition(".")[0])
        if rule is not None:
            try:
                for side, size in rule(shape, config):
                    yield side, size, name
            except (IndexError, TypeError, ValueError):  # not of the shape that peft writes
                yield SUM, -1, name
    yield from _kronecker(parameters)


def unchecked(parameters: Mapping[str, Shape]) -> list[str]:
    """Parameters of a kind that this module does not know."""
    return [
        name
        for name in parameters
        if name not in _RULES and (first := name.partition(".")[0]) not in _RULES and first not in _MUTE
    ]


def _kronecker(parameters: Mapping[str, Shape]) -> Iterator[tuple[str, int, str]]:
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
        yield OUT, out_1 * out_2, "lokr_w1"
        yield IN, in_1 * in_2, "lokr_w1"


Sizes = Iterator[tuple[str, int]]


def _axes(side: str, *axes: int) -> Callable[[Shape, Config], Sizes]:
    """`_axes(IN, 1)`: the second number of the shape is the inward side; of several, their product is."""

    def rule(shape: Shape, config: Config) -> Sizes:
        yield side, math.prod(shape[at] for at in axes)

    return rule


def _loha_a(shape: Shape, config: Config) -> Sizes:
    is_conv = config.get("use_effective_conv2d") and shape[0] == config.get("r") != shape[1]
    yield OUT, shape[1] if is_conv else shape[0]


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


_SECOND_IS_IN = (
    *("lora_A", "lora_embedding_A", "hira_A", "hira_embedding_A", "delora_A", "gralora_A_general"),
    *("hada_w1_b", "hada_w2_b", "deft_R", "tinylora_A", "lily_A"),
)
_FIRST_IS_OUT = (
    *("lora_B", "lora_embedding_B", "hira_B", "hira_embedding_B", "delora_B", "gralora_B_general"),
    *("peanut_B", "vera_lambda_b", "pvera_lambda_b", "tinylora_B", "deft_P", "adapter.up", "adapter.up.bias"),
)
_ALL_ARE_OUT = ("lora_magnitude_vector", "boft_s", "beft_bias", "ln_tuning_layers")
_RULES: dict[str, Callable[[Shape, Config], Sizes]] = {
    **dict.fromkeys(_SECOND_IS_IN, _axes(IN, 1)),
    **dict.fromkeys(_FIRST_IS_OUT, _axes(OUT, 0)),
    **dict.fromkeys(_ALL_ARE_OUT, lambda shape, config: iter([(OUT, math.prod(shape))])),
    **dict.fromkeys(("delora_w_norm", "hra_u"), _axes(IN, 0)),
    **dict.fromkeys(("peanut_A", "adapter.down"), _axes(OUT, 1)),
    **dict.fromkeys(("hada_w1_a", "hada_w2_a"), _loha_a),
    **dict.fromkeys(("road_theta", "road_alpha"), _road),
    **dict.fromkeys(("fourierft_spectrum", "waveft_spectrum"), _axes(NUMBERS, 0)),
    "gralora_A": _axes(IN, 0, 1),
    "gralora_B": _axes(OUT, 0, 2),
    "c3a_kernel": _block_grid,
    "ia3_l": _ia3,
    "miss_block": _miss,
    "oft_R": _oft,
    "boft_R": _axes(IN, 1, 2),
    "randlora_gamma": _axes(LEAST, 1),
    "shira_weight": _shira,
    "vblora_logits_A": _vblora(IN, 1),
    "vblora_logits_B": _vblora(OUT, 0),
    "poly_lora_A": _axes(IN, 1, 2),
    "poly_lora_B": _axes(OUT, 1, 3),
    "trainable_tokens_delta": _tokens,
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
