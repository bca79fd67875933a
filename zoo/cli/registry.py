"""`zoo registry rebuild` and `zoo registry schema`."""

from __future__ import annotations

import click

from zoo.cli.output import print_json, registry_option
from zoo.registry.store import Registry


@click.group(name="registry")
def registry_command() -> None:
    """Maintain registry.json."""


@registry_command.command(name="rebuild")
@registry_option
def rebuild_command(registry: Registry) -> None:
    """Make registry.json anew from the zoo.json in each adapter's folder."""
    count, trouble = registry.rebuild()
    for line in trouble:
        click.echo(f"Warning: left out {line}", err=True)
    click.echo(f"{registry.path}: {count} adapters", err=True)


@registry_command.command(name="schema")
def schema_command() -> None:
    """The JSON Schema of a record: of zoo.json, of a registry entry, and of --json output."""
    import msgspec

    from zoo.registry.schema import AdapterRecord

    print_json(msgspec.json.schema(AdapterRecord))
