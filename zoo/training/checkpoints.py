"""Writes checkpoints that are whole or not there, and finds the newest one that is. Needs no torch.

A checkpoint is written beside, gets a manifest with the size and hash of each file, and is renamed to its
place when all of it has reached the disk. So a folder `checkpoint-N` was whole once, and its manifest tells
whether it still is. The step in its name gives the order, never a clock.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from zoo.models.hash_cache import sha256
from zoo.runtime.files import sync, write_whole

MANIFEST = "manifest.json"
KEPT = 2
"""Whole checkpoints of a run: one more than is needed, in case it is damaged later."""
_PREFIX = "checkpoint-"
_BESIDE = "writing-"


def step_of(checkpoint: Path) -> int:
    """The step after which it was saved."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def find(folder: Path) -> list[Path]:
    """Every checkpoint of a run, whole or not, the newest first."""
    found = folder.glob(f"{_PREFIX}*")
    return sorted((one for one in found if one.name.removeprefix(_PREFIX).isdecimal()), key=step_of)[::-1]


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and a line on each newer one that is not."""
    skipped: list[str] = []
    for checkpoint in find(folder):
        damage = damage_of(checkpoint)
        if not damage:
            return checkpoint, skipped
        skipped.append(f"{checkpoint.name} is skipped: {damage}")
    return None, skipped


def damage_of(checkpoint: Path, *, fast: bool = False) -> str:
    """What is missing from a checkpoint, or altered; nothing where it is as it was saved.

    Args:
        fast: take no hashes; what is altered in its place is not noticed then.
    """
    try:
        outer = json.loads((checkpoint / MANIFEST).read_bytes())
        listed, digest = outer["files"], outer["sha256"]
        files = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in listed.items()}
        step = int(outer["step"])
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except OSError as error:
        return f"{MANIFEST} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"{MANIFEST} is damaged"
    if digest != _digest(step, listed):
        return f"{MANIFEST} is altered"
    if step != step_of(checkpoint):
        return f"it is the one of step {step}, renamed"
    for name, (size, expected) in files.items():
        path = checkpoint / name
        try:
            if path.stat().st_size != size:
                return f"{name} is not whole"
            if not fast and sha256(path) != expected:
                return f"{name} is altered"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return ""


def beside(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` is written before it is whole."""
    return folder / f"{_BESIDE}{step}"


def begin(folder: Path, step: int) -> None:
    """Make that folder, empty; what was begun before and not finished goes."""
    abandon(folder)
    beside(folder, step).mkdir(parents=True)


def finish(written: Path, whole: set[Path]) -> Path:
    """Complete a checkpoint, move it to its place, and only then remove those that are too many.

    Args:
        written: the folder `beside`, with every file in it.
        whole: checkpoints that this process has completed, which need no second look. It is added to.

    Raises:
        OSError: it could not be written; the older ones are as they were.
    """
    files = {}
    step = int(written.name.removeprefix(_BESIDE))
    for path in sorted(written.iterdir()):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    manifest = {"step": step, "files": files, "sha256": _digest(step, files)}
    write_whole(written / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True).encode())
    target = written.with_name(f"{_PREFIX}{step}")
    if target.exists():  # damaged, and skipped by who resumed before it
        shutil.rmtree(target)
    os.replace(written, target)
    sync(target.parent)
    whole.add(target)
    _remove_older(target, whole)
    return target


def abandon(folder: Path) -> None:
    """Remove what was begun: its disk space is needed."""
    for leftover in folder.glob(f"{_BESIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _remove_older(newest: Path, whole: set[Path]) -> None:
    kept = 1
    for checkpoint in find(newest.parent):
        if checkpoint == newest:
            continue
        of_past = step_of(checkpoint) < step_of(newest)
        if kept < KEPT and of_past and (checkpoint in whole or not damage_of(checkpoint)):
            kept += 1
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)


def _digest(step: int, files: dict[str, Any]) -> str:
    """Of the manifest itself: a changed digit in it must not go unnoticed."""
    import hashlib

    return hashlib.sha256(json.dumps([step, files], sort_keys=True).encode()).hexdigest()
