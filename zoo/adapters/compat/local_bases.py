"""Knows the bases on this machine: those of its adapters' records, and what its sources offer."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from zoo.adapters import find_base
from zoo.errors import NotFoundError, ZooError
from zoo.plugins import manager
from zoo.plugins.source import Resolved
from zoo.registry.schema import BaseId
from zoo.runtime.offline import offline


def folder_of(reference: str) -> Path:
    """Where a base, or no more than its config, is on this disk; nothing is fetched or unpacked.

    Raises:
        ZooError: it is not here, or the reference is none.
    """
    return _folder(_look(reference))


def own_folder(base: BaseId) -> Path:
    """Of the base in a record, under any of its names. Errors: see `folder_of`."""
    return _folder(find_base.local(base, _look))


def known(recorded: Iterable[BaseId]) -> dict[Path, str]:
    """Folder -> what to call it: every base of a record and of a source that is here, each once."""
    found: dict[Path, str] = {}
    unique = {(base.id, base.location): base for base in recorded}
    for base in unique.values():
        with suppress(ZooError):
            name = base.location if base.id.startswith("local:") else base.id
            found.setdefault(own_folder(base), name)
    with offline():
        offers = [offer for source in manager.load_sources() for offer in source.offers("base")]
    for offer in offers:
        with suppress(ZooError):
            found.setdefault(folder_of(offer.location), offer.id)
    return found


def _folder(found: Resolved) -> Path:
    if found.folder.is_dir():
        return found.folder
    raise NotFoundError(f"base '{found.id}' is packed in {found.folder.name}, and was not unpacked yet.")


def _look(reference: str) -> Resolved:
    found = _looked(reference)
    if isinstance(found, ZooError):
        raise found
    return found


@lru_cache(maxsize=1024)
def _looked(reference: str) -> Resolved | ZooError:
    """Once a reference, also where the answer is no: thousands of adapters have few bases."""
    try:
        return find_base.look(reference, weights=False)
    except ZooError as error:
        return error
