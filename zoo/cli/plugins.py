"""`zoo methods`, `tasks`, `sources`, `plugins`: what is installed; `zoo plugin`: for authors of plugins."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import json_option, print_json
from zoo.cli.help import Command, Group
from zoo.cli.outputs import MethodFacts, NewPlugin, Offered, PluginFacts, SourceFacts, TaskFacts
from zoo.cli.tables import Column, page, print_checks, print_facts, print_table, wide_option, with_whole_fixes
from zoo.errors import IncompatibleError, NotFoundError, PluginError, UsageError
from zoo.plugins import manager
from zoo.plugins.method import one_line
from zoo.plugins.params import describe, parse, split_pairs
from zoo.runtime import console, suggest
from zoo.runtime.checks import CheckResult, failures
from zoo.runtime.console import StderrReport
from zoo.runtime.terminal import say
from zoo.training.parameter_counts import Counted, count_methods, kept

if TYPE_CHECKING:
    from zoo.plugins.method import Method
    from zoo.tasks.base import Task


@click.command(
    name="methods",
    cls=Command,
    examples=[
        "zoo methods",
        "zoo methods lora",
        "zoo methods --task bert-imdb",
    ],
)
@click.argument("name", required=False)
@click.option("--task", metavar="TASK", help="Also count what each trains on this task's base.")
@click.option("--base", metavar="ID|FOLDER", help="Count on this base instead; needs --task.")
@wide_option
@json_option(list[MethodFacts])
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
            failure = f"{plugin} fails: {type(error).__name__}: {one_line(error)}"
            if name:
                raise PluginError(failure) from error
            say(failure, "Warning:")
    if name and not as_json:
        _explain(rows[0])
    else:
        columns = (
            "name",
            Column("what it does", "summary", least=66 if task is None else 30, cut=True),
            Column("tasks", lambda row: row["tasks"] if row["refused"] else "all", rank=3),
            Column("merges", lambda row: "no" if row["unmergeable"] else "yes", rank=2),
            Column("trainable", lambda row: _trainable(row, task), rank=1 if task else 6, least=20, cut=True),
            Column("paper", rank=4),
            Column("package", rank=5),
        )
        print_table(rows, columns, as_json)


def _method(
    plugin: manager.Plugin,
    method: Method,
    tasks: Sequence[Task],
    counted: dict[str, dict[str, Counted]],
) -> MethodFacts:
    params = parse(method.Params, {}, f"method '{method.name}'")
    refused = {task.name: method.refuses(task, params) for task in tasks}
    found = {task: by_method[method.name] for task, by_method in counted.items() if method.name in by_method}
    # what the default base itself rules out is known once it was counted
    refused |= {task: one.reason for task, one in found.items() if one.trainable is None}
    return MethodFacts(
        name=method.name,
        summary=method.summary,
        paper=method.paper,
        learning_rate=method.learning_rate,
        params=describe(method.Params),
        tasks=[task for task, reason in refused.items() if reason is None],
        refused={task: reason for task, reason in refused.items() if reason is not None},
        unmergeable=method.unmergeable,
        trainable={task: one.trainable for task, one in found.items() if one.trainable is not None},
        format=method.format,
        package=plugin.distribution,
    )


def _trainable(row: MethodFacts, task: str | None) -> str:
    if task:
        return f"{row['trainable'][task]:,}" if task in row["trainable"] else f"no: {row['refused'][task]}"
    return ", ".join(f"{number:,} ({name})" for name, number in row["trainable"].items())


def _explain(row: MethodFacts) -> None:
    params = [{"name": name, **one} for name, one in row["params"].items()]
    columns = (Column("-s", "name"), "type", "default", Column("range", rank=2))
    with page():
        print_facts(_method_facts(row))
        if params:
            print_table(params, (*columns, Column("what it is", "help", least=20)))


def _method_facts(row: MethodFacts) -> list[tuple[str, object]]:
    return [
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


def _fits(trainable: int | None) -> str:
    return "yes" if trainable is None else f"yes, {trainable:,} trainable parameters"


@click.command(name="tasks", cls=Command, examples=["zoo tasks"])
@wide_option
@json_option(list[TaskFacts])
def tasks_command(as_json: bool) -> None:
    """List the tasks, with their default bases and data in order of preference."""
    rows = [
        TaskFacts(
            name=task.name,
            summary=task.summary,
            bases=list(task.bases),
            data=list(task.data),
            columns=list(task.columns),
            metric=task.primary_metric,
            package=plugin.distribution,
        )
        for plugin, task in _working("task")
    ]
    columns = (
        *("name", Column("what is learned", "summary", least=40)),
        *(
            Column("bases", rank=3, least=1),
            Column("data", rank=4, least=1),
            Column("columns", rank=5, least=20),
        ),
        *(Column("metric", rank=2), Column("package", rank=6)),
    )
    print_table(rows, columns, as_json)


@click.command(name="sources", cls=Command, examples=["zoo sources"])
@wide_option
@json_option(list[SourceFacts])
def sources_command(as_json: bool) -> None:
    """Where bases and data come from, in the order in which they are asked, and what is here now."""
    found = sorted(_working("source"), key=lambda pair: pair[1].order)
    rows = [
        SourceFacts(
            name=source.name,
            scheme=f"{source.scheme}:",
            summary=source.summary,
            package=plugin.distribution,
            offers=[
                Offered(kind=offer.kind, id=offer.id, reference=offer.location, note=offer.note)
                for kind in ("base", "data")
                for offer in source.offers(kind)
            ],
        )
        for plugin, source in found
    ]
    if as_json:
        print_json(rows)
        return
    lines: list[dict[str, Any]] = []
    for row in rows:
        lines += [{**row, **offer} for offer in row["offers"]] or [{**row, "note": row["summary"]}]
    columns = (Column("source", "name"), Column("scheme", rank=2), "kind", Column("here now", "reference"))
    print_table(lines, (*columns, Column("note", least=20)))


@click.command(name="plugins", cls=Command, examples=["zoo plugins"])
@wide_option
@json_option(list[PluginFacts])
def plugins_command(as_json: bool) -> None:
    """Every installed plugin, the package it came with, and why it does not work if it does not."""
    rows = [
        PluginFacts(
            kind=plugin.kind,
            name=plugin.name,
            package=plugin.distribution,
            module=plugin.module,
            state=str(trouble or "ok"),
        )
        for kind in manager.KINDS
        for plugin, _, trouble in manager.load_all(kind)
    ]
    columns = ("kind", "name", Column("package", rank=3), Column("module", rank=2), Column("state", least=20))
    print_table(rows, columns, as_json)


def _working(kind: str) -> Iterator[tuple[manager.Plugin, Any]]:
    """The plugins that load; those that do not are named on stderr and harm nothing."""
    for plugin, made, error in manager.load_all(kind):
        if error is None:
            yield plugin, made
        else:
            say(str(error), "Warning:")


@click.group(name="plugin", cls=Group, examples=["zoo plugin new method my-method"])
def plugin_command() -> None:
    """Create and check plugins."""


@plugin_command.command(
    name="new",
    examples=[
        "zoo plugin new method my-method",
        "zoo plugin new task my-task -o ../packages",
    ],
)
@click.argument("kind", type=click.Choice(["method", "task"]))
@click.argument("name")
@click.option(
    "-o",
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="The folder to make it in.",
)
@json_option(NewPlugin)
def new_command(kind: str, name: str, into: Path, as_json: bool) -> None:
    """A folder that pip installs: a working plugin, a test by the kit, a README."""
    from zoo.plugins.scaffold import write_package

    folder = write_package(kind, name, into)
    files = [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    if as_json:
        print_json(NewPlugin(folder=str(folder), files=files))
    else:
        click.echo("\n".join(files))
    console.say_hint(f"pip install -e {shlex.quote(str(folder))} && zoo plugin check {name}")


@plugin_command.command(name="check", examples=["zoo plugin check lora --task bert-imdb -s r=4"])
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
@wide_option
@json_option(list[CheckResult])
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
        near, hint = suggest.unknown(name, known, "zoo plugins", suggest.METHODS | suggest.TASKS)
        raise NotFoundError(f"no plugin is called '{name}'.{near}", hint)
    return found[0]
