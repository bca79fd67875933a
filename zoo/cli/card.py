"""`zoo card NAME`: the card that an adapter's record gives, printed or put into its folder."""

from __future__ import annotations

import click

from zoo.cli.output import json_option, print_json, printable, registry_option
from zoo.errors import UsageError
from zoo.registry.store import Registry

_OLD = "README.old.md"
"""Where a card goes whose numbers are not the record's; it is never published."""


@click.command(name="card")
@click.argument("name")
@click.option(
    "--write", is_flag=True, help="Put it into the adapter's folder; one with edited prose is kept."
)
@click.option("--force", is_flag=True, help="With --write: in the place of one with edited prose too.")
@registry_option
@json_option
def card_command(registry: Registry, name: str, write: bool, force: bool, as_json: bool) -> None:
    """The card of the adapter NAME, made from its record alone."""
    if force and not write:
        raise UsageError("--force says how --write writes.", f"zoo card {name} --write --force")
    record, folder = registry.locate(name)

    from zoo.cards.render import FILE, render
    from zoo.cards.validate import differs, is_edited, validate

    text = render(record, record.hub.repo if record.hub else None)
    path = folder / FILE
    there = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    edited = there is not None and is_edited(there, record)
    differences = differs(there, record) if edited and there is not None else []
    written = write and (force or bool(differences) or not edited)
    for line in validate(text):
        click.echo(f"the Hub would refuse it: {printable(line)}", err=True)
    for line in differences:
        click.echo(f"{path} says otherwise: {printable(line)}", err=True)
    if written:
        if edited:
            path.replace(folder / _OLD)
            click.echo(f"the edited card is now {folder / _OLD}", err=True)
        path.write_text(text, encoding="utf-8")
    if write:
        click.echo(f"{path} {'written' if written else 'kept: only its prose was edited'}", err=True)
    if as_json:
        facts = {"name": record.name, "path": str(path), "text": text, "written": written}
        print_json({**facts, "edited": edited, "differs": differences, "refused": validate(text)})
    elif not write:
        click.echo(printable(text), nl=False)
