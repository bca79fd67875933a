"""The bases that this machine knows: those of its adapters' records, and what its sources have here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from zoo.adapters.find_base import references
from zoo.errors import NotFoundError, UnreachableError, ZooError
from zoo.models.gguf import unpacked_folder
from zoo.plugins import manager
from zoo.plugins.source import at_hand, resolve
from zoo.registry.schema import BaseId
from zoo.runtime.console import Report


@contextmanager
def offline() -> Iterator[None]:
    """Nothing is asked of the Hub within: its client reads the variable once, and keeps what it read."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    client = sys.modules.get("huggingface_hub.constants")
    kept = getattr(client, "HF_HUB_OFFLINE", None)
    if client is not None:
        client.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
        client = sys.modules.get("huggingface_hub.constants")
        if client is not None:
            client.HF_HUB_OFFLINE = kept if kept is not None else before in ("1", "true", "yes", "on")  # type: ignore[attr-defined]


def folder_of(reference: str) -> Path:
    """Where a base lies on this disk, or no more than its config; nothing is fetched or unpacked.

    Raises:
        ZooError: it is not here, or the reference is none.
    """
    found = _look(reference)
    if isinstance(found, ZooError):
        raise found
    return found


def own_folder(base: BaseId) -> Path:
    """Of the base in a record, under any of its names.

    Raises:
        NotFoundError: nobody recorded it, or it is not here.
    """
    reasons = []
    for reference in references(base):
        try:
            return folder_of(reference)
        except ZooError as error:
            reasons.append(error)
    if not reasons:
        raise NotFoundError("nobody recorded its base.")
    raise NotFoundError(str(reasons[0]), reasons[0].hint)


@lru_cache(maxsize=1024)
def _look(reference: str) -> Path | ZooError:
    """Once a reference, also where the answer is no: thousands of adapters have few bases."""
    try:
        with offline():
            found = at_hand(reference)
            if found is None:
                found = resolve(reference, (), "base", Report(), weights=False)
        if found.folder.is_dir():
            return found.folder
        folder = unpacked_folder(found.folder)
    except UnreachableError:
        return NotFoundError(f"base '{reference}' is not on this machine.", "--base FOLDER|ID of one that is")
    except ZooError as error:
        return error
    except OSError as error:
        return NotFoundError(f"base '{reference}' cannot be read: {error.strerror}.")
    if folder.is_dir():
        return folder
    return NotFoundError(f"base '{reference}' is packed in {found.folder.name}, and was not unpacked yet.")


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
