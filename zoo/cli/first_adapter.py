"""Finds the command that trains a first adapter with the base and the data that this machine already has."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress

from zoo.errors import ZooError
from zoo.models.fingerprint import canonical
from zoo.plugins import manager
from zoo.plugins.source import Kind
from zoo.registry.store import Registry, locate
from zoo.runtime.offline import offline

_METHOD = "lora"
"""What a first adapter is trained with; where it is not installed, the first method that is."""
_ROWS = 2000
"""Rows that a CPU trains on in minutes."""


def first_command(registry: Registry | None = None) -> str | None:
    """`zoo train METHOD TASK` with a base and data that are here, None where no task has both.

    Nothing is asked of the network and nothing heavy is imported: sources say what they have.

    Args:
        registry: where the adapter should go; it is named where the command would not find it by itself.
    """
    methods = list(manager.find("method"))
    if not methods:
        return None
    method = _METHOD if _METHOD in methods else methods[0]
    here: dict[Kind, list[str]] = {kind: _offered(kind) for kind in ("base", "data")}
    for _, task, _ in manager.load_all("task"):
        if task is None:
            continue
        data = _first_local("data", task.data, here["data"])
        base = _first_local("base", task.bases, here["base"]) if data else None
        if base and data:
            words = ["zoo", "train", method, task.name, "--base", base, "--data", data, "--limit", str(_ROWS)]
            if registry is not None and registry.path.absolute() != locate().absolute():
                words += ["--registry", str(registry.path)]
            return shlex.join(words)
    return None


def _offered(kind: Kind) -> list[str]:
    """`scheme:id` of all that the sources have, in lower case."""
    found = []
    for source in manager.load_sources():
        with suppress(Exception):  # a third party's source may raise anything
            found += [f"{source.scheme}:{canonical(one.id)}".lower() for one in source.offers(kind)]
    return found


def _first_local(kind: Kind, preferences: Sequence[str], offered: Sequence[str]) -> str | None:
    """The first of a task's defaults that is whole on this disk: a download may have been cut off."""
    by_scheme = {source.scheme: source for source in manager.load_sources()}
    for preference in preferences:
        scheme, _, bare = preference.partition(":")
        repo = bare.partition(":")[0]
        if scheme not in by_scheme or f"{scheme}:{canonical(repo)}".lower() not in offered:
            continue
        with suppress(ZooError), offline():
            if by_scheme[scheme].resolve(bare, kind) is not None:
                return preference
    return None
