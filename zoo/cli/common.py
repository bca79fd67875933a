"""Declares the options that commands share, and prints JSON."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from zoo.plugins.params import split_pairs
from zoo.registry.store import Registry, locate

DATA_HELP = "Rows: a csv, tsv, jsonl, json or parquet file, a folder, or a Hub id (hub:ID:CONFIG@REVISION)."


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


def print_json(value: Any) -> None:
    from zoo.registry.store import dump

    click.echo(dump(value).decode(), nl=False)


def number(value: float) -> str:
    return f"{value:.4f}"
