"""Tells whether an adapter fits a base: exactly, in shape, or not, and why.

From the headers of safetensors files and from configs alone: no torch, no weight is read. What PEFT would
refuse to load is refused here with a reason; so is what it would load in part, with the rest at random.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from zoo.adapters.compat.base_shapes import Base, Sides, depths_of, layer_of, read_base, stack_of
from zoo.adapters.compat.peft_shapes import (
    IN,
    NUMBERS,
    OUT,
    ROWS,
    SUM,
    pins,
    sort_tensors,
    unchecked,
)
from zoo.adapters.compat.target_modules import names_of_targets, targeted
from zoo.adapters.find_base import compare_weights
from zoo.adapters.formats import Adapter, read_adapter
from zoo.adapters.integrity import missing_head
from zoo.models.families import BODIES, family
from zoo.models.fingerprint import LocalWeights
from zoo.models.safetensors_header import Shape, named, shape_words
from zoo.registry.schema import UNKNOWN, AdapterRecord

State = Literal["exact", "fits", "does not fit", "unknown"]
EXACT: State = "exact"
FITS: State = "fits"
DOES_NOT_FIT: State = "does not fit"
CANNOT_TELL: State = "unknown"
_MOST_NAMES = 8
_READ_HIDDEN = {"q_proj", "k_proj", "v_proj", "query_key_value", "qkv_proj", "Wqkv", "gate_proj", "up_proj"}
"""Matrices that read the hidden state in every decoder that has them."""


def check(
    folder: Path, base: Path, record: AdapterRecord | None = None, own: Path | None = None
) -> Compatibility:
    """
    Args:
        own: the base that the adapter was made on, where it is local: what pins no size is compared by it.

    Raises:
        NotFoundError: `folder` holds no adapter, or `base` no config.
        IncompatibleError: a file of either is damaged, or is not what its name says.
    """
    adapter = read_adapter(folder)
    there = read_base(base)
    found = Compatibility(adapter, there)
    if adapter.is_whole and adapter.shapes is not None:
        found.compare_whole(adapter.shapes)
    else:
        found.compare(record)
        if own is not None and own != base and found.state == FITS:
            found.compare_with_own(read_base(own))
    if found.state != FITS:
        return found
    if there.drawn:
        found.remarks.append("by the base's config alone: its weights are not here")
    elif record is not None:
        same, detail = compare_weights(record, folder, base, LocalWeights(base))
        if same:
            found.is_exact = True
            found.remarks += [detail] if detail else []
    return found


class Compatibility:
    """An adapter beside a base, module by module: what is missing, and which sizes differ."""

    def __init__(self, adapter: Adapter, base: Base):
        self._adapter, self._base, self._config = adapter, base, adapter.config
        self._parts = sort_tensors(adapter.shapes or {})
        self.wrong: list[str] = []
        self.unknown: list[str] = []
        self.remarks: list[str] = []
        self.is_exact = False
        """Does the base hold the very weights that the adapter was made on?"""
        self._sizes: dict[str, list[str]] = defaultdict(list)
        """`hidden 768 != 1024` -> the tensors that say so."""
        self._lost: list[str] = []
        """Modules that the base does not have."""
        self._touched: list[str] = []
        """Modules of the base that the adapter changes."""

    @property
    def state(self) -> State:
        if self.wrong:
            return DOES_NOT_FIT
        if self.unknown:
            return CANNOT_TELL
        return EXACT if self.is_exact else FITS

    @property
    def reasons(self) -> list[str]:
        """Each once, however many modules have it."""
        return list(dict.fromkeys(self.wrong or self.unknown or self.remarks))

    def compare(self, record: AdapterRecord | None) -> None:
        base, parts = self._base, self._parts
        if not base.tensors:
            self._compare_sizes_of_config()
            return
        if self._adapter.shapes is None:
            self._compare_targets()
            self.unknown += [f"{self._adapter.missing}, so no shape can be compared", *self.remarks]
            return
        names = (*parts.adapted, *parts.whole, *names_of_targets(self._config))
        firsts = {name.partition(".")[0] for name in names}
        made_for = next((one for one in BODIES if one in firsts), None)
        if made_for and made_for != (family(base.model_type).body or base.model_type):
            self.wrong.append(f"made for a {made_for}, and this is a {base.model_type}")
            return
        for module, parameters in parts.adapted.items():
            self._compare_module(module, parameters)
        for name, shape in parts.whole.items():
            self._compare_tensor(name, shape)
        self._compare_common()
        self._compare_heads()
        self._compare_reach()
        if not parts.adapted and self._config.get("target_modules"):
            self._compare_targets()
        self._conclude()
        if record is None or self.wrong or self._touched:
            return
        # of an adapter that changes no module of the base, little but the model type identifies it
        made_for = record.base.model_type
        if UNKNOWN not in (made_for, base.model_type) and made_for != base.model_type:
            self.wrong.append(f"made for a {named(made_for)}, and this is a {named(base.model_type)}")

    def compare_whole(self, shapes: Mapping[str, Shape]) -> None:
        """A whole model beside another: tensor by tensor."""
        base = self._base
        if base.drawn:
            self.unknown.append("the weights of the base are not here")
            return
        for name, shape in shapes.items():
            self._compare_tensor(name, shape)
        for stack, reached in depths_of(self._touched).items():
            if reached < base.depths[stack]:
                self.wrong.append(f"layers {reached} != {base.depths[stack]}")
        self._conclude()

    def compare_with_own(self, own: Base) -> None:
        """Frequencies and seeds pin nothing: PEFT loads them onto any size, where they mean nothing."""
        base = self._base
        for stack in sorted({stack_of(module) for module in self._touched}):
            made = own.depth_for(f"{stack}.0") if stack else None
            if made and made != base.depths[stack]:
                self.wrong.append(f"layers {made} != {base.depths[stack]}")
        for module in self._touched:
            before, now = own.find(module), base.find(module)
            if before is None or now is None:
                continue
            theirs, ours = own.sides(before), base.sides(now)
            if theirs and ours and theirs.shape and ours.shape:
                self._compare_shapes(module, theirs.shape, ours.shape)
        self._conclude()

    def _size(self, word: str, found: object, wanted: object, tensor: str) -> None:
        if found != wanted:
            self._sizes[f"{word} {found} != {wanted}"].append(tensor)

    def _compare_module(self, module: str, parameters: Mapping[str, Shape]) -> None:
        base, width = self._base, self._base.sizes.get("hidden")
        there = base.find(module)
        if there is None:
            tied = base.tied(module)
            if tied is None or not (sides := base.sides(tied)):
                self._lost.append(module)
                return
            # an output layer is the embedding's matrix, read the other way round
            there, sides = tied, Sides(sides.shape, sides.outward, sides.inward, sides.numbers)
        else:
            sides = base.sides(there) or Sides(None, width, _width_within(base, there) or width)
        self._touched.append(there)
        for side, size, name in pins(parameters, self._config):
            self._compare_side(side, size, sides, f"{module}.{name}")
        self.remarks += [f"the shape of {named(name)} was not checked" for name in unchecked(parameters)]
        if width and (prompt := parameters.get("adaption_prompt")):
            self._size("hidden", prompt[-1], width, f"{module}.adaption_prompt")

    def _compare_side(self, side: str, size: int, sides: Sides, tensor: str) -> None:
        inward, outward, word = sides.inward, sides.outward, self._base.word
        if size < 0:
            self._size("shape", "of another kind", "what peft writes", tensor)
        elif side in (IN, OUT):
            wanted = inward if side == IN else outward
            if wanted is not None:
                self._size(word(wanted) or side, size, wanted, tensor)
        elif side == NUMBERS:
            if sides.numbers is not None and sides.numbers < size:
                self._size("numbers in the matrix", f"at least {size:,}", f"{sides.numbers:,}", tensor)
        elif side == ROWS:
            if inward is not None and inward < size:  # of an embedding: the tokens that go in
                self._size("vocab", f"at least {size}", inward, tensor)
        elif inward is not None and outward is not None:
            if side == SUM:
                self._size(SUM, size, inward + outward, tensor)
            else:
                wanted = min(inward, outward)
                self._size(word(wanted) or side, size, wanted, tensor)

    def _compare_tensor(self, name: str, shape: Shape) -> None:
        """A tensor that takes the place of the base's own, or of a head that the base does not have."""
        base = self._base
        module, _, parameter = name.rpartition(".")
        there = base.find(module)
        if there is not None and there not in base.modules:
            there = None
        if there is None and (tied := base.tied(module)) and parameter == "weight":
            there = tied
        if there is not None:
            wanted = base.parameter(there, parameter)
            if wanted is None:
                if not base.drawn and layer_of(module) is not None:
                    self.wrong.append(f"no {named(parameter)} in {named(there)}")
                return
            self._touched.append(there)
            sides = base.sides(there)
            packed = parameter == "weight" and (sides is None or sides.shape != wanted)
            if not packed:
                self._compare_shapes(name, shape, wanted)
        elif layer_of(module) is not None:
            self._lost.append(module)
        elif len(shape) == 2 and base.widths and shape[1] not in base.widths:
            self._size("hidden", shape[1], base.sizes.get("hidden") or min(base.widths), name)

    def _compare_shapes(self, name: str, shape: Shape, wanted: Shape) -> None:
        if len(shape) != len(wanted):
            self._size("shape", shape_words(shape), shape_words(wanted), name)
            return
        for here, there in zip(shape, wanted, strict=True):
            self._size(self._base.word(there) or "size", here, there, name)

    def _compare_common(self) -> None:
        base = self._base
        sides = [
            one for module in self._parts.adapted if (at := base.find(module)) and (one := base.sides(at))
        ]
        most_in = max((one.inward for one in sides if one.inward), default=None)
        most_out = max((one.outward for one in sides if one.outward), default=None)
        both = (most_in, most_out) if most_in and most_out else None
        projections: dict[str, tuple[int, int | None]] = {
            **dict.fromkeys(("vera_A", "pvera_A"), (-1, most_in)),
            **dict.fromkeys(("vera_B", "pvera_B"), (0, most_out)),
            "randlora_A": (-1, min(both) if both else None),
            "randlora_B": (0, max(both) if both else None),
        }
        for name, shape in self._parts.common.items():
            if name == "prompt_embeddings":
                self._compare_prompts(name, shape)
            axis, wanted = projections.get(name, (0, None))
            if wanted is not None:
                self._size(base.word(wanted) or "largest side", shape[axis] if shape else 0, wanted, name)

    def _compare_prompts(self, name: str, shape: Shape) -> None:
        """(tokens, hidden) before the text; (tokens, layers * 2 * key/value) before each layer's keys."""
        sizes = self._base.sizes
        hidden, layers = sizes.get("hidden"), sizes.get("layers")
        if len(shape) != 2:
            self._size("shape", shape_words(shape), "tokens x hidden", name)
        elif self._config.get("peft_type") != "PREFIX_TUNING":
            if hidden is not None:
                self._size("hidden", shape[1], hidden, name)
        elif layers is not None and (width := sizes.get("key/value")):
            told = self._config.get("num_layers")
            if isinstance(told, int) and told != layers:
                self._size("layers", told, layers, name)
            elif shape[1] != layers * 2 * width:
                one = f"{shape[1] / (2 * layers):g}"
                self._size(self._base.word(width) or "key/value", one, width, name)

    def _compare_heads(self) -> None:
        """A head that neither the file nor the base has would be drawn at random: it does not load."""
        base, parts = self._base, self._parts
        saved = [*parts.whole, *(f"{module}.lora" for module in parts.adapted)]
        lost = missing_head(saved, self._config, base.model_type, () if base.drawn else base.modules)
        if lost and not self._lost:
            self.wrong.append(f"its head is lost: {named(', '.join(lost))} is not among its tensors")

    def _compare_reach(self) -> None:
        """Modules that the config names and the file has nothing for would be given random numbers."""
        base = self._base
        touched = {there for module in self._parts.adapted if (there := base.find(module))}
        meant = targeted(self._config, base.modules)
        if meant is None or self._lost or not touched or not touched <= set(meant):
            return
        saved = self._config.get("modules_to_save")
        apart = saved if isinstance(saved, list) else []
        for stack, reached in sorted(depths_of(touched).items()):
            here = [
                one
                for one in meant
                if one not in touched and stack_of(one) == stack and one.rpartition(".")[2] not in apart
            ]
            if here and all((layer_of(one) or 0) >= reached for one in here):
                self.wrong.append(f"layers {reached} != {base.depths[stack]}")
            elif here:
                self.wrong.append(f"it has nothing for {len(here)} of its target modules, {here[0]} first")

    def _compare_targets(self) -> None:
        """Without tensors that name modules: those that the config names."""
        there = targeted(self._config, self._base.modules)
        if there is None:
            self.remarks.append("which modules its config means was not checked")
            return
        self._touched += there
        names = names_of_targets(self._config)
        if not there and names:
            self._lost += names
            self._conclude()
        elif not there and self._config.get("target_modules"):
            self.wrong.append(f"its target_modules name no module of this {self._base.model_type}")

    def _compare_sizes_of_config(self) -> None:
        """By the sizes of a config alone, of a family that nobody here knows."""
        base, hidden = self._base, self._base.sizes.get("hidden")
        has_one_width = hidden is not None and "vision_config" not in base.config
        for module, parameters in self._parts.adapted.items():
            if not has_one_width or module.rpartition(".")[2] not in _READ_HIDDEN:
                continue
            for side, size, name in pins(parameters, self._config):
                if side == IN:
                    self._size("hidden", size, hidden, f"{module}.{name}")
        self._compare_common()
        self._conclude()
        self.unknown.append(f"the weights of this {named(base.model_type)} are not here, only its config")

    def _conclude(self) -> None:
        """The findings as lines, alike ones together."""
        base = self._base
        depths = {module: depth for module in self._lost if (depth := base.depth_for(module)) is not None}
        lost = [module for module in dict.fromkeys(self._lost) if module not in depths]
        stacks = {stack_of(module): depth for module, depth in depths.items()}
        reached = depths_of(depths)
        self.wrong += dict.fromkeys(f"layers {reached[stack]} != {depth}" for stack, depth in stacks.items())
        if lost:
            names = list(dict.fromkeys(module.rpartition(".")[2] for module in lost))
            strange = [name for name in names if name not in base.matrices]
            has = ", ".join(base.matrices[:_MOST_NAMES]) or "nothing of the kind"
            shown = named(", ".join((strange or lost)[:_MOST_NAMES]))
            self.wrong.append(f"no module {shown}; has {named(has)}")
        for line, tensors in self._sizes.items():
            more = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
            self.wrong.append(f"{line} ({named(tensors[0])}{more})")
        self._lost.clear()
        self._sizes.clear()


def _width_within(base: Base, container: str) -> int | None:
    """Of the states that pass through a module that holds modules: that of the norms in it or beside it."""
    for owner in (container, container.rpartition(".")[0]):
        for name, own in base.modules.items():
            if name.startswith(f"{owner}.") and len(own.get("weight", ())) == 1:
                return own["weight"][0]
    return None
