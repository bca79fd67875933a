"""Reads what a base is made of: its modules, the two sides of each matrix, the sizes that its config names.

Read from headers of safetensors and from config.json alone. A base whose weights are not on this disk is
drawn up from its config where the family is known, and is else known by a few sizes only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from zoo.models.families import draw, family
from zoo.models.fingerprint import has_weights, read_config, weight_files
from zoo.models.safetensors_header import Shape, read_headers

_SIZES = {
    "hidden": ("hidden_size", "d_model", "n_embd", "dim"),
    "vocab": ("vocab_size",),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "key/value heads": ("num_key_value_heads",),
    "intermediate": ("intermediate_size", "d_ff", "n_inner", "hidden_dim", "ffn_dim", "encoder_ffn_dim"),
}
"""What a size is called here, and what the configs of the model types call it."""
_TIED = ("lm_head", "cls.predictions.decoder", "output_projection")
"""Output layers that share the embedding's weights, so that no file holds them."""
_EMBEDDINGS = ("embed_tokens", "word_embeddings", "wte", "shared", "tok_embeddings", "embed_in")
_LOOKED_UP = (*_EMBEDDINGS, "wpe", "position_embeddings", "token_type_embeddings")
"""Modules that give the rows of their matrix."""
_OLD_NAMES = {"weight": "gamma", "bias": "beta"}
"""What the oldest checkpoints call the parameters of a norm."""


@dataclass(frozen=True)
class Sides:
    """A module's matrix as far as it is known: a quantised one may tell no more than its count of numbers."""

    shape: Shape | None
    """As plain weights would be."""
    inward: int | None = None
    outward: int | None = None
    numbers: int | None = None


@dataclass(frozen=True)
class Base:
    config: Mapping[str, Any]
    tensors: Mapping[str, Shape]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    drawn: bool = False
    """Made up from the config: no weights are here."""

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", "unknown"))

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Name -> size, of the language model where there are several towers."""
        inner = self.config.get("text_config")
        config = {**self.config, **inner} if isinstance(inner, dict) else self.config
        found = {}
        for name, keys in _SIZES.items():
            value = next((config[key] for key in keys if _is_size(config.get(key))), None)
            if value is not None:
                found[name] = value
        hidden, heads = found.get("hidden"), found.get("heads")
        if "vocab" in found and (rows := self._rows_of_embedding()):
            found["vocab"] = rows  # a resized vocabulary is what is there, whatever the config says
        if hidden and heads:
            width = config["head_dim"] if _is_size(config.get("head_dim")) else hidden // heads
            found["key/value"] = found.get("key/value heads", heads) * width
        return found

    @cached_property
    def widths(self) -> set[int]:
        """Every width that a state of this model may have: what a new head may read."""
        norms = {shape[0] for name, shape in self.tensors.items() if len(shape) == 1 and ".weight" in name}
        names = ("hidden_size", "d_model", "n_embd", "dim", "projection_dim", "word_embed_proj_dim")
        configs = [self.config, *(one for one in self.config.values() if isinstance(one, dict))]
        return norms | {config[name] for config in configs for name in names if _is_size(config.get(name))}

    @cached_property
    def modules(self) -> dict[str, dict[str, Shape]]:
        """Module -> its own parameters."""
        found: dict[str, dict[str, Shape]] = defaultdict(dict)
        for name, shape in self.tensors.items():
            # bitsandbytes keeps its scales beside a weight, as `q_proj.weight.absmax`
            before, scale, _ = name.partition(".weight.")
            module, _, parameter = (f"{before}.weight" if scale else name).rpartition(".")
            found[module].setdefault(parameter, shape)
        return dict(found)

    @cached_property
    def _by_anchor(self) -> dict[str, list[str]]:
        every = dict.fromkeys(self.modules)
        for module in self.modules:
            while module := module.rpartition(".")[0]:  # the modules that hold modules
                every[module] = None
        found = defaultdict(list)
        for module in every:
            found[_anchor(module)].append(module)
        return dict(found)

    def find(self, module: str) -> str | None:
        """The module of this base that `module` means, whatever comes before its layers in either name.

        A model with a head calls `bert.encoder.layer.0` what the body's own file calls `encoder.layer.0`.
        """
        if module in self.modules:
            return module
        wanted = module.split(".")
        found = [
            one for one in self._by_anchor.get(_anchor(module), ()) if _is_same_place(one.split("."), wanted)
        ]
        return max(found, key=lambda one: _common_tail(one.split("."), wanted), default=None)

    def parameter(self, module: str, name: str) -> Shape | None:
        own = self.modules.get(module, {})
        return own.get(name) or own.get(_OLD_NAMES.get(name, name))

    def sides(self, module: str) -> Sides | None:
        """Of a module that `find` gave; None where it has no matrix and no vector of its own."""
        own = self.modules.get(module)
        if own is None:
            return None
        if "qweight" in own:
            return self._packed(own["qweight"])
        shape = own.get("weight") or own.get("gamma")
        if shape is None:
            return Sides(None) if own else None
        if self.dtypes.get(f"{module}.weight") in ("U8", "I8") and len(shape) == 2 and shape[1] == 1:
            return Sides(None, numbers=2 * shape[0])  # two numbers of four bits in a byte
        if len(shape) == 1:
            return Sides(shape, shape[0], shape[0], shape[0])
        outward, inward = shape[0], shape[1]
        is_embedding = module.rpartition(".")[2] in _LOOKED_UP
        if is_embedding or (family(self.model_type).transposed and self.tied(module) is None):
            outward, inward = inward, outward
        if len(shape) > 2:  # a convolution: of how many groups, its weights do not tell
            return Sides(shape, None, outward)
        return Sides(shape, inward, outward, math.prod(shape))

    @cached_property
    def embedding(self) -> str | None:
        """The module of the input tokens."""
        return next((one for one in self.modules if one.rpartition(".")[2] in _EMBEDDINGS), None)

    def tied(self, module: str) -> str | None:
        """The module whose weights an output layer shares, if `module` is such a one."""
        return self.embedding if module.rpartition(".")[2] in _TIED or module in _TIED else None

    @cached_property
    def depths(self) -> dict[str, int]:
        return depths_of(self.modules)

    def depth_for(self, module: str) -> int | None:
        """How many layers there are where `module` would be; None where the first has no such module."""
        parts = module.split(".")
        at = _number_at(parts)
        there = self.find(".".join([*parts[:at], "0", *parts[at + 1 :]])) if at else None
        return self.depths.get(stack_of(there)) if there else None

    @cached_property
    def matrices(self) -> list[str]:
        """The last names of the matrices inside the layers, in their order."""
        return list(
            dict.fromkeys(
                module.rpartition(".")[2]
                for module, own in self.modules.items()
                if _number_at(module.split(".")) and ("qweight" in own or len(own.get("weight", ())) == 2)
            )
        )

    def word(self, size: int) -> str | None:
        """What the config calls a size: `hidden`, `vocab`..."""
        names = ("hidden", "vocab", "intermediate", "key/value")
        return next((name for name in names if self.sizes.get(name) == size), None)

    def _rows_of_embedding(self) -> int | None:
        if self.embedding is None or self.drawn:
            return None
        shape = self.modules[self.embedding].get("weight", ())
        return shape[0] if len(shape) == 2 and f"{self.embedding}.weight" in self.dtypes else None

    def _packed(self, shape: Shape) -> Sides:
        """GPTQ packs the inward side into 32 bits, AWQ the outward one."""
        told = self.config.get("quantization_config")
        settings = told if isinstance(told, dict) else {}
        bits = settings.get("bits") or settings.get("w_bit") or 4
        if len(shape) != 2 or not _is_size(bits) or bits > 32:
            return Sides(None)
        inward, outward = shape
        if settings.get("quant_method") == "awq":
            outward = outward * 32 // bits
        else:
            inward = inward * 32 // bits
        return Sides((outward, inward), inward, outward, inward * outward)


@lru_cache(maxsize=64)
def read_base(folder: Path) -> Base:
    """Once for all the adapters that a command checks.

    Raises:
        NotFoundError: it has no config.json.
        DataError: its config is not JSON.
        IncompatibleError: a weight file is damaged.
    """
    config = read_config(folder)
    if not has_weights(folder):
        return Base(config, draw(config) or {}, drawn=True)
    headers = read_headers(weight_files(folder))
    shapes = {name: info.shape for name, info in headers.items()}
    return Base(config, shapes, {name: info.dtype for name, info in headers.items()})


def layer_of(module: str) -> int | None:
    """The number of the layer that a module is in."""
    parts = module.split(".")
    at = _number_at(parts)
    return int(parts[at]) if at else None


def stack_of(module: str) -> str:
    """The list of layers that a module is in: `encoder.layer`; empty where it is in none."""
    parts = module.split(".")
    return ".".join(parts[: _number_at(parts)])


def depths_of(modules: Iterable[str]) -> dict[str, int]:
    """The list that holds layers -> how many of them the modules reach."""
    found: dict[str, int] = defaultdict(int)
    for module in modules:
        if (number := layer_of(module)) is not None:
            stack = stack_of(module)
            found[stack] = max(found[stack], number + 1)
    return dict(found)


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _number_at(parts: list[str]) -> int:
    """Where the first number is; 0 where there is none, since no module begins with one."""
    return next((at for at, part in enumerate(parts) if at and part.isdecimal()), 0)


def _anchor(module: str) -> str:
    """From the list that holds the layers on; the last name of what is in no layer."""
    parts = module.split(".")
    return ".".join(parts[max(_number_at(parts) - 1, 0) :]) if _number_at(parts) else parts[-1]


def _common_tail(one: list[str], other: list[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _is_same_place(one: list[str], other: list[str]) -> bool:
    """Is what comes before the layers in one name missing in the other, or there in another order?

    The text tower and the picture tower of a model have layers of the same names.
    """
    if _number_at(one):
        before, after = set(one[: _number_at(one) - 1]), set(other[: _number_at(other) - 1])
        return before <= after or after <= before
    return _common_tail(one, other) == min(len(one), len(other))
