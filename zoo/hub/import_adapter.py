"""Imports adapters from elsewhere: checked, described and registered, or nothing is kept."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from zoo.adapters import find_base
from zoo.adapters.compat.check import DOES_NOT_FIT, check
from zoo.adapters.formats import PICKLED, WEIGHTS, check_has_weights, read_adapter_config
from zoo.errors import IncompatibleError, NotFoundError, UsageError, ZooError
from zoo.hub.infer_record import Asserted, apply_asserted, infer_record
from zoo.hub.trust_record import recorded_files, trusted_record
from zoo.registry.names import check_name, plain_name
from zoo.registry.schema import AdapterRecord, HubId
from zoo.registry.store import RECORD_FILE, Registry
from zoo.runtime.console import Report
from zoo.security.adapter_config import check_config, without_unknown
from zoo.security.gates import CONFIG_FILE, check_file, check_incoming, incoming

Put = Callable[[AdapterRecord, Path], AdapterRecord]
"""Enters a finished folder with its record, and gives the record with the name that it got."""


@contextmanager
def staging(registry: Registry) -> Iterator[Path]:
    """An empty folder for an adapter, on the registry's disk; its parent is removed afterwards.

    Raises:
        ZooError: nothing can be written there.
    """
    registry.check_writable()
    work = registry.work_folder("")
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import-", dir=work, ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        yield made


def import_folder(
    path: Path,
    registry: Registry,
    report: Report,
    *,
    name: str | None = None,
    asserted: Asserted | None = None,
    convert: bool = False,
    put: Put | None = None,
) -> AdapterRecord:
    """Copy the adapter in the folder `path` into the registry.

    Args:
        name: `None` is the folder's, numbered if it is taken.
        convert: pickled weights are converted, in a process that can do nothing else.
        put: `None` is `Registry.add`, which leaves others their names.

    Raises:
        NotFoundError: no folder, no config or no weights.
        IncompatibleError: a check failed, or it is another tool's.
    """
    check_new_name(name, registry, replaces=put is not None)
    if path.is_file():
        folder = shlex.quote(str(path.parent)) if (path.parent / CONFIG_FILE).is_file() else "FOLDER"
        raise UsageError(f"{path} is a file; an adapter is a folder.", f"zoo import {folder}")
    if not path.is_dir():
        raise NotFoundError(f"there is no folder {path}.", "zoo import FOLDER")
    path = path.resolve()
    names = [one.name for one in sorted(path.iterdir())]
    if RECORD_FILE not in names:
        check_config(read_adapter_config(path / CONFIG_FILE), str(path / CONFIG_FILE))
    if RECORD_FILE not in names or CONFIG_FILE in names:
        check_has_weights(str(path), names, convert=convert, remedy=f"zoo import {path} --convert-bin")
    report.say(f"copying and checking {path}")
    with staging(registry) as made:
        for one in incoming(names):
            check_file(path / one)
            shutil.copyfile(path / one, made / one)
        pickled = path / PICKLED if convert else None
        return register(
            made, registry, report, str(path), name=name, asserted=asserted, pickled=pickled, put=put
        )


def register(
    made: Path,
    registry: Registry,
    report: Report,
    where: str,
    *,
    name: str | None,
    asserted: Asserted | None,
    pickled: Path | None,
    hub: HubId | None = None,
    put: Put | None = None,
) -> AdapterRecord:
    """Check the files in `made`, a folder that `staging` gave, and register it.

    Args:
        where: the folder or the repository that the files came from, for messages and the adapter's name.
        pickled: weights to convert.

    Raises:
        IncompatibleError: a check failed.
    """
    if pickled is not None:
        if (made / WEIGHTS[0]).exists():
            raise UsageError(f"{pickled.parent} has safetensors weights already.", "without --convert-bin")
        from zoo.security.convert_bin import convert

        convert(pickled, made / WEIGHTS[0])
    asserted = asserted or Asserted()
    try:
        for warning in check_incoming(made):
            report.warn(f"{warning}.")
        _drop_unknown(made / CONFIG_FILE)
        own = _own_record(made, report)
        record = apply_asserted(own, asserted, report) if own else infer_record(made, asserted, report)
        _check_fit(made, record, asserted, report)
    except ZooError as error:
        raise _as_of(error, made, where) from None
    record = msgspec.structs.replace(
        record,
        name=name or plain_name(Path(where).name),
        origin=f"hub:{hub.repo}@{hub.revision}" if hub else f"path:{where}",
        hub=hub,
        files=recorded_files(made),
    )
    for path in made.iterdir():
        path.chmod(0o644)
    return (put or registry.add)(record, made)


def check_new_name(name: str | None, registry: Registry, *, replaces: bool) -> None:
    """
    Raises:
        UsageError: the name is taken, and not by an adapter that may be replaced.
    """
    if name is None:
        return
    if check_name(name) in registry and replaces:
        registry.check_is_adapter(name)
    elif name in registry or registry.adapter_folder(name).exists():
        told = f"an adapter is already called '{name}'; --replace would put this one in its place."
        raise UsageError(told, f"--name {registry.free_name(name)}")


def _own_record(made: Path, report: Report) -> AdapterRecord | None:
    """The record in the folder if it can be trusted; else a warning says why it cannot."""
    if not (made / RECORD_FILE).is_file():
        return None
    try:
        return trusted_record(made)
    except ZooError as error:
        reason = str(error).rstrip(".")
    if not (made / CONFIG_FILE).is_file():
        raise IncompatibleError(f"{made / RECORD_FILE} cannot be trusted: {reason}.")
    (made / RECORD_FILE).unlink()
    report.warn(f"its {RECORD_FILE} is not trusted, and neither are its metrics: {reason}.")
    return None


def _check_fit(made: Path, record: AdapterRecord, asserted: Asserted, report: Report) -> None:
    """Warn where the base is on this machine and the adapter does not fit it; refuse if the user named it."""
    try:
        base = find_base.local(record.base)
    except NotFoundError:
        return
    if not base.folder.is_dir() or (fit := check(made, base.folder, record)).state != DOES_NOT_FIT:
        return
    message = f"it does not fit {base.location}: {'; '.join(fit.reasons).rstrip('.')}."
    if asserted.base is not None:
        raise IncompatibleError(message, "--base FOLDER")
    report.warn(message)


def _drop_unknown(path: Path) -> None:
    """Remove keys of a newer PEFT or of no PEFT, of which the gate warned, before PEFT reads the file."""
    if path.is_file():
        kept, dropped = without_unknown(read_adapter_config(path))
        if dropped or path.read_bytes().startswith(b"\xef\xbb\xbf"):  # PEFT reads no byte order mark
            path.write_text(json.dumps(kept, indent=2, sort_keys=True), encoding="utf-8")


def _as_of(error: ZooError, made: Path, where: str) -> ZooError:
    """The error with the place that the files came from: the copy is removed before anybody reads it."""
    message = str(error).replace(f"{made}{os.sep}", f"{where}: ").replace(str(made), where)
    return type(error)(message, error.hint and error.hint.replace(str(made), where))
