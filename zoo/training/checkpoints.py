"""Keeps the settings of a run beside its checkpoints, so that only the same run goes on from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from zoo.errors import UsageError
from zoo.plugins.run import RunConfig
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import SPEC_FILE, dump


def folder(work: Path) -> Path:
    """Where the checkpoints of a run are, within its work folder."""
    return work / "checkpoints"


def last(parent: Path) -> Path | None:
    """The newest checkpoint in the folder, if there is one."""
    found = parent.glob("checkpoint-*")
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def open_work(work: Path, config: RunConfig, resume: bool) -> None:
    """Create the work folder of a run, or continue with the one of an interrupted run.

    Raises:
        UsageError: the interrupted run had other settings; the message names them.
    """
    path, spec = work / SPEC_FILE, config.as_spec()
    if resume and path.is_file():
        before = msgspec.to_builtins(msgspec.json.decode(path.read_bytes(), type=AdapterSpec))
        now = msgspec.to_builtins(spec)
        changed = ", ".join(f"{key} was {before[key]}" for key in now if before[key] != now[key])
        if changed:
            raise UsageError(f"the interrupted run had other settings: {changed}.", "without --resume")
        return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    path.write_bytes(dump(spec))
