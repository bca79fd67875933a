"""`zoo list`, `show` and `rm`: what the registry knows. Nothing here needs a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import click

from zoo.cli.common import confirm_unless, json_option, number, print_json, registry_option, say_undo, typed
from zoo.cli.filters import Listed, filters_of, narrow
from zoo.cli.help import Command
from zoo.cli.tables import Column, Typed, print_facts, print_rows, wide_option
from zoo.errors import UsageError
from zoo.registry.registry_json import without_gc
from zoo.registry.schema import UNKNOWN, AdapterRecord, ListedRecord
from zoo.registry.store import Registry
from zoo.runtime import console
from zoo.runtime.console import clock
from zoo.runtime.suggest import did_you_mean
from zoo.runtime.terminal import say

_SORTS = {
    "name": "name",
    "created": "created",
    "parameters": "cost.trainable_parameters",
    "bytes": "cost.adapter_bytes",
    "seconds": "cost.train_seconds",
}
"""--sort -> the field of a record; of equals, the name decides."""
_COLUMNS = (
    *(Column("name"), Column("method", rank=4), Column("task", rank=5), Column("base", rank=7)),
    *(Column("metric"), Column("value"), Column("low", rank=3), Column("high", rank=3), Column("n", rank=8)),
    *(Column("trainable", rank=6), Column("parameters", rank=11), Column("bytes", rank=10)),
    *(Column("created", rank=9), Column("warning", rank=2, least=12, cut=True)),
)


@click.command(
    name="list",
    cls=Command,
    examples=[
        "zoo list --sort created",
        "zoo list --base bert-base-cased --min accuracy=.9 --sort accuracy",
        "zoo list --method lora --task bert-imdb --json",
    ],
)
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
@wide_option
@json_option(list[AdapterRecord])
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
    adapters = registry.listed()
    filters = filters_of(adapters, registry, base=base, method=method, task=task, least=least, most=most)
    found, reasons = narrow(adapters, list(filters))
    order = _sort_key(sort, adapters)
    found.sort(key=lambda one: order(one[1]))
    if as_json:
        print_json(registry.pick(key for key, *_ in found))
        return
    if found or not sys.stdout.isatty():
        print_rows(_COLUMNS, [_row(record, on.id) for _, record, on in found])
    if reasons:
        say(f"no adapter fits: {'; '.join(reasons)}; looked in {registry.path}")
    elif not adapters:
        from zoo.cli.first_adapter import first_command

        say(f"{registry.path} holds no adapter yet")
        console.say_hint(first_command(registry) or "zoo tasks")


@click.command(
    name="show",
    cls=Command,
    examples=[
        "zoo show lora-bert-imdb",
        "zoo show lora-bert-imdb --json",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@registry_option
@json_option(list[AdapterRecord])
def show_command(registry: Registry, names: tuple[str, ...], as_json: bool) -> None:
    """Everything on record about each adapter NAME: a registered one, or a folder with a zoo.json."""
    found = [registry.locate(name) for name in dict.fromkeys(names)]
    if as_json:
        print_json([record for record, _ in found])
        return
    for index, (record, folder) in enumerate(found):
        if index:
            click.echo()
        print_facts([*_facts(record), ("files", folder)])


def _facts(record: AdapterRecord) -> Iterator[tuple[str, object]]:
    """Everything known; of an adapter that was made elsewhere, only what its files say."""
    spec, cost, base, data = record.spec, record.cost, record.base, record.data
    params = ", ".join(f"{key}={value}" for key, value in spec.params.items())
    yield "name", record.name
    yield "method", f"{spec.method} ({params or 'no parameters'})"
    yield "task", spec.task
    yield "base", f"{base.id}, from {base.package or base.location}" if base.location else base.id
    for file, digest in base.weights.items():
        yield f"base {file}", f"sha256:{digest}"
    if data is None:
        yield "data", UNKNOWN
    else:
        yield "data", f"{data.id}, from {data.package or data.location}"
        trained = f"{data.n_train:,} of {data.n_train_available:,} trained on"
        yield "rows", f"{trained}; evaluated on: {data.split}"
    if record.labels:
        yield "labels", record.labels
    by_author = "  as its author states" if record.origin else ""
    for model, metrics in {"": record.metrics, **record.baselines}.items():
        for one in metrics:
            interval = f"{number(one.low)} to {number(one.high)}"
            yield f"{model} {one.name}".strip(), f"{number(one.value)}  {interval}  n {one.n}{by_author}"
    for flag in record.flags:
        yield "warning", flag
    yield "size", f"{cost.adapter_bytes:,} bytes"
    of_all = f" of {cost.total_parameters:,}" if cost.total_parameters else ""
    yield "trainable", f"{cost.trainable_parameters:,}{of_all}"
    if cost.train_seconds is not None:
        per_second = cost.examples_per_second
        speed = f"{per_second:.1f} examples/s" if per_second is not None else None
        yield "time", ", ".join(one for one in (clock(cost.train_seconds), speed, cost.hardware) if one)
    if cost.peak_memory_bytes is not None:
        yield "peak memory", f"{cost.peak_memory_bytes / 1e9:.2f} GB"
    if record.training is None:
        yield "training", UNKNOWN
    else:
        yield "precision", record.training.precision
        yield "seed", spec.seed
        if record.training.deterministic:
            yield "determinism", record.training.deterministic
        yield "again", Typed(record.command)
    if record.origin:
        yield "origin", record.origin
    if record.hub:
        yield "on the Hub", f"{record.hub.repo} at {record.hub.revision}"
    yield "created", record.created


@click.command(
    name="rm",
    cls=Command,
    examples=[
        "zoo rm lora-bert-imdb",
        "zoo rm lora-bert-imdb lora-bert-imdb-2 --yes",
        "zoo rm lora-bert-imdb --purge",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Delete the files now: room is made, and nothing can be undone.")
@registry_option
def rm_command(registry: Registry, names: tuple[str, ...], yes: bool, purge: bool) -> None:
    """Remove adapters; for a week, zoo undo brings them back."""
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in registry:
            registry.get(name)
    question = "Delete {} and their files for good?" if purge else "Remove {} and their files?"
    confirm_unless(yes, question.format(", ".join(names)), "nothing was removed")
    what = f"removed {', '.join(map(repr, names))}"
    if purge:
        registry.purge(*names, command=typed())
        say(f"{what} for good")
    else:
        say_undo(what, registry.remove(*names, command=typed()))


def _sort_key(sort: str, adapters: Sequence[Listed]) -> Callable[[ListedRecord], Any]:
    if sort in _SORTS:
        field = attrgetter(_SORTS[sort])
        return lambda one: ((value := field(one)) is None, 0 if value is None else value, one.name)
    metrics = {metric.name for _, one, _ in adapters for metric in one.metrics}
    if adapters and sort not in metrics:
        known = (*_SORTS, *sorted(metrics))
        raise UsageError(f"cannot sort by '{sort}': {', '.join(known)}.{did_you_mean(sort, known)}")

    def best_first(one: ListedRecord) -> tuple[float, str]:
        metric = one.metric(sort)
        if metric is None:
            return float("inf"), one.name
        return metric.value if metric.lower_is_better else -metric.value, one.name

    return best_first


def _row(one: ListedRecord, base: str) -> tuple[object, ...]:
    first = one.metrics[0] if one.metrics else None
    metric = (first.name, *map(number, (first.value, first.low, first.high)), first.n) if first else ("",) * 5
    cost = one.cost
    sizes = (cost.trainable_parameters, cost.total_parameters, cost.adapter_bytes)
    last = (one.created, "; ".join(one.flags))
    return (one.name, one.spec.method, one.spec.task, base, *metric, *sizes, *last)
