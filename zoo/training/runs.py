"""Keeps each training as a run: a folder with its settings, inputs and checkpoints, locked while it is alive.

A run is a folder below `adapters/.work/`, named by the run's id. `run.json` is written once, when the run
starts, and again when it goes on. Whether the run is alive is told by its lock, which the system releases
when the process ends, however it ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from zoo.errors import NotFoundError, UsageError
from zoo.registry.lock import hold
from zoo.registry.schema import AdapterRecord, AdapterSpec
from zoo.registry.store import RECORD_FILE, Registry, dump
from zoo.registry.trash import Entry
from zoo.runtime.files import write_whole
from zoo.training import checkpoints
from zoo.training.inputs import Inputs

FILE = "run.json"
_LOCK = "lock"
_STOP = "stop"
_PROGRESS = "progress.json"
_CHECKPOINTS = "checkpoints"
_MADE = "made"
_GLANCE = 0.05
"""Seconds."""


class RunState(Struct, frozen=True, kw_only=True):
    """What run.json holds."""

    id: str
    name: str
    """That the adapter will have, reserved while the run is alive or can go on."""
    asked: AdapterSpec
    """As typed: the same command again goes on with this run."""
    config: AdapterSpec
    """Every setting resolved."""
    inputs: Inputs
    created: str
    host: str
    pid: int
    changes: list[str] = field(default_factory=list)
    """What was another thing when the run was resumed with --allow-changes."""
    failure: str | None = None
    """Why it ended, where it did not just stop."""
    final: bool = False
    """Going on would end in the same way."""
    schema: int = 1


@dataclass(frozen=True)
class Run:
    """A run that is on the disk, alive or not."""

    state: RunState
    folder: Path

    @cached_property
    def alive(self) -> bool:
        with _try_lock(self.folder) as got:
            return not got

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def checkpoints(self) -> Path:
        return self.folder / _CHECKPOINTS

    @property
    def made(self) -> Path:
        """Where the adapter is saved before it is registered."""
        return self.folder / _MADE

    @cached_property
    def finished(self) -> AdapterRecord | None:
        """The record of an adapter that is complete and only not registered."""
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode((self.made / RECORD_FILE).read_bytes(), type=AdapterRecord)
        return None

    @cached_property
    def step(self) -> int:
        """The last step that a checkpoint was saved after; of a living run, the last one of which it told."""
        if self.alive:
            return int(_progress(self.folder).get("step", 0))
        whole = [
            one for one in checkpoints.find(self.checkpoints) if not checkpoints.damage_of(one, fast=True)
        ]
        return checkpoints.step_of(whole[0]) if whole else 0

    @property
    def total(self) -> int | None:
        """Steps of the whole training; None before the first."""
        found = _progress(self.folder).get("total")
        return int(found) if found else None

    @property
    def status(self) -> Literal["alive", "interrupted", "failed", "finished"]:
        if self.alive:
            return "alive"
        if self.finished:
            return "finished"
        return "failed" if self.state.failure else "interrupted"

    @property
    def reserves_name(self) -> bool:
        return self.alive or not self.state.final

    @property
    def next_step(self) -> str:
        """What to type to stop it, to go on with it, or to be rid of it."""
        if self.alive:
            return f"zoo stop {self.id}"
        return f"zoo runs rm --yes {self.id}" if self.state.final else f"zoo resume {self.id}"


def all_runs(registry: Registry) -> list[Run]:
    """Every run on the disk, the oldest first. One whose adapter is registered has ended, and is removed."""
    found = []
    for path in sorted(registry.work_folder("").glob(f"*/{FILE}")):
        try:
            state = msgspec.json.decode(path.read_bytes(), type=RunState)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        run = Run(state, path.parent)
        if not run.alive and _is_registered(run, registry):
            shutil.rmtree(run.folder, ignore_errors=True)
            continue
        found.append(run)
    return found


def get(registry: Registry, word: str) -> Run:
    """The run with that id, or the newest one of an adapter of that name.

    Raises:
        NotFoundError: there is none.
    """
    from zoo.runtime import suggest

    every = all_runs(registry)
    for run in reversed(every):
        if word in (run.id, run.name):
            return run
    if word in registry:
        raise NotFoundError(f"'{word}' is registered: nothing of it is left to do.", f"zoo show {word}")
    near, hint = suggest.unknown(word, {name for run in every for name in (run.id, run.name)}, "zoo runs")
    raise NotFoundError(f"no run is called '{word}'.{near}", hint)


def to_go_on_with(registry: Registry, asked: AdapterSpec, name: str, *, resume: bool) -> Run | None:
    """The stopped run of the same command, the newest of several. One that failed for good is none.

    Args:
        name: that the adapter is to have.
        resume: the run of that name, whatever its settings; they are compared later.

    Raises:
        NotFoundError: `resume`, and there is none.
    """
    here = [run for run in stopped(registry, asked, name) if not run.state.final]
    same = [run for run in here if run.state.asked == asked]
    if same or not resume:
        return same[-1] if same else None
    if not here:
        raise NotFoundError(f"there is no interrupted run of '{name}' to resume.", "without --resume")
    return here[-1]


def stopped(registry: Registry, asked: AdapterSpec, name: str) -> list[Run]:
    """Runs of the same command, and of that name, that are not alive: --fresh takes their place."""
    return [
        run
        for run in all_runs(registry)
        if not run.alive and (run.state.asked == asked or (run.name == name and asked.name is not None))
    ]


def taken_names(registry: Registry) -> set[str]:
    """Of adapters that are being trained, or can still be."""
    return {run.name for run in all_runs(registry) if run.reserves_name}


def remove(registry: Registry, run: Run, command: str) -> Entry:
    """Put a run that is not alive in the trash, with its checkpoints.

    Args:
        command: as it was typed, for `zoo undo --list`.
    """
    with registry.replacing(command) as removed:
        removed.move(run.folder)
    assert removed.entry is not None, "it has ended well"
    return removed.entry


class Opened:
    """A run of this process, whose lock it holds until `close`."""

    def __init__(self, run: Run, lock: Any):
        self.run, self._lock = run, lock

    def close(self) -> None:
        """Release it. What has neither a checkpoint nor an adapter goes: there is nothing to go on from."""
        if not checkpoints.find(self.run.checkpoints) and self.run.finished is None:
            shutil.rmtree(self.run.folder, ignore_errors=True)
        self._lock.release()

    def failed(self, why: str, *, final: bool) -> None:
        """Keep in run.json why it ended, and whether going on would end in the same way.

        It would not where the adapter is complete, and only could not be registered.
        """
        final = final and self.run.finished is None
        with suppress(OSError):
            _write(self.run.folder, msgspec.structs.replace(self.run.state, failure=why, final=final))


def open_run(
    registry: Registry,
    asked: AdapterSpec,
    config: AdapterSpec,
    inputs: Inputs,
    resumed: Run | None,
    **more: Any,
) -> Opened:
    """Start a run, or go on with `resumed`: reserve the name and take the lock.

    A name that nobody asked for is numbered here where another run took it meanwhile.

    Raises:
        UsageError: another process has just taken the run, or the name.
    """
    import filelock

    parent = registry.work_folder("")
    parent.mkdir(parents=True, exist_ok=True)
    with hold(parent / _LOCK):
        if resumed is not None:
            folder, name, run_id = resumed.folder, resumed.name, resumed.id
            created = resumed.state.created
        else:
            created = datetime.now(timezone.utc).isoformat(timespec="seconds")
            run_id, folder = _new_folder(parent)
            name = str(config.name)
            taken = taken_names(registry)
            if asked.name is None:
                name = registry.free_name(name, taken)
            elif name in taken:
                shutil.rmtree(folder)
                raise UsageError(
                    f"a run of '{name}' has just been started.", f"--name {registry.free_name(name, taken)}"
                )
        lock = filelock.FileLock(folder / _LOCK, preserve_lock_file=True)
        try:
            lock.acquire(timeout=1)  # others hold it for a moment, to see whether it can be had
        except filelock.Timeout:
            raise UsageError(f"run {run_id} is alive: another process goes on with it.", "zoo runs") from None
        state = RunState(
            id=run_id,
            name=name,
            asked=asked,
            config=msgspec.structs.replace(config, name=name),
            inputs=inputs,
            created=created,
            host=socket.gethostname(),
            pid=os.getpid(),
            **more,
        )
        (folder / _STOP).unlink(missing_ok=True)
        _write(folder, state)
    return Opened(Run(state, folder), lock)


def note_progress(folder: Path, step: int, total: int) -> None:
    """For `zoo runs`. What cannot be written is not missed."""
    beside = folder / f"{_PROGRESS}.tmp"
    with suppress(OSError):
        beside.write_bytes(msgspec.json.encode({"step": step, "total": total}))
        os.replace(beside, folder / _PROGRESS)


def is_asked_to_stop(folder: Path) -> bool:
    """Has `zoo stop` asked? On any machine that has the folder."""
    return (folder / _STOP).exists()


def ask_to_stop(run: Run, seconds: float) -> bool:
    """Ask a living run to save and end; did it within `seconds`?"""
    (run.folder / _STOP).touch()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not run.folder.exists():
            return True
        with _try_lock(run.folder) as got:
            if got:
                return True
        time.sleep(0.1)
    return False


def _is_registered(run: Run, registry: Registry) -> bool:
    """Was it killed between the registration and the end? Then nothing is left to do."""
    if run.made.exists():
        return False
    with suppress(Exception):
        return run.name in registry and registry.get(run.name).run == run.id
    return False


def _new_folder(parent: Path) -> tuple[str, Path]:
    while True:
        run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        with suppress(FileExistsError):
            (parent / run_id).mkdir()
            return run_id, parent / run_id


def _write(folder: Path, state: RunState) -> None:
    write_whole(folder / FILE, dump(state))


def _progress(folder: Path) -> Mapping[str, Any]:
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode((folder / _PROGRESS).read_bytes(), type=dict[str, int])
    return {}


@contextmanager
def _try_lock(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the run's lock. It is held for a moment, and given back."""
    import filelock

    if not (folder / _LOCK).exists():
        yield True
        return
    lock = filelock.FileLock(folder / _LOCK, preserve_lock_file=True)
    try:
        lock.acquire(timeout=_GLANCE, poll_interval=_GLANCE / 5)  # another may only be looking, as we are
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
