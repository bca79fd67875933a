"""`zoo methods`, `zoo tasks`, `zoo sources`, `zoo plugins`: what is installed."""

from __future__ import annotations

from typing import Any

import click

from zoo import options, plugins
from zoo.cli.output import json_option, print_json, print_rows


@click.command(name="methods")
@json_option
def methods_command(as_json: bool) -> None:
    """The ways to adapt a base, their parameters and defaults."""
    rows = [
        {
            "name": method.name,
            "summary": method.summary,
            "paper": method.paper,
            "learning_rate": method.learning_rate,
            "params": {name: default for name, _, default, _ in options.describe(method.Params)},
            "package": plugin.distribution,
        }
        for plugin, method in _working("method")
    ]
    if as_json:
        print_json(rows)
        return
    print_rows(
        ("name", "what it does", "parameters", "learning rate", "paper", "package"),
        [
            (
                row["name"],
                row["summary"],
                " ".join(f"{name}={default}" for name, default in row["params"].items()),
                f"{row['learning_rate']:g}",
                row["paper"],
                row["package"],
            )
            for row in rows
        ],
    )


@click.command(name="tasks")
@json_option
def tasks_command(as_json: bool) -> None:
    """What can be learned, with the default bases and data in order of preference."""
    rows = [
        {
            "name": task.name,
            "summary": task.summary,
            "bases": list(task.bases),
            "data": list(task.data),
            "columns": list(task.columns),
            "metric": task.primary_metric,
            "package": plugin.distribution,
        }
        for plugin, task in _working("task")
    ]
    if as_json:
        print_json(rows)
        return
    print_rows(
        ("name", "what is learned", "bases", "data", "columns", "metric", "package"),
        [
            (
                row["name"],
                row["summary"],
                ", ".join(row["bases"]),
                ", ".join(row["data"]),
                ", ".join(row["columns"]),
                row["metric"],
                row["package"],
            )
            for row in rows
        ],
    )


@click.command(name="sources")
@json_option
def sources_command(as_json: bool) -> None:
    """Where bases and data come from, in the order in which they are asked, and what is here now."""
    found = sorted(_working("source"), key=lambda pair: pair[1].order)
    rows = [
        {
            "name": source.name,
            "scheme": f"{source.scheme}:",
            "summary": source.summary,
            "package": plugin.distribution,
            "offers": [
                {"kind": offer.kind, "id": offer.id, "reference": offer.location, "note": offer.note}
                for kind in ("base", "data")
                for offer in source.offers(kind)
            ],
        }
        for plugin, source in found
    ]
    if as_json:
        print_json(rows)
        return
    print_rows(
        ("source", "scheme", "kind", "here now", "note"),
        [
            line
            for row in rows
            for line in (
                [(row["name"], row["scheme"], o["kind"], o["reference"], o["note"]) for o in row["offers"]]
                or [(row["name"], row["scheme"], "", "", row["summary"])]
            )
        ],
    )


@click.command(name="plugins")
@json_option
def plugins_command(as_json: bool) -> None:
    """Every installed plugin, the package it came with, and why it does not work if it does not."""
    rows = []
    for kind in plugins.KINDS:
        for plugin, _, trouble in plugins.load_all(kind):
            rows.append((plugin.kind, plugin.name, plugin.distribution, plugin.module, trouble or "ok"))
    header = ("kind", "name", "package", "module", "state")
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
        return
    print_rows(header, rows)


def _working(kind: str) -> list[tuple[plugins.Plugin, Any]]:
    """The plugins that load; those that do not are named on stderr and harm nothing."""
    found = []
    for plugin, made, trouble in plugins.load_all(kind):
        if trouble is None:
            found.append((plugin, made))
        else:
            click.echo(f"Warning: {trouble}", err=True)
    return found
