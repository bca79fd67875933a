"""Which adapters fit which bases, for `zoo check`: their own, one that is asked for, all that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from zoo.adapters.compat import local_bases
from zoo.adapters.compat.adapter_shapes import read_adapter
from zoo.adapters.compat.check import CANNOT_TELL, DOES_NOT_FIT, EXACT, FITS, Verdict, check
from zoo.errors import IncompatibleError, NotFoundError, ZooError
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.security.gates import CONFIG_FILE

_TOLD = (EXACT, FITS, DOES_NOT_FIT)


class Line(Struct, frozen=True, kw_only=True):
    """One adapter on one base."""

    name: str
    base: str
    """Empty where nobody recorded one."""
    verdict: str
    """`exact`, `fits`, `does not fit` or `unknown`."""
    reasons: list[str]
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
            return local_bases.own_folder(self.record.base)
        if not self.base:
            raise NotFoundError("nobody recorded its base.")
        return local_bases.folder_of(self.base)

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
    folder = Path(name).expanduser()
    is_adapter = any((folder / file).is_file() for file in (CONFIG_FILE, "config.json"))
    try:
        record, found = registry.locate(name)
    except NotFoundError:
        if is_adapter:
            return Subject(name, folder, None)
        if folder.is_dir():
            raise NotFoundError(f"{name} holds no adapter: it has no {CONFIG_FILE}.") from None
        raise
    return Subject(name, found, record)


def on_base(one: Subject, reference: str) -> Line:
    """
    Raises:
        NotFoundError: the base is not here.
    """
    return _line(one, local_bases.folder_of(reference), reference, is_own=True)


def on_own(one: Subject) -> Line:
    try:
        name, missing = one.base, read_adapter(one.folder).missing
    except ZooError as error:
        return _said(one, "", error)
    try:
        folder = one.own_folder()
    except ZooError as error:
        reasons = [str(error).rstrip("."), *([missing] if missing else [])]
        return Line(name=one.name, base=name, verdict=CANNOT_TELL, reasons=reasons, is_own=True)
    return _line(one, folder, name, is_own=True)


def on_others(one: Subject, recorded: Iterable[BaseId]) -> Iterator[Line]:
    """On every base that this machine knows beside its own: what fits is a candidate."""
    try:
        read_adapter(one.folder)
    except ZooError:
        return  # said once, with its own base
    own = one.own_folder_or_none()
    for folder, name in local_bases.known(recorded).items():
        if folder != own:
            yield _line(one, folder, name, is_own=False)


def exit_code(lines: Iterable[Line]) -> int:
    """5 where one does not fit, 3 where one cannot be told; an adapter that fits any base has one."""
    fitting = {line.name for line in lines if line.verdict in (EXACT, FITS)}
    asked = [line for line in lines if line.is_own]
    if any(line.verdict == DOES_NOT_FIT for line in asked):
        return IncompatibleError.exit_code
    if any(line.verdict not in _TOLD and line.name not in fitting for line in asked):
        return NotFoundError.exit_code
    return 0


def _line(one: Subject, folder: Path, name: str, *, is_own: bool) -> Line:
    try:
        verdict = check(one.folder, folder, one.record, one.own_folder_or_none())
    except ZooError as error:
        return _said(one, name, error, is_own=is_own)
    return Line(name=one.name, base=name, verdict=verdict.state, reasons=_plain(verdict), is_own=is_own)


def _said(one: Subject, name: str, error: ZooError, *, is_own: bool = True) -> Line:
    """A damaged file fits nothing; a lost one cannot be told about."""
    state = DOES_NOT_FIT if isinstance(error, IncompatibleError) else CANNOT_TELL
    return Line(name=one.name, base=name, verdict=state, reasons=[str(error).rstrip(".")], is_own=is_own)


def _plain(verdict: Verdict) -> list[str]:
    return list(dict.fromkeys(verdict.reasons))
