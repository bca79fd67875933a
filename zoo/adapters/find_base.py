"""Finds the base of an adapter, on this machine first, and tells it from any other by its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from zoo.adapters import probe
from zoo.errors import NotFoundError, UnreachableError, ZooError
from zoo.models.fingerprint import LocalWeights, same_weights
from zoo.models.gguf import unpacked_folder
from zoo.plugins import source
from zoo.plugins.source import Resolved
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.runtime.console import Report
from zoo.runtime.offline import offline


def references(base: BaseId) -> list[str]:
    """What may resolve to it, the surest first: a record made elsewhere names places of another machine."""
    has_id = base.id != UNKNOWN and not base.id.startswith("local:")
    pinned = f"hub:{base.id}@{base.revision}" if has_id and base.revision else ""
    tried = (base.location, pinned, base.id if has_id else "")
    return list(dict.fromkeys(one for one in tried if one.strip() and one != UNKNOWN))


def find(record: AdapterRecord, asked: str | None = None) -> Resolved:
    """The base that was asked for, else the adapter's own: local where it can be, or fetched.

    Raises:
        NotFoundError: nobody recorded which base that is, or no source has it.
    """
    if asked is not None:
        return source.resolve(asked, (), "base", Report())
    places = references(record.base)
    if not places:
        raise NotFoundError(
            f"nobody recorded which base '{record.name}' sits on.",
            f"zoo check {record.name}",
        )
    try:
        found = local(record.base)
        if found.folder.is_dir():
            return found
        places = [found.location]  # weights that have yet to be unpacked
    except NotFoundError:
        pass
    reasons: list[NotFoundError] = []
    for reference in places:
        try:
            return source.resolve(reference, (), "base", Report())
        except NotFoundError as error:
            reasons.append(error)
    raise _not_here(
        reasons,
        f"the base of '{record.name}', {record.base.id}, is not here: {reasons[0]}",
        "--base FOLDER",
    )


def look(reference: str, *, weights: bool = True) -> Resolved:
    """What a reference names on this machine; nothing is fetched or unpacked.

    Args:
        weights: its config alone is not enough.

    Raises:
        UnreachableError: a source has it elsewhere.
        NotFoundError: no source has it, or it cannot be read.
    """
    try:
        with offline():
            found = source.find_local(reference)
            if found is None:
                found = source.resolve(reference, (), "base", Report(), weights=weights)
        if not found.folder.is_dir() and (folder := unpacked_folder(found.folder)).is_dir():
            found = dataclasses.replace(found, path=folder)
    except UnreachableError:
        raise _not_local(reference) from None
    except OSError as error:
        raise NotFoundError(f"base '{reference}' cannot be read: {error.strerror}.") from error
    return found


def local(base: BaseId, look: Callable[[str], Resolved] = look) -> Resolved:
    """A recorded base on this machine: in its place, at its revision, or its weights under its name.

    Raises:
        UnreachableError: it is not here, and a source has it elsewhere.
        NotFoundError: it is not here, or nobody recorded which base it is.
    """
    reasons: list[NotFoundError] = []
    for reference in references(base):
        try:
            found = look(reference)
        except NotFoundError as error:
            reasons.append(error)
            continue
        if found.location == reference or _is_copy(found, base):
            return found
        if reference.partition(":")[0] in (base.id, found.location.partition(":")[0]):
            reasons.append(NotFoundError(f"{found.location} holds other weights than {base.id}."))
        else:  # a copy that is none: the source that was named may have it
            reasons.append(_not_local(reference))
    if not reasons:
        raise NotFoundError("nobody recorded its base.")
    raise _not_here(reasons, str(reasons[0]), reasons[0].hint)


def _is_copy(found: Resolved, base: BaseId) -> bool:
    if not base.weights or (base.package is not None and found.package == base.package):
        return True
    if not found.folder.is_dir():
        return False
    there = LocalWeights(found.folder)
    return not there.weights or same_weights(base, there) is True


def _not_local(reference: str) -> UnreachableError:
    return UnreachableError(f"base '{reference}' is not on this machine.")


def _not_here(reasons: list[NotFoundError], line: str, hint: str | None) -> NotFoundError:
    """What could be fetched is out of reach, whatever else was tried."""
    kind = UnreachableError if any(isinstance(one, UnreachableError) for one in reasons) else NotFoundError
    return kind(line, hint)


def compare_weights(
    record: AdapterRecord, folder: Path, base: Path, found: BaseId | LocalWeights
) -> tuple[bool | None, str]:
    """Are the weights in `base` those that the adapter was trained on? None where the record has no hashes.

    Beside that what differs, or what the answer rests on, where that is less than SHA-256.

    The CRC-32 of each tensor, which the adapter's probe keeps, tells which tensors differ. It is enough for a
    record of 0.1.0 that was made here; of an untrusted one it proves nothing, for it can be forged.

    Args:
        folder: the adapter's.
        found: the hashes of `base`.

    Raises:
        IncompatibleError: the probe is damaged.
    """
    if not record.base.weights:
        return None, ""
    same = same_weights(record.base, found)
    if same is None and record.base.tensors_sha256 is None:
        same = _by_original(record.base, found)
    if same:
        return True, ""
    known = probe.altered(probe.read(folder), base)
    if known is None:
        return False, ""
    names, total = known
    if names:
        verb = "tensor differs" if total == 1 else "tensors differs" if len(names) == 1 else "tensors differ"
        first = f"{names[0]}{' first' if len(names) > 1 else ''}"
        return False, f"{len(names)} of {total} {verb}, {first}"
    if same is None and record.origin is None:
        detail = f"by the checksums (CRC-32) of its {total} tensors: its files differ from those on record"
        return True, detail
    return False, f"its files differ, although each of its {total} tensors has the same checksum"


def _by_original(base: BaseId, found: BaseId | LocalWeights) -> bool | None:
    """By tensors, where the recorded files are still here to be hashed."""
    try:
        own = LocalWeights(local(base).folder)
    except (ZooError, OSError):
        return None
    is_original = sorted(own.weights.values()) == sorted(base.weights.values())
    return same_weights(own, found) if is_original else None
