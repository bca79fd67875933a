"""`zoo list`, `zoo show`, `zoo rm`: what the registry knows. Nothing here needs a model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import click

from zoo.cli.output import json_option, number, print_facts, print_json, print_rows, registry_option
from zoo.errors import OptionError, UsageError
from zoo.models.fingerprint import same_base
from zoo.plugins.params import split_pairs
from zoo.registry.index import Summary, listing
from zoo.registry.schema import UNKNOWN, AdapterRecord, DataId
from zoo.registry.store import Registry
from zoo.runtime.console import clock

_SORTS = {
    "name": "name",
    "created": "created",
    "parameters": "trainable_parameters",
    "bytes": "adapter_bytes",
    "seconds": "train_seconds",
}
"""--sort -> the field of a Summary; of equals, the name decides."""
_SHORT_HEADER = ("name", "method", "task", "base", "measured", "trained", "doubt")
_HEADER = (
    "name",
    "method",
    "task",
    "base",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "trainable",
    "parameters",
    "bytes",
    "created",
    "doubt",
)


@click.command(name="list")
@click.option(
    "--base", metavar="ID|HASH|PATH", help="Only for this base: an id, an alias, a weight hash, or a folder."
)
@click.option("--method", metavar="NAME", help="Only of this method.")
@click.option("--task", metavar="NAME", help="Only for this task.")
@click.option(
    "--min", "least", multiple=True, metavar="METRIC=X", help="Only with the metric at least X: accuracy=.9."
)
@click.option(
    "--max", "most", multiple=True, metavar="METRIC=X", help="Only with the metric at most X: loss=2."
)
@click.option(
    "--sort",
    metavar="KEY",
    default="name",
    show_default=True,
    help="name, created, parameters, bytes, seconds, or a metric (best first).",
)
@registry_option
@json_option
def list_command(
    registry: Registry,
    base: str | None,
    method: str | None,
    task: str | None,
    least: tuple[str, ...],
    most: tuple[str, ...],
    sort: str,
    as_json: bool,
) -> None:
    """The adapters that you have, with their metric, its interval and their size."""
    above, below = _bounds(least, "--min"), _bounds(most, "--max")
    known = listing(registry)
    on_base = [True] * len(known.bases) if base is None else same_base(known.bases, base)
    found = [
        summary
        for summary in known.adapters
        if on_base[summary.base]
        and (method is None or summary.method == method)
        and (task is None or summary.task == task)
        and all(_is_within(summary.value(name), bound, None) for name, bound in above.items())
        and all(_is_within(summary.value(name), None, bound) for name, bound in below.items())
    ]
    found.sort(key=_sort_key(sort, found))
    if as_json:
        print_json(registry.pick(summary.key for summary in found))
        return
    bases = [base.id for base in known.bases]
    if sys.stdout.isatty():
        print_rows(_SHORT_HEADER, [_short_row(summary, bases[summary.base]) for summary in found])
    else:
        print_rows(_HEADER, [_row(summary, bases[summary.base]) for summary in found])
    if not found:
        click.echo(f"no adapter fits; looked in {registry.path}", err=True)


@click.command(name="show")
@click.argument("name")
@registry_option
@json_option
def show_command(registry: Registry, name: str, as_json: bool) -> None:
    """Everything on record about one adapter."""
    record = registry.get(name)
    if as_json:
        print_json(record)
        return
    spec, cost, base = record.spec, record.cost, record.base
    claimed = "  as its maker says" if record.origin else ""
    facts: list[tuple[str, object]] = [
        ("name", record.name),
        (
            "method",
            f"{spec.method} ({', '.join(f'{k}={v}' for k, v in spec.params.items()) or 'no parameters'})",
        ),
        ("task", spec.task),
        ("base", f"{base.id}, from {base.package or base.location}" if base.location else base.id),
        *((f"base {file}", f"sha256:{digest}") for file, digest in base.weights.items()),
        *_data_facts(record.data),
        *([("labels", ", ".join(record.labels))] if record.labels else []),
        *(
            (m.name, f"{number(m.value)}  {number(m.low)} to {number(m.high)}  n {m.n}{claimed}")
            for m in record.metrics
        ),
        *(
            (f"{name} {m.name}", f"{number(m.value)}  {number(m.low)} to {number(m.high)}  n {m.n}{claimed}")
            for name, metrics in record.baselines.items()
            for m in metrics
        ),
        *(("doubt", flag) for flag in record.flags),
        ("size", f"{cost.adapter_bytes:,} bytes"),
        *_training_facts(record),
        *([("origin", record.origin)] if record.origin else []),
        *([("on the Hub", f"{record.hub.repo} at {record.hub.revision}")] if record.hub else []),
        ("created", record.created),
        ("files", registry.adapter_folder(record.name)),
    ]
    print_facts(facts)


def _data_facts(data: DataId | None) -> list[tuple[str, object]]:
    if data is None:
        return [("data", UNKNOWN)]
    return [
        ("data", f"{data.id}, from {data.package or data.location}"),
        ("rows", f"{data.n_train:,} of {data.n_train_available:,} trained on; judged by: {data.split}"),
    ]


def _training_facts(record: AdapterRecord) -> list[tuple[str, object]]:
    """Of an adapter that others made, only what its files tell."""
    cost = record.cost
    of_all = f" of {cost.total_parameters:,}" if cost.total_parameters else ""
    facts: list[tuple[str, object]] = [("trainable", f"{cost.trainable_parameters:,}{of_all}")]
    if cost.train_seconds is not None:
        facts.append(
            (
                "time",
                f"{clock(cost.train_seconds)}, {cost.examples_per_second:.1f} examples/s, {cost.hardware}",
            )
        )
    if cost.peak_memory_bytes is not None:
        facts.append(("peak memory", f"{cost.peak_memory_bytes / 1e9:.2f} GB"))
    if record.training is None:
        return [*facts, ("training", UNKNOWN)]
    return [
        *facts,
        ("precision", record.training.precision),
        ("seed", record.spec.seed),
        ("again", record.command),
    ]


@click.command(name="rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@registry_option
def rm_command(registry: Registry, names: tuple[str, ...], yes: bool) -> None:
    """Remove adapters from the registry and the disk."""
    for name in names:
        registry.get(name)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask on.", "zoo rm --yes NAME...")
        click.confirm(f"Remove {', '.join(names)} and their files?", abort=True, err=True)
    for name in names:
        registry.remove(name)
        click.echo(f"removed '{name}'", err=True)


def _is_within(value: float | None, least: float | None, most: float | None) -> bool:
    """What was not measured is in no range."""
    return value is not None and (least is None or value >= least) and (most is None or value <= most)


def _bounds(pairs: tuple[str, ...], flag: str) -> dict[str, float]:
    bounds = {}
    for name, text in split_pairs(pairs, flag).items():
        try:
            bounds[name] = float(text)
        except ValueError:
            raise OptionError(f"'{flag} {name}' wants a number, got '{text}'.") from None
    return bounds


def _sort_key(sort: str, found: list[Summary]) -> Callable[[Summary], Any]:
    if sort in _SORTS:
        what = attrgetter(_SORTS[sort])
        return lambda summary: (what(summary) is None, what(summary) or 0, summary.name)
    metrics = {metric.name for summary in found for metric in summary.metrics}
    if found and sort not in metrics:
        raise UsageError(f"cannot sort by '{sort}': {', '.join([*_SORTS, *sorted(metrics)])}.")
    return lambda summary: (summary.rank(sort), summary.name)


def _short_row(summary: Summary, base: str) -> tuple[object, ...]:
    """What fits a screen; a pipe gets every column."""
    first = summary.metrics[0] if summary.metrics else None
    measured = f"{first.name} {first.value:.3f} ({first.low:.3f} to {first.high:.3f})" if first else ""
    doubt = "yes" if summary.flags else ""
    trained = f"{summary.trainable_parameters:,}"
    return (summary.name, summary.method, summary.task, base, measured, trained, doubt)


def _row(summary: Summary, base: str) -> tuple[object, ...]:
    first = summary.metrics[0] if summary.metrics else None
    measured = (
        (first.name, number(first.value), number(first.low), number(first.high), first.n)
        if first
        else ("",) * 5
    )
    return (
        summary.name,
        summary.method,
        summary.task,
        base,
        *measured,
        summary.trainable_parameters,
        summary.total_parameters,
        summary.adapter_bytes,
        summary.created,
        "; ".join(summary.flags),
    )
