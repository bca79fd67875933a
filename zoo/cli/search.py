"""`zoo search`: adapters on the Hub."""

from __future__ import annotations

import click
import msgspec

from zoo.cli.output import json_option, number, print_table
from zoo.runtime.console import StderrReport


@click.command(name="search")
@click.argument("query", required=False)
@click.option("--base", metavar="ID", help="On this base: a Hub id, in its new or its old form.")
@click.option("--method", metavar="NAME", help="Of this method.")
@click.option("--task", metavar="NAME", help="For this task.")
@click.option("--author", metavar="NAME", help="Of this person or organisation.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=30, show_default=True, metavar="N", help="At most N."
)
@json_option
def search_command(query: str | None, limit: int, as_json: bool, **filters: str | None) -> None:
    """Find adapters on the Hub, the most downloaded first.

    QUERY is part of a repository's name. What is shown is what the publishers' cards say, metrics included.
    """
    from zoo.hub.search import search

    found = search(StderrReport(), query=query, limit=limit, **filters)
    columns = (
        *("repo", "base", "method", "task", "metric"),
        ("value", lambda row: "" if row["value"] is None else number(row["value"])),
        *("downloads", "updated"),
    )
    print_table([msgspec.to_builtins(row) for row in found], columns, as_json)
    if as_json:
        return
    if not found:
        click.echo("no adapter on the Hub fits", err=True)
    elif len(found) == limit:
        click.echo(f"the first {limit}; --limit N shows more", err=True)
