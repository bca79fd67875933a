"""Runs every check of `zoo doctor` and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zoo.cli.doctor_checks import adapters, bases, environment, housekeeping
from zoo.cli.doctor_checks.environment import Facts
from zoo.plugins import manager
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, CheckResult
from zoo.runtime.console import Report


@dataclass(frozen=True)
class Diagnosis:
    facts: Facts
    """Of the machine. What is counted in bytes has a name that says so."""
    results: list[CheckResult]
    """What does not work first."""


def examine(registry: Registry, report: Report | None = None, *, fast: bool = False) -> Diagnosis:
    """Look at everything, change nothing, and survive whatever is found.

    Args:
        fast: no hash is taken, no card read, torch is not started and the Hub is not asked.
    """
    report = report or Report()
    probe = None if fast else environment.probe()
    facts = environment.machine()
    hub = environment.hub(ask=not fast)
    results = [*_broken_plugins()]
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


def _broken_plugins() -> Iterator[CheckResult]:
    for kind in manager.KINDS:
        for plugin, _, error in manager.load_all(kind):
            if error is not None:
                package = plugin.distribution.partition(" ")[0]
                fix = error.hint or f"pip install --upgrade {package}, or pip uninstall {package}"
                yield CheckResult(plugin.module, FAILED, str(error), fix)
