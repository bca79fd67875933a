"""`zoo search`, `zoo pull` and `zoo import`: adapters that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from zoo.cli.common import json_option, new_registry_option, number, print_json, say_undo, typed
from zoo.cli.help import Command
from zoo.cli.outputs import found_repos
from zoo.cli.tables import Column, print_facts, print_table, wide_option
from zoo.errors import IncompatibleError
from zoo.plugins import manager
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.runtime.checks import failures
from zoo.runtime.console import Report, StderrReport
from zoo.runtime.paths import expand, is_there
from zoo.runtime.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.hub.import_adapter import Put


def _name_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--name", help="Name of the adapter here. Default: as it is called there.")(command)


def _replace_option(command: Callable[..., Any]) -> Callable[..., Any]:
    told = "Take the place of the adapter of that name; zoo undo brings it back."
    return click.option("--replace", is_flag=True, help=told)(command)


def _in_place(registry: Registry) -> Put:
    """Enters an adapter in the place of the one of its name, and says how to get that back."""

    def put(record: AdapterRecord, made: Path) -> AdapterRecord:
        record, entry = registry.put_in_place(record, made, typed())
        if entry is not None:
            say_undo(f"replaced '{record.name}'", entry)
        return record

    return put


@click.command(
    name="pull",
    cls=Command,
    examples=[
        "zoo pull me/lora-bert-imdb",
        "zoo pull me/lora-bert-imdb@main --name theirs",
        "zoo pull me/lora-bert-imdb --replace",
    ],
)
@click.argument("reference", metavar="REPO[@REVISION]")
@_name_option
@_replace_option
@new_registry_option
@json_option(AdapterRecord)
def pull_command(registry: Registry, reference: str, name: str | None, replace: bool, as_json: bool) -> None:
    """Fetch the adapter REPO from the Hub and register it.

    Only safetensors weights and plain files are fetched, and checked before anything loads them. The base is
    not fetched; where it is local, the adapter is verified on it.
    """
    from zoo.hub.pull import pull

    report = StderrReport()
    put = _in_place(registry) if replace else None
    record, is_new = pull(reference, registry, report, name=name, put=put)
    _print(record, is_new, registry, as_json)
    _verify(record, is_new, registry, report)


@click.command(
    name="import",
    cls=Command,
    examples=[
        "zoo import ./my-peft-adapter --task bert-imdb --labels negative,positive",
        "zoo import somebody/lora-sst2 --task distilbert-sst2",
    ],
)
@click.argument("source", metavar="PATH|REPO")
@_name_option
@click.option("--task", metavar="NAME", help="The task of the zoo that it was trained for.")
@click.option("--labels", metavar="A,B", help="Names of its labels, in the order of their numbers.")
@click.option("--base", metavar="ID|PATH", help="The base that it was trained on, if its files do not say.")
@click.option("--convert-bin", "convert", is_flag=True, help="Convert pickled weights, in a process apart.")
@_replace_option
@new_registry_option
@json_option(AdapterRecord)
def import_command(
    registry: Registry,
    source: str,
    labels: str | None,
    task: str | None,
    base: str | None,
    replace: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Import a PEFT adapter that the zoo did not make: a folder, or a repository of the Hub."""
    from zoo.hub.import_adapter import import_folder
    from zoo.hub.infer_record import Asserted
    from zoo.hub.pull import pull

    report = StderrReport()
    named = tuple(label.strip() for label in labels.split(",")) if labels else ()
    options["asserted"] = Asserted(task, named, base)
    options["put"] = _in_place(registry) if replace else None
    if _is_path(source):
        path = expand(source.removeprefix("path:"))
        _print(import_folder(path, registry, report, **options), True, registry, as_json)
    else:
        record, is_new = pull(source, registry, report, **options)
        _print(record, is_new, registry, as_json)
        _verify(record, is_new, registry, report)


def _is_path(source: str) -> bool:
    """A repository is OWNER/NAME; what is here, or looks like a path, is one."""
    return not source.startswith("hub:") and (
        source.startswith(("path:", ".", "/", "~", "\\"))
        or is_there(expand(source))
        or source.count("/") != 1
    )


def _print(record: AdapterRecord, is_new: bool, registry: Registry, as_json: bool) -> None:
    if not is_new:
        say(f"'{record.name}' is this commit already; nothing was fetched")
    if as_json:
        print_json(record)
        return
    print_facts(
        {
            "name": record.name,
            "method": record.spec.method,
            "task": record.spec.task,
            "base": record.base.id,
            "trained": f"{record.cost.trainable_parameters:,} parameters",
            "origin": record.origin,
            "files": registry.adapter_folder(record.name),
        }
    )


def _verify(record: AdapterRecord, is_new: bool, registry: Registry, report: Report) -> None:
    """Raises IncompatibleError: the adapter does not do what its probe says. It stays."""
    if not is_new:
        return
    from zoo.hub.pull import verify_locally

    name = record.name
    verified = verify_locally(record, registry, report)
    for one in verified:
        report.say(f"{one.name}: {one.status}: {one.detail}")
    if failed := failures(verified):
        details = "; ".join(one.detail.rstrip(".") for one in failed)
        raise IncompatibleError(f"'{name}' was pulled and fails its check: {details}.", f"zoo rm {name}")


@click.command(
    name="search",
    cls=Command,
    examples=[
        "zoo search --base bert-base-cased --method lora",
        "zoo search imdb --task bert-imdb --limit 5",
    ],
)
@click.argument("query", required=False)
@click.option("--base", metavar="ID", help="On this base: a Hub id, in its new or its old form.")
@click.option("--method", metavar="NAME", help="Of this method.")
@click.option("--task", metavar="NAME", help="For this task.")
@click.option("--author", metavar="NAME", help="Of this person or organisation.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=30, show_default=True, metavar="N", help="At most N."
)
@wide_option
@json_option(found_repos)
def search_command(query: str | None, limit: int, as_json: bool, **filters: str | None) -> None:
    """Find adapters on the Hub, the most downloaded first.

    QUERY is part of a repository's name. What is shown is what the publishers' cards say, metrics included.
    """
    from zoo.cli.filters import check_on_hub, known_bases
    from zoo.hub.search import search

    known: dict[str, Callable[[], Collection[str]]] = {
        "base": known_bases,
        "method": partial(manager.find, "method"),
        "task": partial(manager.find, "task"),
    }
    asked = [(kind, name, names) for kind, names in known.items() if (name := filters[kind])]
    remarks = [check_on_hub(kind, name, names()) for kind, name, names in asked]
    found = search(StderrReport(), query=query, limit=limit, **filters)
    columns = (
        *("repo", Column("base", rank=5), Column("method", rank=2), Column("task", rank=6)),
        Column("metric", rank=4),
        Column("value", lambda row: "" if row["value"] is None else number(row["value"]), rank=4),
        *(Column("downloads", rank=3), Column("updated", rank=7)),
    )
    print_table([msgspec.to_builtins(row) for row in found], columns, as_json)
    if as_json:
        return
    if not found:
        say("no adapter on the Hub fits")
        for remark in filter(None, remarks):
            say(remark)
    elif len(found) == limit:
        say(f"the first {limit}; --limit N shows more")
