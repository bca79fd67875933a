"""`zoo verify NAME...`: does an adapter still do what its record says."""

from __future__ import annotations

import click
from msgspec.structs import replace

from zoo.cli.options import base_option
from zoo.cli.output import json_option, print_checks, print_json, registry_option
from zoo.errors import IncompatibleError
from zoo.registry.store import Registry
from zoo.runtime.checks import failures
from zoo.runtime.console import StderrReport


@click.command(name="verify")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@base_option
@click.option("--metrics", is_flag=True, help="Measure again, and compare with the recorded intervals.")
@registry_option
@json_option
def verify_command(
    registry: Registry, names: tuple[str, ...], base: str | None, metrics: bool, as_json: bool
) -> None:
    """Load each adapter NAME and compare it with its files, its base and the answers it was saved with.

    A lost or random head, an adapter that does nothing, another base and a changed byte are told apart.
    """
    for name in names:
        registry.locate(name)

    from zoo.adapters import verify

    report = StderrReport()
    found = {name: verify.verify(name, registry, report, base=base, metrics=metrics) for name in names}
    if as_json:
        print_json([{"name": name, "results": results} for name, results in found.items()])
    else:
        print_checks(replace(one, name=f"{name}: {one.name}") for name in found for one in found[name])
    failed = {name: failures(results) for name, results in found.items() if failures(results)}
    if failed:
        name, results = next(iter(failed.items()))
        checks = ", ".join(one.name for one in results)
        more = f", and {len(failed) - 1} others" if len(failed) > 1 else ""
        raise IncompatibleError(f"'{name}' is not what its record says: {checks}{more}.")
