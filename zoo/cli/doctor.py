"""`zoo doctor`: checks the whole installation and prints what to type for each failure."""

from __future__ import annotations

import click

from zoo.cli.doctor_checks.look import examine
from zoo.cli.output import json_option, print_checks, print_facts, print_json, registry_option
from zoo.errors import IncompatibleError
from zoo.registry.store import Registry
from zoo.runtime.checks import failures
from zoo.runtime.console import StderrReport

_BYTES = "_bytes"
_UNITS = (("GB", 1e9), ("MB", 1e6))


@click.command(name="doctor")
@click.option("--fast", is_flag=True, help="Take no hashes, start no torch, ask no Hub.")
@registry_option
@json_option
def doctor_command(registry: Registry, fast: bool, as_json: bool) -> None:
    """This machine, its plugins, adapters, bases and caches: what is wrong, and how to fix it.

    It changes nothing. Exit code 5 if something does not work; warnings alone are 0.
    """
    found = examine(registry, StderrReport(), fast=fast)
    failed = failures(found.results)
    if as_json:
        print_json({"facts": found.facts, "results": found.results, "sound": not failed})
    else:
        print_facts([_fact(name, value) for name, value in found.facts.items()])
        if found.results:
            click.echo()
            print_checks(found.results)
    if failed:
        count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
        raise IncompatibleError(f"{count} failed.", failed[0].fix)
    click.echo("every check passed" + (", with warnings" if found.results else ""), err=True)


def _fact(name: str, value: str | int) -> tuple[str, object]:
    if not name.endswith(_BYTES) or isinstance(value, str):
        return name, value
    unit, size = next(((unit, size) for unit, size in _UNITS if value >= size), ("kB", 1e3))
    return name.removesuffix(_BYTES), f"{value / size:,.1f} {unit}"
