"""`zoo merge NAME -o FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli.options import base_options
from zoo.cli.output import json_option, print_facts, print_json, registry_option
from zoo.registry.store import Registry
from zoo.runtime.console import StderrReport


@click.command(name="merge")
@click.argument("name")
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Where the model goes: a new folder.")
@click.option(
    "--dtype", metavar="float32|float16|bfloat16", help="Type of the saved weights. Default: the base's own."
)
@base_options
@registry_option
@json_option
def merge_command(registry: Registry, name: str, output: str, as_json: bool, **settings: Any) -> None:
    """Write the adapter NAME and its base as one model that transformers loads by itself.

    It is read back and must give the adapter's own outputs on a few inputs, or it is not kept.
    """
    registry.locate(name)

    from zoo.adapters import merge

    merged = merge.merge(name, registry, Path(output), StderrReport(), **settings)
    facts: dict[str, object] = {"folder": str(merged.folder), "dtype": merged.dtype}
    differences = {"largest_difference": merged.difference, "largest_output": merged.scale}
    if as_json:
        print_json(facts | differences)
    else:
        print_facts([*facts.items(), *((name, f"{value:.3g}") for name, value in differences.items())])
