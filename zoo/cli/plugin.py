"""`zoo plugin new` and `zoo plugin check`: for authors of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli.output import json_option, print_checks, print_json
from zoo.errors import IncompatibleError, NotFoundError, UsageError, did_you_mean
from zoo.plugins import manager
from zoo.plugins.params import split_pairs
from zoo.runtime.checks import failures


@click.group(name="plugin")
def plugin_command() -> None:
    """Create and check plugins."""


@plugin_command.command(name="new")
@click.argument("kind", type=click.Choice(["method", "task"]))
@click.argument("name")
@click.option(
    "-o",
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="The folder to make it in.",
)
def new_command(kind: str, name: str, into: Path) -> None:
    """A folder that pip installs: a working plugin, a test by the kit, a README."""
    from zoo.plugins.scaffold import write_package

    folder = write_package(kind, name, into)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        click.echo(path)
    click.echo(f"Next: pip install -e {folder} && zoo plugin check {name}", err=True)


@plugin_command.command(name="check")
@click.argument("name")
@click.option("--kind", type=click.Choice(manager.KINDS), help="Where a method and a task share a name.")
@click.option("--task", metavar="TASK", help="Check a method on this task. Else on one of each kind.")
@click.option("-s", "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter of the method.")
@click.option(
    "--base", type=click.Path(path_type=Path, exists=True), help="A small base in place of the kit's."
)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="Small data in place of the kit's."
)
@json_option
def check_command(name: str, kind: str | None, pairs: tuple[str, ...], as_json: bool, **samples: Any) -> None:
    """Run an installed plugin on tiny models and say which promises it keeps.

    Exit code 5 if one is broken.
    """
    from zoo.testing import check_plugin

    results = check_plugin(kind or _kind_of(name), name, params=split_pairs(pairs), **samples)
    (print_json if as_json else print_checks)(results)
    if wrong := failures(results):
        details = "; ".join(f"{one.name} ({one.detail})" for one in wrong)
        raise IncompatibleError(f"'{name}' breaks {len(wrong)} of its {len(results)} promises: {details}.")


def _kind_of(name: str) -> str:
    found = [kind for kind in manager.KINDS if name in manager.find(kind)]
    if len(found) > 1:
        raise UsageError(f"'{name}' is a {' and a '.join(found)}.", f"--kind {found[0]}")
    if not found:
        known = [one for kind in manager.KINDS for one in manager.find(kind)]
        raise NotFoundError(f"no plugin is called '{name}'.{did_you_mean(name, known)}", "zoo plugins")
    return found[0]
