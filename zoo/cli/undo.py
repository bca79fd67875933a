"""`zoo undo`: brings back what a command removed or replaced in the last week."""

from __future__ import annotations

import click

from zoo.cli.common import json_option, print_json, registry_option, say_undo, typed
from zoo.cli.help import Command
from zoo.cli.outputs import Undoable, Undone
from zoo.cli.tables import Column, print_table, wide_option
from zoo.registry.store import Registry
from zoo.registry.trash import Entry, entries
from zoo.runtime.terminal import say


@click.command(
    name="undo",
    cls=Command,
    examples=[
        "zoo undo",
        "zoo undo --list",
        "zoo undo 3",
    ],
)
@click.argument("number", required=False, metavar="[NUMBER]", type=click.IntRange(min=1))
@click.option("--list", "lists", is_flag=True, help="List what can be undone, and do nothing.")
@registry_option
@wide_option
@json_option(list[Undoable], Undone)
def undo_command(registry: Registry, number: int | None, lists: bool, as_json: bool) -> None:
    """Bring back what the last command removed or replaced, or the one that --list shows as NUMBER.

    rm, import --replace, card --write and the commands of zoo registry keep for a week what they replace. It
    is refused where something else has the place by now; an undo can be undone itself.
    """
    if lists:
        found = [_undoable(entry) for _, entry in reversed(entries(registry.folder))]
        print_table(
            found,
            (
                *("number", Column("command", rank=1, least=20)),
                Column("adapters", lambda row: ", ".join(row["adapters"]), rank=3, least=10, cut=True),
                *(Column("created", rank=4), Column("until", rank=2)),
            ),
            as_json,
        )
        if not found and not as_json:
            say(f"nothing to undo; looked in {registry.folder}")
        return
    undone, entry = registry.undo(number, typed())
    say_undo(f"undone: {undone.command}", entry, "takes that back")
    if as_json:
        print_json(Undone(undone=_undoable(undone), undo=entry.number))


def _undoable(entry: Entry) -> Undoable:
    return Undoable(
        number=entry.number,
        command=entry.command,
        created=entry.created,
        until=entry.until.isoformat(timespec="seconds"),
        adapters=entry.names,
    )
