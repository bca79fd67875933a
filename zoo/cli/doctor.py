"""`zoo doctor`: what is wrong, and what to type."""

from __future__ import annotations

from dataclasses import asdict

import click

from zoo.cli.doctor_checks.look import examine
from zoo.cli.output import json_option, print_facts, print_json, print_rows, registry_option
from zoo.errors import IncompatibleError
from zoo.registry.store import Registry
from zoo.runtime.console import StderrReport

_BYTES = "_bytes"
_UNITS = (("GB", 1e9), ("MB", 1e6))


@click.command(name="doctor")
@click.option("--fast", is_flag=True, help="Take no hashes, start no torch, ask no Hub.")
@registry_option
@json_option
def doctor_command(registry: Registry, fast: bool, as_json: bool) -> None:
    """This machine, its plugins, adapters, bases and caches: what is wrong, and what mends it.

    It changes nothing. Exit code 5 if something does not work; warnings alone are 0.
    """
    found = examine(registry, StderrReport(), fast=fast)
    rows = [asdict(one) for one in found.findings]
    if as_json:
        print_json({"facts": found.facts, "findings": rows, "sound": not found.broken})
    else:
        print_facts([_fact(name, value) for name, value in found.facts.items()])
        if rows:
            click.echo()
            print_rows(tuple(rows[0]), [tuple(row.values()) for row in rows])
    if found.broken:
        number = len(found.broken)
        said = "1 thing needs mending." if number == 1 else f"{number} things need mending."
        raise IncompatibleError(said, found.broken[0].mend)
    click.echo("all that was looked at works" + (", with warnings" if rows else ""), err=True)


def _fact(name: str, value: str | int) -> tuple[str, object]:
    if not name.endswith(_BYTES) or isinstance(value, str):
        return name, value
    unit, size = next(((unit, size) for unit, size in _UNITS if value >= size), ("kB", 1e3))
    return name.removesuffix(_BYTES), f"{value / size:,.1f} {unit}"
