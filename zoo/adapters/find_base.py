"""Which base an adapter sits on: found wherever it lies here, and told from any other by its weights."""

from __future__ import annotations

from pathlib import Path

import msgspec

from zoo.adapters import probe
from zoo.errors import IncompatibleError, NotFoundError, UnreachableError
from zoo.models.hash_cache import known_weight_hashes
from zoo.plugins import source
from zoo.plugins.source import Resolved
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.runtime.console import Report

_HASH_DIGITS = 12
"""Of a weight's hash, in a sentence."""
_REASONS = 3
"""Why an adapter does not fit, in a sentence."""


def find(record: AdapterRecord, asked: str | None = None) -> Resolved:
    """The base that was asked for, else the adapter's own: where it was, or under its name elsewhere.

    Raises:
        NotFoundError: nobody recorded which base that is, or it is not to be had here.
    """
    if asked is not None:
        return source.resolve(asked, (), "base", Report())
    if not references(record.base):
        raise NotFoundError(
            f"nobody recorded which base '{record.name}' sits on.",
            f"zoo check {record.name} says which fit; then --base FOLDER|ID",
        )
    copy = _copy_here(record.base)
    if copy is not None:
        return copy
    reasons: list[NotFoundError] = []
    for reference in references(record.base):
        try:
            return source.resolve(reference, (), "base", Report())
        except NotFoundError as error:
            reasons.append(error)
    kind = UnreachableError if any(isinstance(one, UnreachableError) for one in reasons) else NotFoundError
    raise kind(
        f"the base of '{record.name}', {record.base.id}, is not here: {reasons[0]}", "--base FOLDER|ID"
    )


def _copy_here(base: BaseId) -> Resolved | None:
    """The same weights elsewhere on this machine, where those of the recorded place would be fetched."""
    for reference in references(base):
        found = source.at_hand(reference)
        if found is None:
            continue
        if found.location == base.location:
            return None  # the recorded place itself is here
        if not found.folder.is_dir():  # weights that must be unpacked: of the same package, to the same
            if base.package and found.package == base.package:
                return source.resolve(found.location, (), "base", Report())
            continue
        if base.weights and known_weight_hashes(found.folder) == base.weights:
            return found
    return None


def references(base: BaseId) -> list[str]:
    """What may resolve to it, the surest first: a record of others names places of their machine."""
    has_id = base.id != UNKNOWN and not base.id.startswith("local:")
    pinned = f"hub:{base.id}@{base.revision}" if has_id and base.revision else ""
    tried = (base.location, pinned, base.id if has_id else "")
    return list(dict.fromkeys(one for one in tried if one.strip() and one != UNKNOWN))


def difference(record: AdapterRecord, folder: Path, base: Resolved, found: BaseId) -> str | None:
    """How the weights of `base` are not those that the adapter was trained on, in words; None if they are.

    Args:
        folder: the adapter's, whose probe knows each tensor of its own base.
    """
    if not record.base.weights or found.weights == record.base.weights:
        return None
    said = f"'{record.name}' was trained on {record.base.id}; {base.location} holds other weights"
    known = probe.altered(probe.read(folder), base.folder)
    if known is None:
        return f"{said}."
    names, total = known
    if not names:
        return f"{said}: its files differ, although each of its {total} tensors has the same checksum."
    verb = "tensor differs" if total == 1 else "tensors differs" if len(names) == 1 else "tensors differ"
    return f"{said}: {len(names)} of {total} {verb}, {names[0]}{' first' if len(names) > 1 else ''}."


def check_fits(record: AdapterRecord, folder: Path, base: Resolved) -> None:
    """By names and shapes, before any weight is read.

    Raises:
        IncompatibleError: the adapter has no place there; the message says what does not fit.
    """
    from zoo.adapters.compat import check

    verdict = check.check(folder, base.folder, record)
    if verdict.state == "does not fit":
        why = "; ".join(verdict.reasons[:_REASONS]).rstrip(".")
        raise IncompatibleError(
            f"'{record.name}' does not fit {base.location}: {why}.",
            f"zoo check {record.name} says which bases fit",
        )


def note_other(record: AdapterRecord, found: BaseId, registry: Registry) -> AdapterRecord:
    """The record with a doubt that names the other base: once for each, in the registry too."""
    digest = next(iter(found.weights.values()), "")[:_HASH_DIGITS]
    flag = f"used on another base than its own: {found.id}, weights sha256 {digest}"
    if flag in record.flags:
        return record
    changed = msgspec.structs.replace(record, flags=[*record.flags, flag])
    if record.name in registry and registry.get(record.name) == record:
        registry.replace(changed)
    return changed
