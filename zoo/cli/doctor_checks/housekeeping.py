"""Compares registry.json with the folders beside it, and finds what dead processes left behind.

Each adapter's own zoo.json is the truth, so that where the two differ it is registry.json that is made again.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from zoo.cli.doctor_checks.remedies import again, zoo_command
from zoo.errors import NotFoundError, ZooError
from zoo.registry import trash
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import RECORD_FILE, WORK, Registry, read_record
from zoo.runtime import cache
from zoo.runtime.checks import FAILED, WARNING, CheckResult
from zoo.training import runs

_MAY_LIVE = 600.0
"""Seconds in which somebody may still be at work on what lies half made."""
_OF_PROCESS = re.compile(r"^removed-.*-(\d+)$|\.(\d+)\.tmp$")
"""How what a process throws away or is making is named: after its number."""


def read_all(registry: Registry) -> tuple[dict[str, AdapterRecord], list[CheckResult]]:
    """Every record that can be read: of registry.json, else those in the folders, which are the truth."""
    own = {}
    for path in sorted(registry.folder.glob(f"*/{RECORD_FILE}")):
        with suppress(ZooError, OSError):
            own[path.parent.name] = read_record(path)
    try:
        known = registry.records()
    except ZooError as error:
        return own, [CheckResult(str(registry.path), FAILED, str(error), error.hint or "")]
    names: set[str] = set()
    with suppress(OSError):  # none yet, or not readable
        names = {path.name for path in registry.folder.iterdir() if path.is_dir()} - {WORK, trash.TRASH}
    found = [
        result
        for name in sorted(known.keys() | names)
        for result in _compare(registry, name, known, own.get(name))
    ]
    return known | own, found


def leftovers(registry: Registry) -> list[CheckResult]:
    """Runs that did not finish, and what killed processes left half made here and in the caches."""
    return [*leftovers_in(registry), *_half_cached(), *_downloads()]


def leftovers_in(registry: Registry) -> list[CheckResult]:
    """The same of the registry alone."""
    return [*_work(registry), *_lock(registry), *_half_written(registry), *_begun(registry)]


def _begun(registry: Registry) -> Iterable[CheckResult]:
    """Any command that writes finishes them."""
    for folder, entry in trash.begun(registry.folder):
        told = f"'{entry.command}' was killed and has not finished"
        yield CheckResult(str(folder), WARNING, told, "zoo registry rebuild")


def _compare(
    registry: Registry, name: str, records: Mapping[str, AdapterRecord], own: AdapterRecord | None
) -> Iterable[CheckResult]:
    folder, known = registry.adapter_folder(name), records.get(name)
    rebuild = "zoo registry rebuild"
    status = FAILED
    if known is None and own is None and not (folder / RECORD_FILE).is_file():
        status, detail = WARNING, f"a folder without {RECORD_FILE}: no adapter of the zoo"
        has_config = (folder / "adapter_config.json").is_file()
        fix = zoo_command("import", str(folder)) if has_config else _move_away(registry, folder)
    elif known is None and own is None:
        detail, fix = _unreadable(folder), _move_away(registry, folder)
    elif own is not None and known is None and own.name != name:
        detail = f"its {RECORD_FILE} says it is '{own.name}'"
        fix = f"{shlex.join(['mv', str(folder), str(folder.with_name(own.name))])} && {rebuild}"
    elif known is None:
        detail, fix = "an adapter that registry.json does not have", rebuild
    elif not folder.is_dir():
        detail, fix = "in registry.json, and its folder is gone", again(known, registry, records)
    elif own is None:
        detail, fix = _unreadable(folder), zoo_command("registry", "restore", name)
    elif own != known:
        differ = [one for one in known.__struct_fields__ if getattr(own, one) != getattr(known, one)]
        detail, fix = f"{RECORD_FILE} and registry.json differ in {', '.join(differ)}", rebuild
    else:
        return
    yield CheckResult(str(folder), status, detail, fix)


def _move_away(registry: Registry, folder: Path) -> str:
    """What is in it is not known, so it is moved rather than removed."""
    if not any(folder.iterdir()):
        return shlex.join(["rmdir", str(folder)])
    return shlex.join(["mv", str(folder), str(registry.path.parent)])


def _unreadable(folder: Path) -> str:
    try:
        read_record(folder / RECORD_FILE)
    except NotFoundError:
        return f"its {RECORD_FILE} is gone"
    except (ZooError, OSError) as error:
        return f"{RECORD_FILE} cannot be read: {error}"
    return f"{RECORD_FILE} changed meanwhile"


def _work(registry: Registry) -> Iterable[CheckResult]:
    """Trainings that stopped, and what killed processes left half made."""
    parent = registry.folder / WORK
    known = {run.folder: run for run in runs.all_runs(registry)}
    for folder in sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else ():
        written = _last_written(folder)
        when = f"last written {_ago(time.time() - written)}"
        run = known.get(folder)
        if run is None:
            number = _OF_PROCESS.search(folder.name)
            if not _is_alive(folder.name) if number else time.time() - written > _MAY_LIVE:
                fix = shlex.join(["rm", "-r", str(folder)])
                yield CheckResult(str(folder), WARNING, f"half made and left, {when}", fix)
        elif not run.alive:
            left = (
                "is not registered" if run.finished else f"stopped at step {run.step} of {run.total or '?'}"
            )
            why = f": {run.state.failure}" if run.state.failure else ""
            detail = f"a training of '{run.name}' that {left}, {when}{why}"
            yield CheckResult(str(folder), WARNING, detail, run.next_step)


def _lock(registry: Registry) -> Iterable[CheckResult]:
    """The file stays for ever, and means nothing; held by somebody, it stops every writer."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    path = f"{registry.file}.lock"
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield CheckResult(
            path, WARNING, "another process is writing to the registry now", f"fuser {shlex.quote(path)}"
        )
    except OSError:  # a file system without locks
        return
    finally:
        os.close(handle)


def _half_written(registry: Registry) -> Iterable[CheckResult]:
    file = registry.file
    yield from _left([*file.parent.glob(f"{file.name}.*.tmp"), *registry.folder.glob("*/*.tmp")])


def _half_cached() -> Iterable[CheckResult]:
    own = cache.folder("x")
    yield from _left(own.parent.glob("*/*.tmp") if own else ())


def _left(found: Iterable[Path]) -> Iterable[CheckResult]:
    for path in sorted(found):
        if not _is_alive(path.name):
            fix = shlex.join(["rm", "-r", str(path)])
            yield CheckResult(str(path), WARNING, "half written by a process that is gone", fix)


def _downloads() -> Iterable[CheckResult]:
    try:
        from huggingface_hub import constants
    except ImportError:
        return
    parent = Path(constants.HF_HUB_CACHE)
    stale = []
    for path in parent.glob("*/blobs/*.incomplete"):
        with suppress(OSError):  # gone meanwhile
            found = path.stat()
            if time.time() - found.st_mtime > _MAY_LIVE:
                stale.append(found.st_size)
    if stale:
        what = f"{len(stale)} downloads that were cut off, {sum(stale) / 1e6:,.1f} MB"
        fix = f"find {shlex.quote(str(parent))} -name '*.incomplete' -delete"
        yield CheckResult(str(parent), WARNING, what, fix)


def _is_alive(name: str) -> bool:
    """Does the process that a name ends with still run? One number may be another's by now: then it waits."""
    number = _OF_PROCESS.search(name)
    if number is None or os.name == "nt":
        return False
    try:
        with suppress(PermissionError):  # it is somebody else's
            os.kill(int(number[1] or number[2]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _last_written(folder: Path) -> float:
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            times.append(path.stat().st_mtime)
    return max(times)


def _ago(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {name} ago"
    return "just now"
