"""`zoo reproduce`: train an adapter again from its record, and compare the weights bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from zoo.cli.common import base_option, json_option, number, print_json, registry_option
from zoo.cli.help import Command
from zoo.cli.outputs import reproduced
from zoo.cli.tables import print_facts
from zoo.errors import IncompatibleError
from zoo.registry.store import Registry
from zoo.runtime.console import StderrReport

if TYPE_CHECKING:
    from zoo.training.reproduce import Reproduced


@click.command(
    name="reproduce",
    cls=Command,
    examples=[
        "zoo reproduce lora-bert-imdb",
        "zoo reproduce lora-bert-imdb --data reviews.csv --json",
    ],
)
@click.argument("name")
@base_option
@click.option(
    "--data",
    metavar="ID|PATH",
    help="Its rows, where they are not found by themselves. They must be the same.",
)
@registry_option
@json_option(reproduced)
def reproduce_command(
    registry: Registry, name: str, base: str | None, data: str | None, as_json: bool
) -> None:
    """Train the adapter NAME again from its record, and compare the weights bit for bit.

    NAME is a registered adapter or a folder with a zoo.json. The base and the rows must be the recorded ones;
    threads, precision and instruction set are set to the recorded ones. Nothing is registered or kept. Ends
    with 0 where the weights are the same, and with 5 where they are not.
    """
    registry.locate(name)

    from zoo.training.reproduce import reproduce

    found = reproduce(name, registry, StderrReport(), base=base, data=data)
    if as_json:
        print_json(found)
    else:
        print_facts(_facts(found))
    if not found.identical:
        raise IncompatibleError(f"'{found.name}' is not reproduced bit for bit: {_explained(found)}.")


def _facts(found: Reproduced) -> Iterator[tuple[str, object]]:
    yield "name", found.name
    yield "result", "bit-identical" if found.identical else "not bit-identical"
    for file, same in found.files.items():
        other = "the recorded weights in a file with another header"
        told = other if found.identical else "another sha256 than recorded"
        yield file, "the recorded sha256" if same else told
    if not found.identical:
        yield "largest difference", _size(found)
    for one in found.metrics:
        recorded = f"{number(one.recorded)} recorded, {number(one.low)} to {number(one.high)}, n {one.n}"
        within = "" if one.within else "; outside"
        yield one.name, f"{number(one.value)} now; {recorded}{within}"
    for difference in found.differences:
        yield "differs", difference
    if found.claim is not None:
        yield "claimed", found.claim


def _size(found: Reproduced) -> str:
    if found.largest_difference is None:
        return "unknown: the recorded weights are not here, or have other shapes"
    return f"{found.largest_difference:.2g} in {found.tensor}, where weights reach {found.largest_weight:.2g}"


def _explained(found: Reproduced) -> str:
    within = sum(one.within for one in found.metrics)
    parts = [f"largest difference of a weight {_size(found)}"]
    parts += [f"{within} of {len(found.metrics)} metrics within their intervals"] if found.metrics else []
    return "; ".join([*parts, *(found.differences or ["nothing else on record differs"])])
