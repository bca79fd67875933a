"""Prints rows and facts: fitted to a terminal and paged there, tab-separated and complete elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import structs

from zoo.cli.common import number, print_json
from zoo.registry.schema import Metric
from zoo.runtime.checks import CheckResult
from zoo.runtime.terminal import cells, has_colour, say, shorten, size, widest_word, wrap

_WIDE = "zoo.wide"
_GAP = "  "
_INDENT = "    "
_USUAL = 0.8
"""The part of a column's cells that decides how wide it must be: longer ones get lines of their own."""

Fixable = TypeVar("Fixable", bound=CheckResult)


def _wide_by_default() -> bool:
    if not sys.stdout.isatty():
        return False
    from zoo.runtime.config import setting

    return bool(setting("wide"))


wide_option = click.option(
    "--wide/--no-wide",
    default=_wide_by_default,
    expose_value=False,
    callback=lambda ctx, param, value: ctx.meta.update({_WIDE: value}),
    help="On a terminal: every column whole, however wide.",
)
"""For every command with a table: `print_rows` finds it in click's context."""


@dataclass(frozen=True)
class Column:
    """One column of a table, and what becomes of it on a terminal that is too narrow.

    Columns that are neither `least` nor `below` hold names and numbers, which are never cut.
    """

    header: str
    of: str | Callable[[Any], object] = ""
    """For `print_table`: a key of the row, or a function of it. Default: the header."""
    rank: int = 1
    """Columns of the highest rank are left out first, together; those of rank 1 never."""
    least: int = 0
    """Sentences, wrapped in no fewer cells than these."""
    cut: bool = False
    """Sentences are cut with an ellipsis instead: one line a row."""
    below: bool = False
    """Commands, each in a line of its own below its row."""


class Typed(str):
    """A command to paste. It stays one where it is wrapped."""

    __slots__ = ()


@dataclass
class _Page:
    parts: list[str] = field(default_factory=list)
    left_out: int = 0


_page: _Page | None = None
"""What is printed inside of `page()`."""


@contextmanager
def page() -> Iterator[None]:
    """Show what is printed inside as one text, with an empty line between its parts."""
    global _page
    _page = _Page()
    try:
        yield
    finally:
        done, _page = _page, None
        if done.parts:
            _show("\n\n".join(done.parts), done.left_out)


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[str | Column], as_json: bool = False
) -> None:
    """Print rows whole as JSON, or some of their columns as a table."""
    if as_json:
        print_json(rows)
        return
    made = [_column(one) for one in columns]
    values = [
        [row.get(of, "") if isinstance(of, str) else of(row) for of in (one.of or one.header for one in made)]
        for row in rows
    ]
    print_rows(made, values)


def print_rows(columns: Iterable[str | Column], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; elsewhere tab-separated lines under a header, with nothing cut."""
    made = [replace(one, header=_cell(one.header)) for one in map(_column, columns)]
    if not sys.stdout.isatty():
        header = [one.header for one in made]
        # most cells are plain text, and a call for each takes longer than joining them
        lines = (
            [one if isinstance(one, str) and one.isprintable() else _cell(one) for one in line]
            for line in (header, *rows)
        )
        _print("\n".join(map("\t".join, lines)))
        return
    texts = [[_cell(f"{value:,}" if type(value) is int else value) for value in row] for row in rows]
    limit, _ = size(sys.stdout)
    layout = _whole(made, texts) if _is_wide() else _fit(made, texts, limit)
    _print("\n".join(_lines(made, texts, layout, limit)), layout.left_out if texts else 0)


@dataclass
class _Layout:
    shown: list[int]
    """Columns of the table."""
    below: list[int]
    """Columns that are lines below their row."""
    widths: list[int]
    left_out: int = 0


def _whole(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> _Layout:
    lines = zip([one.header for one in columns], *rows, strict=True)
    return _Layout(list(range(len(columns))), [], [max(map(cells, column)) for column in lines])


def _fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], limit: int) -> _Layout:
    """Leave out empty columns, then others by rank; then give names or sentences lines of their own."""
    found = _whole(columns, rows)
    filled = [at for at in found.shown if at == 0 or not rows or any(row[at] for row in rows)]
    found.below = [at for at in filled if columns[at].below]
    found.shown = [at for at in filled if at not in found.below]
    wanted, headers = list(found.widths), [cells(one.header) for one in columns]
    for at in found.shown:
        if least := columns[at].least:
            word = 0 if columns[at].cut else _usual(widest_word(row[at]) for row in rows)
            found.widths[at] = min(wanted[at], max(least, word, headers[at]))
    if not columns[0].least:
        found.widths[0] = max(headers[0], _usual(cells(row[0]) for row in rows))

    def room() -> int:
        return limit - sum(found.widths[at] + len(_GAP) for at in found.shown) + len(_GAP)

    while room() < 0 and (rank := max(columns[at].rank for at in found.shown)) > 1:
        kept = [at for at in found.shown if columns[at].rank < rank]
        found.left_out += len(found.shown) - len(kept)
        found.shown = kept
    if room() < headers[0] - found.widths[0]:
        sentences = [at for at in found.shown[1:] if columns[at].least and not columns[at].cut]
        found.shown = [at for at in found.shown if at not in sentences]
        found.below = sentences + found.below
    if room() < 0:
        found.widths[0] = headers[0]
    for at in found.shown:
        wider = wanted[at] - found.widths[at]
        if columns[at].least or wider <= room():
            found.widths[at] += min(wider, max(room(), 0))
    return found


def _usual(sizes: Iterable[int]) -> int:
    ordered = sorted(sizes)
    return ordered[int(len(ordered) * _USUAL)] if ordered else 0


def _lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], layout: _Layout, limit: int
) -> Iterator[str]:
    shown, widths = layout.shown, [layout.widths[at] for at in layout.shown]
    head = _padded([columns[at].header for at in shown], widths)
    yield click.style(head, bold=True) if has_colour(sys.stdout) else head
    for row in rows:
        parts: list[list[str]] = []
        below: list[int] = []
        for at, width in zip(shown, widths, strict=True):
            text, column = row[at], columns[at]
            if cells(text) <= width:
                parts.append([text])
            elif column.cut:
                parts.append([shorten(text, width)])
            elif at == 0 and not column.least:
                yield from wrap(text, limit)
                parts.append([])
            elif widest_word(text) <= width:
                parts.append(wrap(text, width))
            else:
                below.append(at)
                parts.append([])
        yield from filter(None, (_padded(part, widths) for part in zip_longest(*parts, fillvalue="")))
        facts = [
            (columns[at].header, Typed(row[at]) if columns[at].below else row[at])
            for at in (*below, *layout.below)
            if row[at]
        ]
        yield from (_INDENT + line for line in _aligned(facts, limit - len(_INDENT)))


def _padded(texts: Iterable[str], widths: Iterable[int]) -> str:
    padded = [text + " " * (width - cells(text)) for text, width in zip(texts, widths, strict=True)]
    return _GAP.join(padded).rstrip()


def print_checks(results: Iterable[CheckResult], *columns: Column) -> None:
    """A row for each result; `columns` are further fields of it, shown after its name."""
    results = with_whole_fixes(results)
    made = (
        *(Column("name"), *columns, Column("status", rank=3 if columns else 1)),
        *(Column("detail", least=30), Column("fix", below=True)),
    )
    print_rows(made, [[getattr(one, column.header) for column in made] for one in results])


def with_whole_fixes(results: Iterable[Fixable]) -> list[Fixable]:
    """The results with the fix of each as the whole command."""
    from zoo.cli.next_steps import next_step

    return [structs.replace(one, fix=next_step(one.fix)) if one.fix else one for one in results]


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
    print_rows(("model", "metric", "value", "low", "high", Column("n", rank=2)), rows)


def print_facts(facts: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """`name  value` lines: on a terminal aligned and wrapped, elsewhere tab-separated."""
    pairs = facts.items() if isinstance(facts, Mapping) else facts
    facts = [(_cell(name), value) for name, value in pairs]
    if sys.stdout.isatty():
        lines = _aligned(facts, size(sys.stdout)[0])
    else:
        lines = (f"{name}\t{_cell(value)}" for name, value in facts)
    _print("\n".join(lines))


def _aligned(facts: Sequence[tuple[str, object]], limit: int) -> Iterator[str]:
    """Values with a hanging indent; on lines of their own where a word would not fit beside the names."""
    hang = max((cells(name) for name, _ in facts), default=0) + len(_GAP)
    for name, value in facts:
        text, command = _cell(value), isinstance(value, Typed)
        whole = isinstance(value, Path)  # which may have spaces
        lines = [text] if whole else wrap(text, limit - hang, command=command)
        if all(cells(line) <= limit - hang for line in lines):
            first, *more = lines
            yield name + " " * (hang - cells(name)) + first
            yield from (" " * hang + line for line in more)
        else:
            yield name
            lines = [text] if whole else wrap(text, limit - len(_INDENT), command=command)
            yield from (_INDENT + line for line in lines)


def _print(text: str, left_out: int = 0) -> None:
    if _page is None:
        _show(text, left_out)
    else:
        _page.parts.append(text)
        _page.left_out += left_out


def _show(text: str, left_out: int) -> None:
    if _is_long(text):
        _through_pager(text)
    else:
        click.echo(text)
    if left_out:
        say(f"{left_out} more {'column' if left_out == 1 else 'columns'} with --wide")


def _is_long(text: str) -> bool:
    """More than a screen of a terminal on which somebody can scroll."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    columns, lines = size(sys.stdout)
    found = click.unstyle(text).split("\n")
    return len(found) >= lines or (_is_wide() and max(map(cells, found)) > columns)


def _through_pager(text: str) -> None:
    """`ZOO_PAGER`, else `PAGER`, else less; one that is empty prints plainly."""
    pager = os.environ.get("ZOO_PAGER", os.environ.get("PAGER"))
    if pager == "":
        click.echo(text)
        return
    if pager is not None:
        os.environ["PAGER"] = pager  # which click reads
    os.environ["LESS"] = os.environ.get("LESS", "-RX") + (" -S -+F" if _is_wide() else "")
    with suppress(KeyboardInterrupt):  # while the pager is being filled
        click.echo_via_pager(text)


def _is_wide() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_WIDE))


def _column(one: str | Column) -> Column:
    return Column(one) if isinstance(one, str) else one


def _cell(value: object) -> str:
    """Untrusted text may hold tabs, newlines and terminal escapes: none may break a line or a screen."""
    text = value if isinstance(value, str) else _text(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
