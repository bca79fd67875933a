"""`zoo data check`: what a task makes of your rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import column_options
from zoo.cli.output import json_option, print_checks, print_facts, print_json

if TYPE_CHECKING:
    from zoo.data.inspect import Checked, Lengths


@click.group(name="data")
def data_command() -> None:
    """Check data before training on it."""


@data_command.command(name="check")
@click.argument("data", required=False, metavar="[ID|PATH]")
@click.option("--task", "task_name", required=True, metavar="TASK", help="The task to read them for.")
@click.option("--base", metavar="ID|PATH", help="Count tokens as this base does. Default: the task's.")
@click.option("--split", metavar="NAME", help="The split to train on. Default: train.")
@click.option("--eval-data", metavar="ID|PATH", help="Held-out rows from elsewhere.")
@click.option("--max-length", type=int, metavar="N", help="Count what would be cut at N tokens.")
@column_options
@json_option
def check_command(data: str | None, task_name: str, as_json: bool, **settings: Any) -> None:
    """Say how a task understands rows: columns, lengths, labels, copies, leaks; and what is wrong with them.

    The rows are what --data of zoo train takes, or the task's own. Ends with 2 where nothing could be trained
    on them.

    \b
    zoo data check reviews.csv --task bert-imdb --label-column stars
    """
    from zoo.data import inspect
    from zoo.errors import DataError, NotFoundError
    from zoo.plugins import manager, source
    from zoo.registry.schema import AdapterSpec
    from zoo.runtime.checks import failures
    from zoo.runtime.console import Report, StderrReport

    task = manager.load_task(task_name)
    spec = AdapterSpec(method="", task=task_name, data=data, **settings)
    report = StderrReport()
    rows = source.resolve(data, task.data, "data", report)
    eval_data = source.resolve_eval_data(spec.eval_data, Report())
    base = None
    try:
        base = source.resolve(spec.base, task.bases, "base", Report(), weights=False)
    except NotFoundError as error:
        if spec.base is not None:
            raise
        report.say(f"tokens are not counted, because no base is available: {error}")
    found = inspect.check(task, spec, rows, eval_data, base)
    if as_json:
        print_json(found)
    else:
        print_facts(_facts(found))
        click.echo()
        print_checks(found.results)
    if failed := failures(found.results):
        raise DataError(failed[0].detail, failed[0].fix)


def _facts(found: Checked) -> Iterator[tuple[str, object]]:
    yield from (("task", found.task), ("data", found.data))
    for line in found.understood:
        yield "understood", line
    for split in found.splits:
        yield f"{split.name} columns", ", ".join(split.columns)
        yield f"{split.name} rows", f"{split.rows:,}, of which {split.usable:,} can be used"
        if split.labels and split.usable:
            counts = split.labels.items()
            shares = (f"{name} {count:,} ({count / split.usable:.1%})" for name, count in counts)
            yield f"{split.name} labels", ", ".join(shares)
        if split.characters:
            yield f"{split.name} characters", _shown(split.characters)
        if split.tokens:
            yield f"{split.name} tokens", f"{_shown(split.tokens)}, for {found.base}"
    if found.rule:
        yield "a run", f"trains on {found.train:,} rows and evaluates on {found.held_out:,}: {found.rule}"


def _shown(lengths: Lengths) -> str:
    return f"median {lengths.median:,}, 95% up to {lengths.most:,}, longest {lengths.longest:,}"
