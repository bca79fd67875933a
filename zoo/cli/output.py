"""Data on stdout: a table for a person, tab-separated for a pipe, JSON where it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from zoo.registry import Registry, locate
from zoo.specs import Metric


def registry_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--registry PATH`, handed to the command as an opened Registry."""

    def open_registry(ctx: click.Context, param: click.Parameter, value: str | None) -> Registry:
        return Registry(locate(value))

    return click.option(
        "--registry",
        metavar="PATH",
        callback=open_registry,
        help="registry.json or its folder. Else $ZOO_REGISTRY, the nearest upwards, or your data folder.",
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    from zoo.registry import dump

    click.echo(dump(value).decode(), nl=False)


def print_rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; elsewhere tab-separated lines under a header, with nothing cut."""
    if not sys.stdout.isatty():
        lines = ["\t".join(map(_cell, row)) for row in (header, *rows)]
        click.echo("\n".join(lines))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console().print(table)


def print_metrics(name: str, metrics: Sequence[Metric], baselines: Mapping[str, Sequence[Metric]]) -> None:
    """The metrics of `name` with their intervals, and those of its baselines below."""
    rows = [
        (model, m.name, number(m.value), number(m.low), number(m.high), m.n)
        for model, measured in ((name, metrics), *baselines.items())
        for m in measured
    ]
    print_rows(("model", "metric", "value", "low", "high", "n"), rows)


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """`name  value` lines, aligned on a terminal and tab-separated elsewhere."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        padded = f"{name:{width}}  " if sys.stdout.isatty() else f"{name}\t"
        click.echo(padded + _cell(value))


def number(value: float) -> str:
    return f"{value:.4f}"


def _cell(value: object) -> str:
    """Text of strangers may hold tabs, newlines and terminal escapes: none may break a line or a screen."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
