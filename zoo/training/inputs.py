"""Compares what decides the weights of a run, so that nobody goes on with another one unawares."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct

from zoo.models.fingerprint import identify, same_weights
from zoo.plugins import manager
from zoo.registry.schema import AdapterSpec, BaseId, DataId
from zoo.runtime import distributed
from zoo.runtime.device import device, kernels

if TYPE_CHECKING:
    from zoo.training.prepare import Prepared

LIBRARIES = ("adapter-zoo", "peft", "torch", "transformers")
_NOT_SETTINGS = ("name", "base", "data", "eval_data", "threads")
"""Of a spec: what is compared by content, or is not part of the result."""


class Inputs(Struct, frozen=True, kw_only=True):
    """What decides the weights of a run beside its settings: other inputs make another adapter."""

    base: BaseId
    data: DataId
    threads: int
    precision: str
    device: str
    """`cpu` or `cuda`."""
    kernels: str
    """The instruction set that the arithmetic uses: `AVX2`, `AVX512`; or the name of the GPU."""
    processes: int
    versions: dict[str, str]
    plugins: dict[str, str]


def inputs_of(prepared: Prepared) -> Inputs:
    """Those of a run on this machine. The base is read whole for its hashes."""
    assert prepared.dataset is not None, "fetched"
    return Inputs(
        base=identify(prepared.base),
        data=prepared.dataset.id,
        threads=prepared.config.threads,
        precision=prepared.precision,
        device=device().type,
        kernels=kernels(),
        processes=distributed.world_size(),
        versions={name: version(name) for name in LIBRARIES},
        plugins={
            kind: manager.find(kind)[one.name].distribution
            for kind, one in (("method", prepared.method), ("task", prepared.task))
        },
    )


def setting_differences(before: AdapterSpec, now: AdapterSpec) -> Iterator[str]:
    """Settings that are others than when the run started: `seed was 42`."""
    for name in before.__struct_fields__:
        if name not in _NOT_SETTINGS and getattr(before, name) != getattr(now, name):
            yield f"{name} was {getattr(before, name)}"


def input_differences(before: Inputs, now: Inputs) -> Iterator[str]:
    """What else is now another thing: `the data has other rows than reviews.csv had`."""
    yield from content_differences(before.base, before.data, now)
    yield from machine_differences(before, now)


def content_differences(base: BaseId, data: DataId, now: Inputs) -> Iterator[str]:
    """Where the base or the rows are not those: another adapter would come of them."""
    if not same_weights(base, now.base):
        names = [name for name, digest in base.weights.items() if now.base.weights.get(name) != digest]
        of_files = f" ({', '.join(names)})" if names else ""
        yield f"the base has other weights{of_files}"
    if data.fingerprint != now.data.fingerprint:
        yield f"the data has other rows than {data.location} had"
    elif (data.n_train, data.n_held_out) != (now.data.n_train, now.data.n_held_out):
        yield "the rows are divided in another way"


def machine_differences(before: Inputs, now: Inputs) -> Iterator[str]:
    """What decides how the same inputs are computed with."""
    if before.base.config_sha256 != now.base.config_sha256:
        yield "the base has another config.json"
    for name in ("threads", "precision", "device", "kernels", "processes"):
        if getattr(before, name) != getattr(now, name):
            yield f"{name} was {getattr(before, name)}, and is {getattr(now, name)}"
    for library, was in {**before.versions, **before.plugins}.items():
        current = {**now.versions, **now.plugins}.get(library)
        if current != was:
            yield f"{library} was {was}, and is {current}"
