"""`zoo methods`, `tasks`, `sources`, `plugins`: what is installed; `zoo plugin`: for authors of plugins."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import (
    json_option,
    print_checks,
    print_facts,
    print_json,
    print_table,
    with_whole_fixes,
)
from zoo.errors import IncompatibleError, NotFoundError, PluginError, UsageError
from zoo.plugins import manager
from zoo.plugins.method import one_line
from zoo.plugins.params import describe, parse, split_pairs
from zoo.runtime.checks import failures
from zoo.runtime.console import StderrReport
from zoo.runtime.suggest import did_you_mean
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
        raise UsageError("--base needs --task.", "--task TASK")
    if name is not None:
        manager.load_method(name)  # not found, or broken: an error rather than a row left out
    tasks = [manager.load_task(task)] if task else [made for _, made in _working("task")]
    methods = [(plugin, made) for plugin, made in _working("method") if name in (None, made.name)]
    known, plugins = manager.find("task"), [plugin for plugin, _ in methods]
    if task:
        counted = {task: count_methods(known[task], plugins, base, StderrReport())}
    else:
        counted = {one.name: kept(known[one.name], plugins) for one in tasks}
    rows = []
    for plugin, method in methods:
        try:
            rows.append(_method(plugin, method, tasks, counted))
        except Exception as error:  # a third-party `refuses` or Params may raise anything
            message = f"{plugin} fails: {type(error).__name__}: {one_line(error)}"
            if name:
                raise PluginError(message) from error
            click.echo(f"Warning: {message}", err=True)
    if name and as_json:
        print_json(rows[0])
    elif name:
        _explain(rows[0])
    else:
        columns = (
            "name",
            ("what it does", "summary"),
            ("tasks", lambda row: row["tasks"] if row["refused"] else "all"),
            ("merges", lambda row: "no" if row["unmergeable"] else "yes"),
            ("trainable", lambda row: _trainable(row, task)),
            "paper",
            "package",
        )
        print_table(rows, columns, as_json)


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
    return {
        **{field: getattr(method, field) for field in ("name", "summary", "paper", "learning_rate")},
        "params": describe(method.Params),
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
            *((f"fits {task}", _fits(row["trainable"].get(task))) for task in row["tasks"]),
            *((f"not {task}", reason) for task, reason in row["refused"].items()),
        ]
    )
    if row["params"]:
        click.echo()
        params = [{"name": name, **one} for name, one in row["params"].items()]
        print_table(params, (("-s", "name"), "type", "default", "range", ("what it is", "help")))


def _fits(trainable: int | None) -> str:
    return "yes" if trainable is None else f"yes, {trainable:,} trainable parameters"


@click.command(name="tasks")
@json_option
def tasks_command(as_json: bool) -> None:
    """List the tasks, with their default bases and data in order of preference."""
    rows = [
        {field: getattr(task, field) for field in ("name", "summary", "bases", "data", "columns")}
        | {"metric": task.primary_metric, "package": plugin.distribution}
        for plugin, task in _working("task")
    ]
    columns = ("name", ("what is learned", "summary"), "bases", "data", "columns", "metric", "package")
    print_table(rows, columns, as_json)


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
    lines = [row | offer for row in rows for offer in row["offers"] or [{"note": row["summary"]}]]
    print_table(lines, (("source", "name"), "scheme", "kind", ("here now", "reference"), "note"))


@click.command(name="plugins")
@json_option
def plugins_command(as_json: bool) -> None:
    """Every installed plugin, the package it came with, and why it does not work if it does not."""
    rows = [
        {
            "kind": plugin.kind,
            "name": plugin.name,
            "package": plugin.distribution,
            "module": plugin.module,
            "state": str(trouble or "ok"),
        }
        for kind in manager.KINDS
        for plugin, _, trouble in manager.load_all(kind)
    ]
    print_table(rows, ("kind", "name", "package", "module", "state"), as_json)


def _working(kind: str) -> Iterator[tuple[manager.Plugin, Any]]:
    """The plugins that load; those that do not are named on stderr and harm nothing."""
    for plugin, made, error in manager.load_all(kind):
        if error is None:
            yield plugin, made
        else:
            click.echo(f"Warning: {error}", err=True)


@click.group(name="plugin")
def plugin_command() -> None:
    """Create and check plugins."""


@plugin_command.command(name="new")
@click.argument("kind", type=click.Choice(["method", "task"]))
@click.argument("name")
@click.option(
    "-o",
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="The folder to make it in.",
)
def new_command(kind: str, name: str, into: Path) -> None:
    """A folder that pip installs: a working plugin, a test by the kit, a README."""
    from zoo.cli.next_steps import hint_line
    from zoo.plugins.scaffold import write_package

    folder = write_package(kind, name, into)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        click.echo(path)
    click.echo(hint_line(f"pip install -e {shlex.quote(str(folder))} && zoo plugin check {name}"), err=True)


@plugin_command.command(name="check")
@click.argument("name")
@click.option("--kind", type=click.Choice(manager.KINDS), help="Where a method and a task share a name.")
@click.option("--task", metavar="TASK", help="Check a method on this task. Else on one of each kind.")
@click.option("-s", "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter of the method.")
@click.option(
    "--base", type=click.Path(path_type=Path, exists=True), help="A small base in place of the kit's."
)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="Small data in place of the kit's."
)
@json_option
def check_command(name: str, kind: str | None, pairs: tuple[str, ...], as_json: bool, **samples: Any) -> None:
    """Run an installed plugin on tiny models and say which promises it keeps.

    Exit code 5 if one is broken.
    """
    from zoo.testing import check_plugin

    results = check_plugin(kind or _kind_of(name), name, params=split_pairs(pairs), **samples)
    if as_json:
        print_json(with_whole_fixes(results))
    else:
        print_checks(results)
    if wrong := failures(results):
        details = "; ".join(f"{one.name} ({one.detail})" for one in wrong)
        raise IncompatibleError(f"'{name}' breaks {len(wrong)} of its {len(results)} promises: {details}.")


def _kind_of(name: str) -> str:
    found = [kind for kind in manager.KINDS if name in manager.find(kind)]
    if len(found) > 1:
        raise UsageError(f"'{name}' is a {' and a '.join(found)}.", f"--kind {found[0]}")
    if not found:
        known = [one for kind in manager.KINDS for one in manager.find(kind)]
        raise NotFoundError(f"no plugin is called '{name}'.{did_you_mean(name, known)}", "zoo plugins")
    return found[0]
