"""`zoo doctor`: checks the whole installation and prints what to type for each failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from zoo.cli.common import json_option, print_json, registry_option
from zoo.cli.help import Command
from zoo.cli.outputs import Diagnosed
from zoo.cli.tables import page, print_checks, print_facts, wide_option, with_whole_fixes
from zoo.errors import IncompatibleError, UsageError
from zoo.plugins import manager
from zoo.registry.store import Registry
from zoo.runtime import config
from zoo.runtime.checks import FAILED, CheckResult, failures
from zoo.runtime.console import Report, StderrReport
from zoo.runtime.terminal import say

_BYTES = "_bytes"
_UNITS = (("GB", 1e9), ("MB", 1e6))


@click.command(
    name="doctor",
    cls=Command,
    examples=[
        "zoo doctor",
        "zoo doctor --fast",
    ],
)
@click.option("--fast", is_flag=True, help="Take no hashes, start no torch, ask no Hub.")
@registry_option
@wide_option
@json_option(Diagnosed)
def doctor_command(registry: Registry, fast: bool, as_json: bool) -> None:
    """This machine, its plugins, adapters, bases and caches: what is wrong, and how to fix it.

    It changes nothing. Exit code 5 if something does not work; warnings alone are 0.
    """
    found = examine(registry, StderrReport(), fast=fast)
    failed = failures(found.results)
    if as_json:
        results = with_whole_fixes(found.results)
        print_json(Diagnosed(facts=found.facts, results=results, sound=not failed))
    else:
        with page():
            print_facts([_fact(name, value) for name, value in found.facts.items()])
            if found.results:
                print_checks(found.results)
    if failed:
        count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
        raise IncompatibleError(f"{count} failed.", failed[0].fix)
    say("every check passed" + (", with warnings" if found.results else ""))


def _fact(name: str, value: str | int) -> tuple[str, object]:
    if isinstance(value, str):
        return name, Path(value) if os.path.isabs(value) else value
    if not name.endswith(_BYTES):
        return name, value
    unit, size = next(((unit, size) for unit, size in _UNITS if value >= size), ("kB", 1e3))
    return name.removesuffix(_BYTES), f"{value / size:,.1f} {unit}"


@dataclass(frozen=True)
class Diagnosis:
    facts: dict[str, str | int]
    """Of the machine. What is counted in bytes has a name that says so."""
    results: list[CheckResult]
    """What does not work first."""


def examine(registry: Registry, report: Report | None = None, *, fast: bool = False) -> Diagnosis:
    """Look at everything, change nothing, and survive whatever is found.

    Args:
        fast: no hash is taken, no card read, torch is not started and the Hub is not asked.
    """
    from zoo.cli.doctor_checks import adapters, bases, environment, housekeeping

    report = report or Report()
    probe = None if fast else environment.probe()
    facts = environment.machine()
    hub = environment.hub(ask=not fast)
    results = [*_broken_plugins(), *_damaged_config()]
    records, steps = housekeeping.read_all(registry)
    results += steps
    results += adapters.missing_plugins(records)
    results += adapters.adapters(registry, records, report, fast=fast)
    if not fast:
        results += adapters.cards(registry, records)
    ask_hub = hub.get("hub") == "reachable"
    results += bases.bases(registry, records, report, fast=fast, ask_hub=ask_hub)
    results += housekeeping.leftovers(registry)
    if probe is not None:
        found, trouble = environment.answer(probe)
        facts |= found
        results += trouble
    facts |= {"adapters": len(records), **environment.room(registry), **hub}
    results += environment.shortcomings(facts)
    return Diagnosis(facts, sorted(results, key=lambda one: one.status != FAILED))


def _damaged_config() -> Iterator[CheckResult]:
    try:
        config.read()
    except UsageError as error:
        yield CheckResult(str(config.path()), FAILED, str(error), error.hint or "")


def _broken_plugins() -> Iterator[CheckResult]:
    for kind in manager.KINDS:
        for plugin, _, error in manager.load_all(kind):
            if error is not None:
                package = plugin.distribution.partition(" ")[0]
                fix = error.hint or f"pip install --upgrade {package}"
                yield CheckResult(plugin.module, FAILED, str(error), fix)
