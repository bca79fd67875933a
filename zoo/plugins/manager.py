"""Find plugins by entry-point name, import one, and make a fresh plugin manager for a run.

Nothing is imported until it is asked for by name, and a plugin that fails to import is a line in
`zoo plugins`, not the end of the command.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from zoo.errors import NotFoundError, PluginError, UsageError
from zoo.plugins import hookspecs
from zoo.plugins.method import one_line
from zoo.runtime import suggest
from zoo.runtime.suggest import instead

if TYPE_CHECKING:
    from zoo.plugins.method import Method
    from zoo.plugins.source import Source
    from zoo.tasks.base import Task

KINDS = ("method", "task", "source")
_OWN = "adapter-zoo"
_SYNONYMS = {"method": suggest.METHODS, "task": suggest.TASKS}
_RELEASE = re.compile(r"([A-Za-z0-9][\w.-]*) (\d[\w.!+-]*)")


@dataclass(frozen=True)
class Plugin:
    """One entry point: found, not yet imported."""

    kind: str
    name: str
    module: str
    distribution: str
    """`adapter-zoo 0.1.0`; of a name that several claim, all of them."""
    claimed_by: tuple[str, ...] = ()
    """The distributions that claim this one name, where there are several: none of them is used."""
    class_name: str = ""
    """After the colon of the entry point; empty where a hook of the module makes the plugin."""

    def __str__(self) -> str:
        return f"{self.kind} plugin '{self.name}' ({self.distribution})"


def find(kind: str) -> dict[str, Plugin]:
    """Every installed plugin of a kind, by name, sorted."""
    return dict(_scan(tuple((place, _changed_at(place)) for place in sys.path))[kind])


@lru_cache(maxsize=1)
def _scan(path: tuple[tuple[str, int], ...]) -> dict[str, dict[str, Plugin]]:
    """The plugins of every kind; `path` is sys.path with the time when pip last changed each folder."""
    installed = entry_points()
    labels: dict[int, str] = {}  # by distribution object: reading a name parses the whole of METADATA
    found: dict[str, dict[str, Plugin]] = {}
    for kind in KINDS:
        plugins = found[kind] = {}
        for point in sorted(installed.select(group=f"zoo.{kind}s"), key=lambda point: point.name):
            if id(point.dist) not in labels:
                labels[id(point.dist)] = _distribution(point)
            plugin = Plugin(kind, point.name, point.module, labels[id(point.dist)], (), point.attr)
            twin = plugins.get(plugin.name)
            if twin and _package(twin.distribution) != _package(plugin.distribution):
                claims = tuple(sorted({*(twin.claimed_by or (twin.distribution,)), plugin.distribution}))
                plugin = replace(plugin, distribution=" and ".join(claims), claimed_by=claims)
            plugins[plugin.name] = plugin
    return found


def _changed_at(place: str) -> int:
    """In nanoseconds; 0 where there is no such folder."""
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def load(kind: str, name: str) -> Any:
    """Import the one plugin of that name and return what it makes: a Method, a Task or a Source.

    Raises:
        NotFoundError: no plugin has that name.
        PluginError: two packages claim the name, or it does not import, implements an unknown hook, or
            makes nothing.
    """
    check_name(kind, name)
    return _make(find(kind)[name])


def check_name(kind: str, name: str, also: Iterable[str] = ()) -> None:
    """Raises NotFoundError: neither an installed plugin nor one of `also` has that name."""
    if name in find(kind):
        return
    known = {*find(kind), *also}
    if name not in known:
        near, hint = suggest.unknown(name, known, f"zoo {kind}s", _SYNONYMS.get(kind))
        raise NotFoundError(f"no {kind} is called '{name}'.{near}", hint)


def load_pair(method: str, task: str) -> tuple[Method, Task]:
    """The method and the task of a run.

    Raises:
        UsageError: each is in the other's place.
    """
    methods, tasks = find("method"), find("task")
    other = suggest.closest(method, tasks), suggest.closest(task, methods)
    is_swapped = suggest.fold(method) in tasks or suggest.fold(task) in methods
    if all(other) and is_swapped and not (method in methods and task in tasks):
        raise UsageError(
            f"'{method}' is a task and '{task}' a method: the method comes first.",
            ", ".join((instead(str(other[1]), method), instead(str(other[0]), task))),
        )
    try:
        made = load_method(method)
    except NotFoundError as error:
        near = suggest.closest(task, tasks, suggest.TASKS)
        if task not in tasks and near and error.hint and " instead of " in error.hint:
            error.hint += f", {instead(near, task)}"
        raise
    return made, load_task(task)


def load_method(name: str) -> Method:
    return load("method", name)  # type: ignore[no-any-return]


def load_task(name: str) -> Task:
    return load("task", name)  # type: ignore[no-any-return]


def load_sources() -> list[Source]:
    """Every source that imports, in the order in which a bare reference tries them."""
    sources = [source for _, source, _ in load_all("source") if source is not None]
    return sorted(sources, key=lambda source: (source.order, source.name))


def load_all(kind: str) -> Iterator[tuple[Plugin, Any, PluginError | None]]:
    """Each plugin of a kind with what it makes, or with None and the error that says why it is broken."""
    for plugin in find(kind).values():
        try:
            yield plugin, _make(plugin), None
        except PluginError as error:
            yield plugin, None, error


def load_module(plugin: Plugin) -> ModuleType:
    """Raises PluginError: it does not import, or two distributions claim its name."""
    if plugin.claimed_by:
        # whichever were used, somebody would get an adapter by a method that they did not mean
        others = [_package(one) for one in plugin.claimed_by if _package(one) != _OWN]
        raise PluginError(
            f"{plugin.kind} '{plugin.name}' is claimed by two packages: {plugin.distribution}.",
            f"pip uninstall {others[-1]}",
        )
    try:
        return importlib.import_module(plugin.module)
    except (Exception, SystemExit) as error:  # a third party's module may raise anything
        raise PluginError(f"{plugin} does not import: {type(error).__name__}: {one_line(error)}") from error


def manager(*modules: ModuleType | None) -> pluggy.PluginManager:
    """A fresh manager that knows only these modules, so that nothing ever needs unregistering.

    Raises:
        PluginError: a module implements a hook that does not exist.
    """
    made = pluggy.PluginManager("zoo")
    made.add_hookspecs(hookspecs)
    for module in dict.fromkeys(module for module in modules if module is not None):
        try:
            made.register(module)
            made.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"{module.__name__}: {one_line(error)}") from error
    return made


def hooks(method: Method, task: Task, *defaults: ModuleType) -> Any:
    """The hooks of a run: the core's defaults, the task's and the method's; the last one is asked first."""
    own = []
    for kind, made in (("task", task), ("method", method)):
        plugin = find(kind).get(made.name)
        # while it is not installed, that is the module of its class
        own.append(load_module(plugin) if plugin else sys.modules[type(made).__module__])
    return manager(*defaults, *own).hook


@cache
def _own_hooks(module: ModuleType) -> Any:
    """A command asks every source, and every task, several times."""
    return manager(module).hook


def _make(plugin: Plugin) -> Any:
    module = load_module(plugin)
    _check_api(plugin, getattr(module, "zoo_api", None))
    hook = getattr(_own_hooks(module), f"zoo_{plugin.kind}")
    try:
        made = hook()
        if made is None and plugin.class_name:
            made = getattr(module, plugin.class_name)()
        name = None if made is None else made.name
    except (Exception, SystemExit) as error:
        raise PluginError(f"{plugin} fails: {type(error).__name__}: {one_line(error)}") from error
    if made is None:
        raise PluginError(f"{plugin} has no zoo_{plugin.kind} hook, and its entry point names no class.")
    if name != plugin.name:
        raise PluginError(f"{plugin} calls itself '{name}': its name must be that of its entry point.")
    return made


def _check_api(plugin: Plugin, version: object) -> None:
    if version is None:
        raise PluginError(
            f"{plugin} does not declare its plugin API.",
            f"add zoo_api = {hookspecs.PLUGIN_API} to {plugin.module}",
        )
    if version != hookspecs.PLUGIN_API:
        newer = isinstance(version, int) and version > hookspecs.PLUGIN_API
        raise PluginError(
            f"{plugin} is made for plugin API {version}, and this zoo has {hookspecs.PLUGIN_API}.",
            f"pip install --upgrade {_OWN if newer else _package(plugin.distribution)}",
        )


def pinned(distribution: str) -> str | None:
    """What pip installs for `adapter-zoo 0.1.0`, as records name a distribution; None if it is not one."""
    found = _RELEASE.fullmatch(distribution)
    return f"{found[1]}=={found[2]}" if found else None


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"


def _package(distribution: str) -> str:
    return distribution.split()[0]
