"""Which adapters fit which bases, for `zoo check`: their own, one that is asked for, all that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from zoo.adapters import find_base
from zoo.adapters.compat.check import CANNOT_TELL, DOES_NOT_FIT, EXACT, FITS, State, check
from zoo.adapters.formats import read_adapter
from zoo.errors import IncompatibleError, NotFoundError, ZooError
from zoo.plugins.source import Resolved, local_offers
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, OK, SKIPPED, CheckResult, failures
from zoo.runtime.offline import offline
from zoo.runtime.paths import expand, is_folder
from zoo.security.gates import CONFIG_FILE

_STATUS = {EXACT: OK, FITS: OK, DOES_NOT_FIT: FAILED, CANNOT_TELL: SKIPPED}


class Fit(CheckResult, frozen=True, kw_only=True):
    """One adapter, `name`, on one base; the detail says why."""

    base: str
    """Empty where nobody recorded one."""
    fit: State
    """`exact`: the base holds the weights that the adapter was made on; `fits`: in shape."""
    is_own: bool
    """Is it the base that the adapter was made on, or was asked for?"""


@dataclass(frozen=True)
class Subject:
    name: str
    folder: Path
    record: AdapterRecord | None
    """None of a folder that others made."""

    @property
    def base(self) -> str:
        """What it says it was made on; empty where it does not."""
        if self.record is not None:
            base = self.record.base
            return "" if base.id == UNKNOWN else base.location if base.id.startswith("local:") else base.id
        named = read_adapter(self.folder).config.get("base_model_name_or_path")
        return named if isinstance(named, str) else ""

    def own_folder(self) -> Path:
        """Where that base is on this disk.

        Raises:
            NotFoundError: nobody recorded it, or it is not here.
        """
        if self.record is not None:
            return _folder(find_base.local(self.record.base, _look))
        if not self.base:
            raise NotFoundError("nobody recorded its base.")
        return _folder(_look(self.base))

    def own_folder_or_none(self) -> Path | None:
        try:
            return self.own_folder()
        except ZooError:
            return None


def subject(name: str, registry: Registry) -> Subject:
    """A registered adapter, or a folder that holds one.

    Raises:
        NotFoundError: it is neither.
    """
    folder = expand(name)
    is_adapter = is_folder(folder) and any((folder / file).is_file() for file in (CONFIG_FILE, "config.json"))
    try:
        record, found = registry.locate(name)
    except NotFoundError:
        if is_adapter:
            return Subject(name, folder, None)
        if is_folder(folder):
            raise NotFoundError(f"{name} holds no adapter: it has no {CONFIG_FILE}.") from None
        raise
    return Subject(name, found, record)


def on_base(one: Subject, reference: str) -> Fit:
    """Raises NotFoundError: the base is not here."""
    return _check(one, _folder(_look(reference)), reference, is_own=True)


def on_own(one: Subject) -> Fit:
    try:
        name, missing = one.base, read_adapter(one.folder).missing
    except ZooError as error:
        return _from_error(one, "", error)
    try:
        folder = one.own_folder()
    except ZooError as error:
        reasons = [str(error).rstrip("."), *([missing] if missing else [])]
        return _fit(one, name, CANNOT_TELL, reasons)
    return _check(one, folder, name, is_own=True)


def on_others(one: Subject, recorded: Iterable[BaseId]) -> Iterator[Fit]:
    """On every base that this machine knows beside its own: what fits is a candidate."""
    try:
        read_adapter(one.folder)
    except ZooError:
        return  # reported once, with its own base
    own = one.own_folder_or_none()
    for folder, name in _known(recorded).items():
        if folder != own:
            yield _check(one, folder, name, is_own=False)


def exit_code(results: Iterable[Fit]) -> int:
    """5 where one does not fit, 3 where one is unknown; an adapter that fits any base has one."""
    results = list(results)
    fitting = {one.name for one in results if one.status == OK}
    asked = [one for one in results if one.is_own]
    if failures(asked):
        return IncompatibleError.exit_code
    if any(one.status == SKIPPED and one.name not in fitting for one in asked):
        return NotFoundError.exit_code
    return 0


def _check(one: Subject, folder: Path, name: str, *, is_own: bool) -> Fit:
    try:
        found = check(one.folder, folder, one.record, one.own_folder_or_none())
    except ZooError as error:
        return _from_error(one, name, error, is_own=is_own)
    return _fit(one, name, found.state, found.reasons, is_own=is_own)


def _from_error(one: Subject, name: str, error: ZooError, *, is_own: bool = True) -> Fit:
    """A damaged file fits nothing; of a missing one it is unknown."""
    state = DOES_NOT_FIT if isinstance(error, IncompatibleError) else CANNOT_TELL
    return _fit(one, name, state, [str(error).rstrip(".")], is_own=is_own)


def _fit(one: Subject, base: str, fit: State, reasons: Iterable[str], *, is_own: bool = True) -> Fit:
    detail = "; ".join(dict.fromkeys(reasons))
    return Fit(one.name, _STATUS[fit], detail, base=base, fit=fit, is_own=is_own)


def _known(recorded: Iterable[BaseId]) -> dict[Path, str]:
    """Folder -> what to call it: every base of a record and of a source that is here, each once."""
    found: dict[Path, str] = {}
    unique = {(base.id, base.location): base for base in recorded}
    for base in unique.values():
        with suppress(ZooError):
            name = base.location if base.id.startswith("local:") else base.id
            found.setdefault(_folder(find_base.local(base, _look)), name)
    with offline():
        offers = local_offers("base")
    for offer in offers:
        with suppress(ZooError):
            found.setdefault(_folder(_look(offer.location)), offer.id)
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
