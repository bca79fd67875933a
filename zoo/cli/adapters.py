"""`zoo list`, `show`, `rm` and `zoo registry`: what the registry knows. Nothing here needs a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any

import click

from zoo.cli.common import json_option, number, print_facts, print_json, print_rows, registry_option
from zoo.errors import OptionError, UsageError, ZooError
from zoo.plugins.params import split_pairs
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId, ListedRecord
from zoo.registry.store import Registry, without_gc
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
    *("name", "method", "task", "base", "metric", "value", "low", "high", "n"),
    *("trainable", "parameters", "bytes", "created", "warning"),
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
    bounds = [*_bounds(least, "--min", 1), *_bounds(most, "--max", -1)]
    adapters = registry.listed()
    if base is not None:
        from zoo.models.fingerprint import same_base

        bases = {id(one): one for *_, one in adapters}
        hits = dict(zip(bases, same_base(list(bases.values()), base), strict=True))
        adapters = [
            one for one in adapters if hits[id(one[2])] or _is_trained_on(one[0], one[2], base, registry)
        ]
    found = [
        (key, record, on)
        for key, record, on in adapters
        if (method is None or record.spec.method == method)
        and (task is None or record.spec.task == task)
        and _is_within(record, bounds)
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


def _is_trained_on(name: str, recorded: BaseId, base: str, registry: Registry) -> bool:
    """Does the folder `base` hold, in other files, the weights of a record of 0.1.0?"""
    from zoo.models.fingerprint import LocalWeights, named_folder

    folder = named_folder(base)
    if folder is None or not recorded.weights or recorded.tensors_sha256 is not None:
        return False
    from zoo.adapters.find_base import compare_weights

    with suppress(ZooError):
        adapter = registry.adapter_folder(name)
        return compare_weights(registry.get(name), adapter, folder, LocalWeights(folder))[0] is True
    return False


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
    print_facts([*_facts(record), ("files", registry.adapter_folder(name))])


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
        speed = f"{cost.examples_per_second:.1f} examples/s"
        yield "time", f"{clock(cost.train_seconds)}, {speed}, {cost.hardware}"
    if cost.peak_memory_bytes is not None:
        yield "peak memory", f"{cost.peak_memory_bytes / 1e9:.2f} GB"
    if record.training is None:
        yield "training", UNKNOWN
    else:
        yield "precision", record.training.precision
        yield "seed", spec.seed
        yield "again", record.command
    if record.origin:
        yield "origin", record.origin
    if record.hub:
        yield "on the Hub", f"{record.hub.repo} at {record.hub.revision}"
    yield "created", record.created


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
            raise UsageError("there is no terminal to ask on.", "--yes")
        click.confirm(f"Remove {', '.join(names)} and their files?", abort=True, err=True)
    for name in names:
        registry.remove(name)
        click.echo(f"removed '{name}'", err=True)


def _is_within(record: ListedRecord, bounds: Sequence[tuple[str, int, float]]) -> bool:
    """What was not measured is in no range."""
    for name, sign, bound in bounds:
        metric = record.metric(name)
        if metric is None or sign * metric.value < sign * bound:
            return False
    return True


def _bounds(pairs: tuple[str, ...], flag: str, sign: int) -> Iterator[tuple[str, int, float]]:
    """(metric, sign, bound): 1 for a lower bound, -1 for an upper one."""
    for name, text in split_pairs(pairs).items():
        try:
            yield name, sign, float(text)
        except ValueError:
            raise OptionError(f"'{flag} {name}' wants a number, got '{text}'.") from None


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
    metric = (first.name, *map(number, (first.value, first.low, first.high)), first.n) if first else ("",) * 5
    cost = one.cost
    sizes = (cost.trainable_parameters, cost.total_parameters, cost.adapter_bytes)
    last = (one.created, "; ".join(one.flags))
    return (one.name, one.spec.method, one.spec.task, base, *metric, *sizes, *last)


@click.group(name="registry")
def registry_command() -> None:
    """Maintain registry.json."""


@registry_command.command(name="rebuild")
@registry_option
def rebuild_command(registry: Registry) -> None:
    """Make registry.json anew from the zoo.json in each adapter's folder."""
    count, trouble = registry.rebuild()
    for line in trouble:
        click.echo(f"Warning: left out {line}", err=True)
    click.echo(f"{registry.path}: {count} adapters", err=True)


@registry_command.command(name="schema")
def schema_command() -> None:
    """The JSON Schema of a record: of zoo.json, of a registry entry, and of --json output."""
    import msgspec

    from zoo.registry.schema import AdapterRecord

    print_json(msgspec.json.schema(AdapterRecord))
