"""Tells whether an adapter fits a base: exactly, in shape, or not, and why.

From the headers of safetensors files and from configs alone: no torch, no weight is read. What PEFT would
refuse to load is refused here with a reason; so is what it would load in part, with the rest at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.adapters.compat.adapter_shapes import read_adapter
from zoo.adapters.compat.base_shapes import read_base
from zoo.adapters.compat.compare import compare, compare_bases, compare_whole
from zoo.adapters.find_base import compare_weights
from zoo.models.fingerprint import LocalWeights
from zoo.registry.schema import AdapterRecord

EXACT, FITS, DOES_NOT_FIT, CANNOT_TELL = "exact", "fits", "does not fit", "unknown"


@dataclass(frozen=True)
class Compatibility:
    state: str
    """`exact`, `fits`, `does not fit` or `unknown`."""
    reasons: list[str]


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
    if adapter.is_whole and adapter.shapes is not None:
        found = compare_whole(adapter.shapes, there)
    else:
        found = compare(adapter, there, record)
        if own is not None and not found.wrong and not found.unknown and own != base:
            compare_bases(found, read_base(own), there)
    if found.wrong:
        return Compatibility(DOES_NOT_FIT, found.wrong)
    if found.unknown:
        return Compatibility(CANNOT_TELL, found.unknown)
    if record is not None and not there.drawn:
        weights = compare_weights(record, folder, base, LocalWeights(base))
        if weights.same:
            return Compatibility(EXACT, [*found.remarks, *([weights.detail] if weights.detail else [])])
    if there.drawn:
        found.remarks.append("by the base's config alone: its weights are not here")
    return Compatibility(FITS, found.remarks)
