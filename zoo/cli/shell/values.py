"""Lists the values that options and arguments take, for the shell: without torch, and without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from zoo.runtime import trackers
from zoo.runtime.device import PRECISIONS

if TYPE_CHECKING:
    from zoo.plugins.source import Kind
    from zoo.registry.schema import BaseId, ListedRecord
    from zoo.registry.store import Registry

Values = Iterable[str | CompletionItem]
_FILES, _FOLDERS = CompletionItem("", "file"), CompletionItem("", "dir")
"""The shell knows its paths itself."""


def values(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """All that `param` may be, as click knows or as the table below says, whether it fits the word or not."""
    name = max(param.opts, key=len)
    known = BY_NAME.get(f"{ctx.command_path} {name}")
    if known is None and param.type is click.STRING:
        known = BY_NAME.get(name)
    if known is None:
        return param.shell_complete(ctx, "")
    return [CompletionItem(one) if isinstance(one, str) else one for one in known(ctx, typed)]


def _words(*known: str | CompletionItem) -> Callable[[click.Context, str], Values]:
    return lambda ctx, typed: known


def _commands(ctx: click.Context, typed: str) -> Values:
    """Those of `zoo`, or of the group that is on the line."""
    command: click.Command | None = ctx.find_root().command
    for word in ctx.params.get("words") or ():
        command = command.get_command(ctx, word) if isinstance(command, click.Group) else None
    return command.shell_complete(click.Context(command), typed) if command else []


def _methods(ctx: click.Context, typed: str) -> Values:
    return _plugin_names("method")


def _tasks(ctx: click.Context, typed: str) -> Values:
    return _plugin_names("task")


def _plugins(ctx: click.Context, typed: str) -> Values:
    from zoo.plugins.manager import KINDS

    return [CompletionItem(name, help=kind) for kind in KINDS for name in _plugin_names(kind)]


def _adapters(ctx: click.Context, typed: str) -> Values:
    """Those of the registry in use that are not on the line yet."""
    given = ctx.params.get("names") or ()
    for name, record, base in _listed(ctx):
        if name not in given:
            yield CompletionItem(name, help=f"{record.spec.method}, {record.spec.task}, {base.id}")


def _adapters_or_folders(ctx: click.Context, typed: str) -> Values:
    """Names, or folders once what is typed is a path."""
    return [_FOLDERS] if typed.startswith((".", "~")) or "/" in typed else _adapters(ctx, typed)


def _undoable(ctx: click.Context, typed: str) -> Values:
    from zoo.registry.trash import entries

    found = entries(ctx.params["registry"].folder)
    return [CompletionItem(str(entry.number), help=entry.command) for _, entry in found]


def _bases(ctx: click.Context, typed: str) -> Values:
    return [*_offers("base", typed), _FOLDERS]


def _recorded_bases(ctx: click.Context, typed: str) -> Values:
    return [*sorted({base.id for *_, base in _listed(ctx)}), _FOLDERS]


def _data(ctx: click.Context, typed: str) -> Values:
    return [*_offers("data", typed), _FILES]


def _bounds(ctx: click.Context, typed: str) -> Values:
    return [f"{metric}=" for metric in _metrics(ctx)]


def _sorts(ctx: click.Context, typed: str) -> Values:
    from zoo.cli.adapters import _SORTS

    return [*_SORTS, *_metrics(ctx)]


def _settings(ctx: click.Context, typed: str) -> Values:
    from zoo.runtime.config import SETTINGS

    return [CompletionItem(key, help=one.summary) for key, one in SETTINGS.items()]


def _values_of_setting(ctx: click.Context, typed: str) -> Values:
    """As of the option that the setting is the default of."""
    key = ctx.params["key"]
    return ("true", "false") if key == "wide" else BY_NAME.get(f"--{key}", _words())(ctx, typed)


def _params(ctx: click.Context, typed: str) -> Values:
    """`r=` and others of METHOD that are not on the line yet; after `=` the values, where they are few."""
    from zoo.plugins import manager
    from zoo.plugins.params import describe

    known = describe(manager.load_method(ctx.params.get("method") or ctx.params["name"]).Params)
    name, equals, _ = typed.partition("=")
    if equals:
        form = known[name]["type"] if name in known else ""
        form = "true|false" if form == "bool" else form
        return [f"{name}={value}" for value in form.split("|") if "|" in form]
    given = {pair.partition("=")[0] for pair in ctx.params.get("params") or ctx.params.get("pairs") or ()}
    return [
        CompletionItem(f"{name}=", help=f"{one['help']} (default {one['default']})")
        for name, one in known.items()
        if name not in given
    ]


def _columns(ctx: click.Context, typed: str) -> Values:
    """`label=` and the other columns of the task that is on the line, or of the adapter's."""
    from zoo.plugins import manager

    task = ctx.params.get("task") or ctx.params.get("task_name")
    if task is None:
        name = ctx.params.get("name") or ctx.params["names"][0]
        task = ctx.params["registry"].locate(name)[0].spec.task
    return [f"{role}=" for role in manager.load_task(task).columns]


def _runs(ctx: click.Context, typed: str) -> Values:
    """Those of the registry in use, by their names and their ids."""
    from zoo.training import runs

    for run in runs.all_runs(ctx.params["registry"]):
        yield from (
            CompletionItem(word, help=f"{run.status}, step {run.step}") for word in (run.name, run.id)
        )


BY_NAME: dict[str, Callable[[click.Context, str], Values]] = {
    **dict.fromkeys(("name", "names"), _adapters_or_folders),
    **dict.fromkeys(("method", "--method"), _methods),
    **dict.fromkeys(("task", "--task"), _tasks),
    **dict.fromkeys(("data", "--data", "--eval-data"), _data),
    **dict.fromkeys(("--min", "--max"), _bounds),
    **dict.fromkeys(("--registry", "--file"), _words(_FILES)),
    **dict.fromkeys(("--output", "source"), _words(_FOLDERS)),
    "words": _commands,
    "--base": _bases,
    "--set": _params,
    "--column": _columns,
    "--sort": _sorts,
    "--precision": _words(*PRECISIONS),
    "--base-dropout": _words("off", "keep"),
    "--tracker": _words(trackers.NONE, *trackers.TRACKERS),
    "key": _settings,
    "value": _values_of_setting,
    "--dtype": _words("float32", "float16", "bfloat16"),
    "zoo list --base": _recorded_bases,
    "zoo methods name": _methods,
    "zoo plugin check name": _plugins,
    "zoo plugin new name": _words(),
    "zoo rm names": _adapters,
    "zoo registry merge other": _words(_FILES),
    "zoo undo number": _undoable,
    **dict.fromkeys(("zoo resume word", "zoo stop word", "zoo runs rm words"), _runs),
}
"""An argument or option -> its values; after the command where that means another thing by it."""


def _plugin_names(kind: str) -> Iterable[str]:
    """What pip knows: none is imported, and so none can fail."""
    from zoo.plugins import manager

    return manager.find(kind)


def _offers(kind: Kind, typed: str) -> Values:
    """What is local, by its id; with its scheme once a scheme is typed."""
    from zoo.plugins import manager

    found: dict[str, str] = {}
    for source in manager.load_sources():
        with suppress(Exception):  # a third party's may raise anything
            for offer in source.offers(kind):
                name, help = (offer.location, offer.id) if ":" in typed else (offer.id, offer.location)
                found.setdefault(name, help)
    return [CompletionItem(name, help=help) for name, help in found.items()]


def _metrics(ctx: click.Context) -> list[str]:
    return sorted({metric.name for _, record, _ in _listed(ctx) for metric in record.metrics})


def _listed(ctx: click.Context) -> list[tuple[str, ListedRecord, BaseId]]:
    """Of the registry that the command would use; an error, and so nothing, where it refuses that."""
    found: Registry = ctx.params["registry"]
    return found.listed()
