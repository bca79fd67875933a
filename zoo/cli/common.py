"""Declares the options that commands share, and prints JSON."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import click

from zoo.errors import Interrupted, NotFoundError, UsageError
from zoo.plugins.params import split_pairs
from zoo.registry.store import Registry, locate
from zoo.runtime.paths import expand, is_folder
from zoo.runtime.terminal import say

if TYPE_CHECKING:
    from zoo.registry.trash import Entry

DATA_HELP = "Rows: a csv, tsv, jsonl, json or parquet file, a folder, or a Hub id (hub:ID:CONFIG@REVISION)."


def _registry_option(may_be_new: bool) -> Callable[..., Any]:
    """Handed to the command as a Registry."""

    def find(ctx: click.Context, param: click.Parameter, value: str | None) -> Registry:
        try:
            registry = Registry(locate(value))
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise click.BadParameter(f"{error.strerror}: '{value}'.", ctx, param) from None
        if value and not may_be_new and not registry.exists() and not is_folder(expand(value)):
            made = "zoo train, pull and import make one"
            raise NotFoundError(f"there is no registry at '{value}': {made}.", "zoo config get registry")
        return registry

    return click.option(
        "--registry",
        metavar="PATH",
        callback=find,
        help="registry.json or its folder. Else $ZOO_REGISTRY, the nearest upwards, or what zoo config says.",
    )


registry_option = _registry_option(may_be_new=False)
"""For a command that reads: one that is named must be there. What nobody named may be empty."""
new_registry_option = _registry_option(may_be_new=True)
"""For a command that adds adapters."""


class JsonOption(click.Option):
    """`--json`, which knows what it makes the command print: `zoo schema` gives it as JSON Schema."""

    def __init__(self, *args: Any, outputs: tuple[Any, ...], **settings: Any):
        super().__init__(*args, **settings)
        self._outputs = outputs

    @property
    def outputs(self) -> list[Any]:
        """The types of which the output is one."""
        return [one() if isinstance(one, FunctionType) else one for one in self._outputs]


def json_option(*outputs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--json` as the argument `as_json`.

    Args:
        outputs: the type of what the command then gives `print_json`, or several of which it is one. A
            function that returns it, where importing it at once would make the command start later.
    """
    return click.option(
        "--json", "as_json", cls=JsonOption, outputs=outputs, is_flag=True, help="Print JSON."
    )


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
        columns = split_pairs(pairs, "--column")
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


def confirm(question: str, otherwise: str) -> None:
    """Ask on the terminal, and end the command with 1 and the line `otherwise` unless the answer is yes.

    The end of the input is no answer, so it is no.

    Raises:
        Interrupted: Ctrl-C.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as stop:  # for both; which of them it was is its context
        click.echo(err=True)
        if not isinstance(stop.__context__, EOFError):
            raise Interrupted(f"interrupted; {otherwise}.") from None
        agreed = False
    if not agreed:
        click.echo(otherwise, err=True)
        click.get_current_context().exit(1)


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["zoo", *sys.argv[1:]])


def say_undo(what: str, entry: Entry | None, how: str = "") -> None:
    """Say what was done, and until when which command takes it back; None cannot be."""
    if entry is None:
        say(what)
        return
    from zoo.cli.next_steps import next_step

    how = how or f"brings {'it' if len(entry.out) < 2 else 'them'} back"
    say(f"{what}; {next_step(f'zoo undo {entry.number}')} {how} (until {entry.until:%Y-%m-%d})")


def number_of(entry: Entry | None) -> int | None:
    return None if entry is None else entry.number


def confirm_unless(yes: bool, question: str, otherwise: str) -> None:
    """`confirm`, unless `--yes` was given.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on.", "--yes")
    confirm(question, otherwise)


def print_json(value: Any) -> None:
    from zoo.registry.store import dump

    click.echo(dump(value).decode(), nl=False)


def number(value: float) -> str:
    return f"{value:.4f}"
