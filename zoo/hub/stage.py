"""Gathers what of an adapter is published in a folder of its own, and checks it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from zoo.cards import render
from zoo.cards.metadata import parse, split
from zoo.cards.redact import public
from zoo.errors import IncompatibleError
from zoo.hub.publish_checks import check_base, check_card, check_licence, check_metrics, check_unchanged
from zoo.models.fingerprint import file_ids
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import RECORD_FILE, dump
from zoo.runtime.checks import FAILED, OK, CheckResult, failures
from zoo.runtime.console import Report
from zoo.security.gates import CONFIG_FILE, outgoing
from zoo.security.safe_read import read_text
from zoo.security.secrets import clean, redact, secret_in


@dataclass(frozen=True)
class PublishOptions:
    """The options of `zoo publish`: how the repository is written to, and what the record does not say."""

    public: bool = False
    create_pr: bool = False
    revision: str | None = None
    """A branch; None is `main`."""
    message: str | None = None
    base_id: str | None = None
    licence: str | None = None
    without_metrics: bool = False


@dataclass(frozen=True)
class Staged:
    """What is ready to be sent, if no check failed."""

    record: AdapterRecord
    """As the world sees it."""
    folder: Path
    left_out: list[tuple[str, str]]
    """Name and reason."""
    checks: list[CheckResult]

    @property
    def files(self) -> dict[str, int]:
        """Name -> bytes."""
        return {path.name: path.stat().st_size for path in sorted(self.folder.iterdir())}

    def check(self) -> None:
        """Raises IncompatibleError: a check failed; all that did are named."""
        if failed := failures(self.checks):
            details = clean(redact(" ".join(f"{one.name}: {one.detail}." for one in failed)))
            raise IncompatibleError(f"'{self.record.name}' cannot be published. {details}", failed[0].fix)


def stage(
    record: AdapterRecord, source: Path, folder: Path, repo: str, options: PublishOptions, report: Report
) -> Staged:
    """Fill `folder`, which is empty, with what of `source` is published to `repo`, and run every check."""
    unchanged = check_unchanged(record, source)
    base, base_check = check_base(record, options.base_id, report)
    shown = public(msgspec.structs.replace(record, base=base, hub=None))
    edited = _edited_card(source)
    licence = options.licence or _stated(edited)
    checks = [check_licence(record, licence), base_check, check_metrics(record, options.without_metrics)]
    try:
        files, left_out = outgoing(source)
    except IncompatibleError as error:
        checks.append(CheckResult("files", FAILED, str(error).rstrip("."), error.hint or ""))
        return Staged(shown, folder, [], [*checks, unchanged])
    for path in files:
        if path.name not in (RECORD_FILE, render.FILE):
            _put(path, folder / path.name, base)
    ids = file_ids(folder)
    shown = msgspec.structs.replace(shown, files={name: ids[name] for name in record.files if name in ids})
    (folder / RECORD_FILE).write_bytes(dump(shown))
    text = render.render(shown, repo, licence)
    if edited is not None:
        text = render.keep_prose(edited, text, relicensed=options.licence is not None)
    (folder / render.FILE).write_text(text, encoding="utf-8")
    checks += [check_card(edited, text, record), _check_files(folder, source, record), unchanged]
    return Staged(shown, folder, left_out, checks)


def _put(path: Path, target: Path, base: BaseId) -> None:
    if path.name == CONFIG_FILE:
        config = json.loads(path.read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": base.id, "revision": base.revision}
        target.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return
    try:
        os.link(path, target)  # weights may be large, and nothing writes to them here
    except OSError:
        shutil.copyfile(path, target)


def _edited_card(source: Path) -> str | None:
    """The card beside the adapter, in which a person may have written; None where there is none to read."""
    path = source / render.FILE
    try:
        return read_text(path) if path.is_file() and not path.is_symlink() else None
    except IncompatibleError:  # a check says so
        return None


def _stated(card: str | None) -> str | None:
    """The licence in the card's own front matter: stated once, it need not be stated again."""
    try:
        found = parse(split(card or "")[0] or "").get("license")
    except ValueError:  # a check says so
        return None
    names = found if isinstance(found, list) else [found]
    return ", ".join(one for one in names if isinstance(one, str)) or None


def _check_files(folder: Path, source: Path, record: AdapterRecord) -> CheckResult:
    """The files that were written for the Hub: no secret, and no place on this disk."""
    places = [str(source.absolute()), f"{Path.home()}/"]
    if record.base.location.startswith("path:/"):
        places.append(record.base.location.removeprefix("path:"))
    for name in (CONFIG_FILE, RECORD_FILE, render.FILE):
        if not (folder / name).is_file():
            continue
        content = (folder / name).read_bytes()
        if kind := secret_in(content):
            return CheckResult("files", FAILED, f"{name} would hold {kind}")
        if place := next((one for one in places if one.encode() in content), None):
            return CheckResult("files", FAILED, f"{name} names a folder of this machine, {place}")
    names = sorted(path.name for path in folder.iterdir())
    return CheckResult("files", OK, f"{len(names)}, without secrets, the weights finite")
