"""Compares an adapter with a base, module by module: what is missing, and which sizes differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.adapters.compat.adapter_shapes import Adapter
from zoo.adapters.compat.base_shapes import Base, Shape, Sides, layer_of, stack_of
from zoo.adapters.compat.peft_shapes import (
    IN,
    LEAST,
    NUMBERS,
    OUT,
    ROWS,
    SUM,
    Parts,
    Pin,
    pins,
    sort_tensors,
    unchecked,
)
from zoo.adapters.compat.target_modules import names_of_targets, targeted
from zoo.adapters.integrity import missing_head
from zoo.models.families import BODIES, family
from zoo.models.safetensors_header import named, shape_words
from zoo.registry.schema import UNKNOWN, AdapterRecord

_MOST_NAMES = 8
_READ_HIDDEN = {"q_proj", "k_proj", "v_proj", "query_key_value", "qkv_proj", "Wqkv", "gate_proj", "up_proj"}
"""Matrices that read the hidden state in every decoder that has them."""


@dataclass
class Findings:
    """What was found out about one pair."""

    wrong: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    sizes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """`hidden 768 != 1024` -> the tensors that say so."""
    lost: list[str] = field(default_factory=list)
    """Modules that the base does not have."""
    touched: list[str] = field(default_factory=list)
    """Modules of the base that the adapter changes."""

    def size(self, word: str, found: object, wanted: object, tensor: str) -> None:
        self.sizes[f"{word} {found} != {wanted}"].append(tensor)


def compare(adapter: Adapter, base: Base, record: AdapterRecord | None) -> Findings:
    found = Findings()
    if not base.tensors:
        _compare_blindly(adapter, base, found)
        return found
    if adapter.shapes is None:
        _compare_targets(adapter, base, found)
        if not found.wrong:
            found.unknown.append(f"{adapter.missing}, so no shape can be compared")
            found.unknown += found.remarks
        return found
    parts = sort_tensors(adapter.shapes)
    made_for = _family_named(parts, adapter.config)
    if made_for and made_for != (family(base.model_type).body or base.model_type):
        found.wrong.append(f"made for a {made_for}, and this is a {base.model_type}")
        return found
    for module, parameters in parts.adapted.items():
        _compare_module(module, parameters, adapter.config, base, found)
    for name, shape in parts.whole.items():
        _compare_tensor(name, shape, base, found)
    _compare_common(parts, adapter.config, base, found)
    _compare_heads(adapter.config, parts, base, found)
    _compare_reach(adapter.config, parts, base, found)
    if not parts.adapted and adapter.config.get("target_modules"):
        _compare_targets(adapter, base, found)
    _conclude(found, base)
    if not found.wrong and not found.touched:
        _compare_kinds(record, base, found)
    return found


def _compare_module(
    module: str, parameters: Mapping[str, Shape], config: Mapping[str, Any], base: Base, found: Findings
) -> None:
    there = base.find(module)
    if there is None:
        tied = base.tied(module)
        if tied is None or not (sides := base.sides(tied)):
            found.lost.append(module)
            return
        # an output layer is the embedding's matrix, read the other way round
        there, sides = tied, Sides(sides.shape, sides.outward, sides.inward, sides.numbers)
    else:
        width = base.sizes.get("hidden")
        sides = base.sides(there) or Sides(None, width, _width_within(base, there) or width)
    found.touched.append(there)
    for pin in pins(parameters, config):
        _compare_pin(pin, module, sides, base, found)
    for name in unchecked(parameters):
        remark = f"the shape of {named(name)} was not checked"
        if remark not in found.remarks:
            found.remarks.append(remark)
    prompt, width = parameters.get("adaption_prompt"), base.sizes.get("hidden")
    if prompt and width and prompt[-1] != width:
        found.size("hidden", prompt[-1], width, f"{module}.adaption_prompt")


def _compare_pin(pin: Pin, module: str, sides: Sides, base: Base, found: Findings) -> None:
    tensor = f"{module}.{pin.tensor}"
    inward, outward = sides.inward, sides.outward
    if pin.size < 0:
        found.size("shape", "of another kind", "what peft writes", tensor)
    elif pin.side in (IN, OUT):
        wanted = inward if pin.side == IN else outward
        if wanted is not None and wanted != pin.size:
            found.size(base.word(wanted) or pin.side, pin.size, wanted, tensor)
    elif pin.side == NUMBERS:
        if sides.numbers is not None and sides.numbers < pin.size:
            found.size("numbers in the matrix", f"at least {pin.size:,}", f"{sides.numbers:,}", tensor)
    elif pin.side == ROWS:
        rows = inward  # of an embedding: the tokens that go in
        if rows is not None and rows < pin.size:
            found.size("vocab", f"at least {pin.size}", rows, tensor)
    elif inward is not None and outward is not None:
        wanted = min(inward, outward) if pin.side == LEAST else inward + outward
        if wanted != pin.size:
            word = base.word(wanted) or pin.side if pin.side == LEAST else SUM
            found.size(word, pin.size, wanted, tensor)


def _compare_tensor(name: str, shape: Shape, base: Base, found: Findings) -> None:
    """A tensor that takes the place of the base's own, or of a head that the base does not have."""
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
                found.wrong.append(f"no {named(parameter)} in {named(there)}")
            return
        found.touched.append(there)
        sides = base.sides(there)
        packed = parameter == "weight" and (sides is None or sides.shape != wanted)
        if shape != wanted and not packed:
            _compare_shapes(name, shape, wanted, base, found)
        return
    if layer_of(module) is not None:
        found.lost.append(module)
    elif len(shape) == 2 and base.widths and shape[1] not in base.widths:
        found.size("hidden", shape[1], base.sizes.get("hidden") or min(base.widths), name)


def _compare_shapes(name: str, shape: Shape, wanted: Shape, base: Base, found: Findings) -> None:
    if len(shape) != len(wanted):
        found.size("shape", shape_words(shape), shape_words(wanted), name)
        return
    for here, there in zip(shape, wanted, strict=True):
        if here != there:
            found.size(base.word(there) or "size", here, there, name)


def _compare_common(parts: Parts, config: Mapping[str, Any], base: Base, found: Findings) -> None:
    sides = [one for module in parts.adapted if (at := base.find(module)) and (one := base.sides(at))]
    most_in = max((one.inward for one in sides if one.inward), default=None)
    most_out = max((one.outward for one in sides if one.outward), default=None)
    both = (most_in, most_out) if most_in and most_out else None
    projections: dict[str, tuple[int, int | None]] = {
        **dict.fromkeys(("vera_A", "pvera_A"), (-1, most_in)),
        **dict.fromkeys(("vera_B", "pvera_B"), (0, most_out)),
        "randlora_A": (-1, min(both) if both else None),
        "randlora_B": (0, max(both) if both else None),
    }
    for name, shape in parts.common.items():
        if name == "prompt_embeddings":
            _compare_prompts(shape, config, base, found)
        axis, wanted = projections.get(name, (0, None))
        size = shape[axis] if shape else 0
        if wanted is not None and size != wanted:
            found.size(base.word(wanted) or "largest side", size, wanted, name)


def _compare_prompts(shape: Shape, config: Mapping[str, Any], base: Base, found: Findings) -> None:
    """(tokens, hidden) before the text; (tokens, layers * 2 * key/value) before each layer's keys."""
    hidden, layers = base.sizes.get("hidden"), base.sizes.get("layers")
    if len(shape) != 2:
        found.size("shape", shape_words(shape), "tokens x hidden", "prompt_embeddings")
    elif config.get("peft_type") != "PREFIX_TUNING":
        if hidden is not None and shape[1] != hidden:
            found.size("hidden", shape[1], hidden, "prompt_embeddings")
    elif layers is not None and (width := base.sizes.get("key/value")):
        told = config.get("num_layers")
        if isinstance(told, int) and told != layers:
            found.size("layers", told, layers, "prompt_embeddings")
        elif shape[1] != layers * 2 * width:
            one = shape[1] // (2 * layers)
            found.size(base.word(width) or "key/value", one, width, "prompt_embeddings")


def _compare_heads(config: Mapping[str, Any], parts: Parts, base: Base, found: Findings) -> None:
    """A head that neither the file nor the base has would be drawn at random: it does not load."""
    if found.lost:
        return
    saved = [*parts.whole, *(f"{module}.lora" for module in parts.adapted)]
    if lost := missing_head(saved, config, base.model_type, () if base.drawn else base.modules):
        found.wrong.append(f"its head is lost: {named(', '.join(lost))} is not among its tensors")


def _compare_reach(config: Mapping[str, Any], parts: Parts, base: Base, found: Findings) -> None:
    """Modules that the config names and the file has nothing for would be given random numbers."""
    touched = {there for module in parts.adapted if (there := base.find(module))}
    meant = targeted(config, base.modules)
    if meant is None or found.lost or not touched or not touched <= set(meant):
        return
    stacks = {stack_of(one) for one in touched}
    apart = config.get("modules_to_save") or ()
    lacking = [
        one
        for one in meant
        if one not in touched and stack_of(one) in stacks and one.rpartition(".")[2] not in apart
    ]
    for stack in sorted(stacks):
        reached = max(layer_of(one) or 0 for one in touched if stack_of(one) == stack) + 1
        here = [one for one in lacking if stack_of(one) == stack]
        if here and stack and all((layer_of(one) or 0) >= reached for one in here):
            found.wrong.append(f"layers {reached} != {base.depths[stack]}")
        elif here and stack:
            found.wrong.append(f"it has nothing for {len(here)} of its target modules, {here[0]} first")


def _compare_targets(adapter: Adapter, base: Base, found: Findings) -> None:
    """Without tensors that name modules: those that the config names."""
    there = targeted(adapter.config, base.modules)
    if there is None:
        found.remarks.append("which modules its config means was not checked")
        return
    found.touched += there
    names = names_of_targets(adapter.config)
    if not there and names:
        found.lost += names
        _conclude(found, base)
    elif not there and adapter.config.get("target_modules"):
        found.wrong.append(f"its target_modules name no module of this {base.model_type}")


def _compare_kinds(record: AdapterRecord | None, base: Base, found: Findings) -> None:
    """Compare an adapter that changes no module of the base: little but the model type identifies it."""
    made_for = record.base.model_type if record is not None else UNKNOWN
    if UNKNOWN in (made_for, base.model_type) or made_for == base.model_type:
        return
    found.wrong.append(f"made for a {named(made_for)}, and this is a {named(base.model_type)}")


def _compare_blindly(adapter: Adapter, base: Base, found: Findings) -> None:
    """By the sizes of a config alone, of a family that nobody here knows."""
    hidden = base.sizes.get("hidden")
    parts = sort_tensors(adapter.shapes or {})
    for module, parameters in parts.adapted.items():
        if hidden is None or module.rpartition(".")[2] not in _READ_HIDDEN:
            continue
        for pin in pins(parameters, adapter.config):
            if pin.side == IN and pin.size != hidden and "vision_config" not in base.config:
                found.size("hidden", pin.size, hidden, f"{module}.{pin.tensor}")
    _compare_common(parts, adapter.config, base, found)
    _conclude(found, base)
    if not found.wrong:
        found.unknown.append(f"the weights of this {named(base.model_type)} are not here, only its config")


def compare_whole(shapes: Mapping[str, Shape], base: Base) -> Findings:
    """A whole model beside another: tensor by tensor."""
    found = Findings()
    if base.drawn:
        found.unknown.append("the weights of the base are not here")
        return found
    for name, shape in shapes.items():
        _compare_tensor(name, shape, base, found)
    reached: dict[str, int] = defaultdict(int)
    for module in found.touched:
        if stack := stack_of(module):
            reached[stack] = max(reached[stack], (layer_of(module) or 0) + 1)
    found.wrong += [
        f"layers {number} != {base.depths[stack]}"
        for stack, number in reached.items()
        if number < base.depths[stack]
    ]
    _conclude(found, base)
    return found


def compare_bases(found: Findings, own: Base, base: Base) -> None:
    """Frequencies and seeds pin nothing: PEFT loads them onto any size, where they mean nothing."""
    for stack in sorted({stack_of(module) for module in found.touched}):
        made = own.depth_for(f"{stack}.0") if stack else None
        if made and made != base.depths[stack]:
            found.wrong.append(f"layers {made} != {base.depths[stack]}")
    for module in found.touched:
        before, now = own.find(module), base.find(module)
        if before is None or now is None:
            continue
        theirs, ours = own.sides(before), base.sides(now)
        if theirs and ours and theirs.shape and ours.shape:
            _compare_shapes(module, theirs.shape, ours.shape, base, found)
    _conclude(found, base)


def _conclude(found: Findings, base: Base) -> None:
    """The findings as lines, alike ones together."""
    lost = []
    depths: dict[str, tuple[int, int]] = {}
    for module in dict.fromkeys(found.lost):
        depth = base.depth_for(module)
        if depth is None:
            lost.append(module)
        else:
            stack = stack_of(module)
            before, _ = depths.get(stack, (0, 0))
            depths[stack] = max(before, (layer_of(module) or 0) + 1), depth
    found.wrong += dict.fromkeys(f"layers {reached} != {depth}" for reached, depth in depths.values())
    if lost:
        names = list(dict.fromkeys(module.rpartition(".")[2] for module in lost))
        strange = [name for name in names if name not in base.matrices]
        has = ", ".join(base.matrices[:_MOST_NAMES]) or "nothing of the kind"
        shown = named(", ".join((strange or lost)[:_MOST_NAMES]))
        found.wrong.append(f"no module {shown}; has {named(has)}")
    for line, tensors in found.sizes.items():
        more = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
        found.wrong.append(f"{line} ({named(tensors[0])}{more})")
    found.lost.clear()
    found.sizes.clear()


def _family_named(parts: Parts, config: Mapping[str, Any]) -> str | None:
    names = (*parts.adapted, *parts.whole, *names_of_targets(config))
    firsts = {name.partition(".")[0] for name in names}
    return next((one for one in BODIES if one in firsts), None)


def _width_within(base: Base, container: str) -> int | None:
    """Of the states that pass through a module that holds modules: that of the norms in it or beside it."""
    for owner in (container, container.rpartition(".")[0]):
        for name, own in base.modules.items():
            if name.startswith(f"{owner}.") and len(own.get("weight", ())) == 1:
                return own["weight"][0]
    return None
