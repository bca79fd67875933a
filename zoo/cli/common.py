"""Declares the options that commands share, and prints data: a table, tab-separated lines, or JSON."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from zoo.plugins.params import split_pairs
from zoo.registry.schema import Metric
from zoo.registry.store import Registry, locate
from zoo.runtime.checks import CheckResult

DATA_HELP = "Rows: a csv, tsv, jsonl, json or parquet file, a folder, or a Hub id (hub:ID:CONFIG@REVISION)."
Fixable = TypeVar("Fixable", bound=CheckResult)
_MANY = 200
"""Rows of a table on a terminal that are worth folding into columns: rich lays out 3,000 a second."""


registry_option = click.option(
    "--registry",
    metavar="PATH",
    callback=lambda ctx, param, value: Registry(locate(value)),
    help="registry.json or its folder. Else $ZOO_REGISTRY, the nearest upwards, or your data folder.",
)
"""Handed to the command as an opened Registry."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--column` and its short forms as one argument, `columns`: role -> column."""

    @click.option(
        "--column",
        "pairs",
        multiple=True,
        metavar="ROLE=NAME",
        help="A column under another name: label=stars, sentence1=question.",
    )
    @click.option("--text-column", metavar="NAME", help="Short for --column text=NAME.")
    @click.option("--label-column", metavar="NAME", help="Short for --column label=NAME.")
    @functools.wraps(command)
    def with_columns(
        *args: Any, pairs: tuple[str, ...], text_column: str | None, label_column: str | None, **settings: Any
    ) -> Any:
        columns = split_pairs(pairs)
        columns |= {"text": text_column} if text_column else {}
        columns |= {"label": label_column} if label_column else {}
        return command(*args, columns=columns, **settings)

    return with_columns


base_option = click.option(
    "--base",
    metavar="ID|PATH",
    help="The adapter's base, where it is not found by itself. It must hold the same weights.",
)


def base_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--base` and `--allow-other-base`, as the arguments `base` and `allow_other`."""
    allow = click.option(
        "--allow-other-base",
        "allow_other",
        is_flag=True,
        help="Use a base with other weights all the same, if the shapes fit; the record keeps a note of it.",
    )
    return base_option(allow(command))


def print_json(value: Any) -> None:
    from zoo.registry.store import dump

    click.echo(dump(value).decode(), nl=False)


def print_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Iterable[str | tuple[str, str | Callable[[Any], object]]],
    as_json: bool = False,
) -> None:
    """Print rows whole as JSON, or some of their columns as a table.

    Args:
        columns: a key of the rows, or a header and what is below it: a key, or a function of the row.
    """
    if as_json:
        print_json(rows)
        return
    named = [(one, one) if isinstance(one, str) else one for one in columns]
    cells = [[row.get(of, "") if isinstance(of, str) else of(row) for _, of in named] for row in rows]
    print_rows([header for header, _ in named], cells)


def print_rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; elsewhere tab-separated lines under a header, with nothing cut."""
    if not sys.stdout.isatty():
        click.echo("\n".join("\t".join(map(_cell, row)) for row in (header, *rows)))
        return
    if len(rows) > _MANY:
        _print_aligned(header, rows)
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


def _print_aligned(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.cells import cell_len

    lines = [[_cell(value) for value in row] for row in (header, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    padded = [
        "  ".join([text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)])
        for line in lines
    ]
    head, *body = [line.rstrip() for line in padded]
    click.echo("\n".join([click.style(head, bold=True), *body]))


def print_checks(results: Iterable[CheckResult], *columns: str) -> None:
    """A row for each result; `columns` are further fields of it, shown after its name."""
    results = with_whole_fixes(results)
    header = ("name", *columns, "status", "detail", "fix")
    print_rows(header, [[getattr(one, column) for column in header] for one in results])


def with_whole_fixes(results: Iterable[Fixable]) -> list[Fixable]:
    """The results with the fix of each as the whole command."""
    from zoo.cli.next_steps import next_step

    return [replace(one, fix=next_step(one.fix)) if one.fix else one for one in results]


def print_metrics(measured: Sequence[tuple[str, Sequence[Metric], Mapping[str, Sequence[Metric]]]]) -> None:
    """One table of (name, metrics, baselines); baselines in common come once, below the last of these."""
    rows = []
    for index, (name, metrics, baselines) in enumerate(measured):
        again = any(baselines == later for _, _, later in measured[index + 1 :])
        rows += [
            (model, m.name, number(m.value), number(m.low), number(m.high), m.n)
            for model, found in ((name, metrics), *(() if again else baselines.items()))
            for m in found
        ]
    print_rows(("model", "metric", "value", "low", "high", "n"), rows)


def print_facts(facts: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """`name  value` lines, aligned on a terminal and tab-separated elsewhere."""
    facts = list(facts.items() if isinstance(facts, Mapping) else facts)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        padded = f"{name:{width}}  " if sys.stdout.isatty() else f"{name}\t"
        click.echo(padded + _cell(value))


def printable(text: str) -> str:
    """Untrusted text, with its lines and tabs and without what moves a cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def number(value: float) -> str:
    return f"{value:.4f}"


def _cell(value: object) -> str:
    """Untrusted text may hold tabs, newlines and terminal escapes: none may break a line or a screen."""
    text = value if isinstance(value, str) else _text(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
