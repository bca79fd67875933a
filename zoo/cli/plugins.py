"""`zoo methods`, `zoo tasks`, `zoo sources`, `zoo plugins`: what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.output import json_option, print_facts, print_json, print_rows
from zoo.errors import PluginError, UsageError
from zoo.plugins import manager
from zoo.plugins.method import one_line
from zoo.plugins.params import describe, parse, ranges
from zoo.runtime.console import StderrReport
from zoo.training.parameter_counts import Counted, count_methods, kept

if TYPE_CHECKING:
    from zoo.plugins.method import Method
    from zoo.tasks.base import Task


@click.command(name="methods")
@click.argument("name", required=False)
@click.option("--task", metavar="TASK", help="Also count what each trains on this task's base.")
@click.option("--base", metavar="ID|FOLDER", help="Count on this base instead; needs --task.")
@json_option
def methods_command(name: str | None, task: str | None, base: str | None, as_json: bool) -> None:
    """List the training methods, or describe one of them.

    Counts are of the default parameters; those made before on a task's default base are shown again.
    """
    if base is not None and task is None:
        raise UsageError("--base needs --task.", "zoo methods --task TASK --base BASE")
    if name is not None:
        manager.load_method(name)  # not found, or broken: said as an error rather than left out
    tasks = [manager.load_task(task)] if task else [made for _, made in _working("task")]
    methods = [(plugin, made) for plugin, made in _working("method") if name in (None, made.name)]
    counted = _count([plugin for plugin, _ in methods], tasks, task, base)
    rows = []
    for plugin, method in methods:
        try:
            rows.append(_method(plugin, method, tasks, counted))
        except Exception as error:  # a third-party `refuses` or Params may raise anything
            said = f"{plugin} fails: {type(error).__name__}: {one_line(error)}"
            if name:
                raise PluginError(said) from error
            click.echo(f"Warning: {said}", err=True)
    if as_json:
        print_json(rows[0] if name else rows)
    elif name:
        _explain(rows[0])
    else:
        print_rows(
            ("name", "what it does", "tasks", "merges", "trainable", "paper", "package"),
            [
                (
                    row["name"],
                    row["summary"],
                    ", ".join(row["tasks"]) if row["refused"] else "all",
                    "no" if row["unmergeable"] else "yes",
                    _trainable(row, task),
                    row["paper"],
                    row["package"],
                )
                for row in rows
            ],
        )


def _count(
    methods: Sequence[manager.Plugin], tasks: Sequence[Task], asked: str | None, base: str | None
) -> dict[str, dict[str, Counted]]:
    """By task and method."""
    known = manager.find("task")
    if asked:
        return {asked: count_methods(known[asked], methods, base, StderrReport())}
    return {task.name: kept(known[task.name], methods) for task in tasks}


def _method(
    plugin: manager.Plugin,
    method: Method,
    tasks: Sequence[Task],
    counted: dict[str, dict[str, Counted]],
) -> dict[str, Any]:
    params = parse(method.Params, {}, f"method '{method.name}'")
    refused = {task.name: method.refuses(task, params) for task in tasks}
    found = {task: by_method[method.name] for task, by_method in counted.items() if method.name in by_method}
    # what the default base itself rules out is known once it was counted
    refused |= {task: one.reason for task, one in found.items() if one.trainable is None}
    limits = ranges(method.Params)
    return {
        "name": method.name,
        "summary": method.summary,
        "paper": method.paper,
        "learning_rate": method.learning_rate,
        "params": {
            name: {"type": kind, "default": default, "range": limits.get(name, ""), "help": help}
            for name, kind, default, help in describe(method.Params)
        },
        "tasks": [task for task, reason in refused.items() if reason is None],
        "refused": {task: reason for task, reason in refused.items() if reason is not None},
        "unmergeable": method.unmergeable,
        "trainable": {task: one.trainable for task, one in found.items() if one.trainable is not None},
        "format": method.format,
        "package": plugin.distribution,
    }


def _trainable(row: dict[str, Any], task: str | None) -> str:
    if task:
        return f"{row['trainable'][task]:,}" if task in row["trainable"] else f"no: {row['refused'][task]}"
    return ", ".join(f"{number:,} ({name})" for name, number in row["trainable"].items())


def _explain(row: dict[str, Any]) -> None:
    print_facts(
        [
            ("method", row["name"]),
            ("what it does", row["summary"]),
            ("paper", row["paper"]),
            ("learning rate", f"{row['learning_rate']:g}"),
            ("merges", f"no: {row['unmergeable']}" if row["unmergeable"] else "yes"),
            ("saved as", row["format"]),
            ("package", row["package"]),
            *((f"fits {task}", _trains(row, task)) for task in row["tasks"]),
            *((f"not {task}", reason) for task, reason in row["refused"].items()),
        ]
    )
    if row["params"]:
        click.echo()
        print_rows(
            ("-s", "type", "default", "range", "what it is"),
            [
                (name, one["type"], one["default"], one["range"], one["help"])
                for name, one in row["params"].items()
            ],
        )


def _trains(row: dict[str, Any], task: str) -> str:
    number = row["trainable"].get(task)
    return "yes" if number is None else f"yes, {number:,} trainable parameters"


@click.command(name="tasks")
@json_option
def tasks_command(as_json: bool) -> None:
    """List the tasks, with their default bases and data in order of preference."""
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
    for kind in manager.KINDS:
        for plugin, _, trouble in manager.load_all(kind):
            rows.append((plugin.kind, plugin.name, plugin.distribution, plugin.module, trouble or "ok"))
    header = ("kind", "name", "package", "module", "state")
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
        return
    print_rows(header, rows)


def _working(kind: str) -> list[tuple[manager.Plugin, Any]]:
    """The plugins that load; those that do not are named on stderr and harm nothing."""
    found = []
    for plugin, made, trouble in manager.load_all(kind):
        if trouble is None:
            found.append((plugin, made))
        else:
            click.echo(f"Warning: {trouble}", err=True)
    return found
