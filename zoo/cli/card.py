"""`zoo card NAME`: the card that an adapter's record gives, printed or put into its folder."""

from __future__ import annotations

import click

from zoo.cli.common import json_option, print_json, registry_option, say_undo, typed
from zoo.cli.help import Command
from zoo.cli.outputs import Card
from zoo.errors import UsageError
from zoo.registry.store import Registry
from zoo.runtime.files import write_whole
from zoo.runtime.terminal import printable, say

_OLD = "README.old.md"
"""Where the card of a folder elsewhere goes that is replaced and not carried over; it is never published."""


@click.command(
    name="card",
    cls=Command,
    examples=[
        "zoo card lora-bert-imdb",
        "zoo card lora-bert-imdb --write",
    ],
)
@click.argument("name")
@click.option(
    "--write", is_flag=True, help="Put it into the adapter's folder; prose outside its block is kept."
)
@click.option("--force", is_flag=True, help="With --write: leave out the prose of the card that is there.")
@registry_option
@json_option(Card)
def card_command(registry: Registry, name: str, write: bool, force: bool, as_json: bool) -> None:
    """The card of the adapter NAME, made from its record alone."""
    if force and not write:
        raise UsageError("--force says how --write writes.", "--write")
    record, folder = registry.locate(name)

    from zoo.cards.render import FILE, keep_prose, render
    from zoo.cards.validate import differs, validate

    text = render(record, record.hub.repo if record.hub else None)
    path = folder / FILE
    there = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    differences = [] if there is None else differs(there, record)
    new = text if there is None or force else keep_prose(there, text)
    written = write and new != there
    for line in validate(new):
        say(f"the Hub would refuse it: {printable(line)}")
    for line in differences:
        say(f"{path}: {printable(line)}")
    entry = None
    if written and there is not None and folder == registry.adapter_folder(record.name):
        with registry.replacing(typed()) as replaced:
            made = replaced.make(FILE)
            made.write_text(new, encoding="utf-8")
            replaced.move(path)
            replaced.place(made, path)
        entry = replaced.entry
    elif written:
        if there is not None and (differences or force):  # in a folder elsewhere, which has no trash
            path.replace(folder / _OLD)
            say(f"the card that was there is now {folder / _OLD}")
        write_whole(path, new.encode())
    if write:
        say_undo(f"{path} {'written' if written else 'is up to date'}", entry)
    if as_json:
        print_json(
            Card(
                name=record.name,
                path=str(path),
                text=text,
                written=written,
                edited=there is not None and there != text,
                differs=differences,
                refused=validate(new),
            )
        )
    elif not write:
        click.echo(printable(text), nl=False)
