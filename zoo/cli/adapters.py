"""`zoo list`, `zoo show`, `zoo rm`: what the registry knows. Nothing here needs a model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import click

from zoo.cli.output import json_option, number, print_facts, print_json, print_rows, registry_option
from zoo.errors import OptionError, UsageError
from zoo.plugins.params import split_pairs
from zoo.registry.durable import without_gc
from zoo.registry.schema import UNKNOWN, AdapterRecord, DataId, ListedRecord
from zoo.registry.store import Registry
from zoo.runtime.console import clock

_SORTS = {
    "name": "name",
    "created": "created",
    "parameters": "cost.trainable_parameters",
    "bytes": "cost.adapter_bytes",
    "seconds": "cost.train_seconds",
}
"""--sort -> the field of a record; of equals, the name decides."""
_SHORT_HEADER = ("name", "method", "task", "base", "metric", "trainable", "warning")
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
    "warning",
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
@without_gc()
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
    adapters = registry.listed()
    if base is not None:
        from zoo.models.fingerprint import same_base

        bases = {id(one): one for *_, one in adapters}
        hits = dict(zip(bases, same_base(list(bases.values()), base), strict=True))
        adapters = [one for one in adapters if hits[id(one[2])]]
    found = [
        (key, record, on)
        for key, record, on in adapters
        if (method is None or record.spec.method == method)
        and (task is None or record.spec.task == task)
        and _is_within(record, above, below)
    ]
    order = _sort_key(sort, [record for _, record, _ in found])
    found.sort(key=lambda one: order(one[1]))
    if as_json:
        print_json(registry.pick(key for key, *_ in found))
        return
    header, row = (_SHORT_HEADER, _short_row) if sys.stdout.isatty() else (_HEADER, _row)
    print_rows(header, [row(record, on.id) for _, record, on in found])
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
    by_author = "  as its author states" if record.origin else ""
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
            (m.name, f"{number(m.value)}  {number(m.low)} to {number(m.high)}  n {m.n}{by_author}")
            for m in record.metrics
        ),
        *(
            (
                f"{name} {m.name}",
                f"{number(m.value)}  {number(m.low)} to {number(m.high)}  n {m.n}{by_author}",
            )
            for name, metrics in record.baselines.items()
            for m in metrics
        ),
        *(("warning", flag) for flag in record.flags),
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
        ("rows", f"{data.n_train:,} of {data.n_train_available:,} trained on; evaluated on: {data.split}"),
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


def _is_within(record: ListedRecord, above: dict[str, float], below: dict[str, float]) -> bool:
    """What was not measured is in no range."""
    for bounds, sign in ((above, 1), (below, -1)):
        for name, bound in bounds.items():
            metric = record.metric(name)
            if metric is None or sign * metric.value < sign * bound:
                return False
    return True


def _bounds(pairs: tuple[str, ...], flag: str) -> dict[str, float]:
    bounds = {}
    for name, text in split_pairs(pairs, flag).items():
        try:
            bounds[name] = float(text)
        except ValueError:
            raise OptionError(f"'{flag} {name}' wants a number, got '{text}'.") from None
    return bounds


def _sort_key(sort: str, found: list[ListedRecord]) -> Callable[[ListedRecord], Any]:
    if sort in _SORTS:
        field = attrgetter(_SORTS[sort])
        return lambda one: (field(one) is None, field(one) or 0, one.name)
    metrics = {metric.name for one in found for metric in one.metrics}
    if found and sort not in metrics:
        raise UsageError(f"cannot sort by '{sort}': {', '.join([*_SORTS, *sorted(metrics)])}.")

    def best_first(one: ListedRecord) -> tuple[float, str]:
        metric = one.metric(sort)
        if metric is None:
            return float("inf"), one.name
        return metric.value if metric.lower_is_better else -metric.value, one.name

    return best_first


def _short_row(one: ListedRecord, base: str) -> tuple[object, ...]:
    """What fits a screen; a pipe gets every column."""
    first = one.metrics[0] if one.metrics else None
    metric = f"{first.name} {first.value:.3f} ({first.low:.3f} to {first.high:.3f})" if first else ""
    warning = "yes" if one.flags else ""
    trainable = f"{one.cost.trainable_parameters:,}"
    return (one.name, one.spec.method, one.spec.task, base, metric, trainable, warning)


def _row(one: ListedRecord, base: str) -> tuple[object, ...]:
    first = one.metrics[0] if one.metrics else None
    measured = (
        (first.name, number(first.value), number(first.low), number(first.high), first.n)
        if first
        else ("",) * 5
    )
    return (
        one.name,
        one.spec.method,
        one.spec.task,
        base,
        *measured,
        one.cost.trainable_parameters,
        one.cost.total_parameters,
        one.cost.adapter_bytes,
        one.created,
        "; ".join(one.flags),
    )
