"""Kills a command of the registry at its lines with SIGKILL, and checks what the next command finds.

`python -m tests.registry.killed OPERATION FOLDER [EVERY]` prints how many points there were, and at how many
the registry was as before, and as after.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import filelock  # noqa: F401  imported before the lines are counted

import zoo.registry
from tests.records import add_record, make_folder, make_record
from zoo.adapters.integrity import changed_files
from zoo.registry.merge import merge
from zoo.registry.migrate import migrate
from zoo.registry.store import Registry
from zoo.registry.trash import TRASH, begun, entries
from zoo.runtime import files

_TRACED = (str(Path(zoo.registry.__file__).parent), str(files.__file__))
_WEIGHTS = "adapter_model.safetensors"


def _replace(registry: Registry) -> None:
    made = make_folder(registry, make_record("one"))
    (made / _WEIGHTS).write_bytes(b"others!")
    registry.put_in_place(make_record("one", labels=["new", "old"]), made, "zoo import")


def _old_form(registry: Registry) -> None:
    for path in (registry.path, registry.adapter_folder("one") / "zoo.json"):
        path.write_bytes(path.read_bytes().replace(b"  ", b""))


def _other(registry: Registry) -> Registry:
    """With another `one`, and with `four`; its files are those on record."""
    import hashlib

    from zoo.registry.schema import FileId

    other = Registry(registry.path.parent / "other" / "registry.json")
    ids = {_WEIGHTS: FileId(bytes=7, sha256=hashlib.sha256(b"weights").hexdigest())}
    add_record(other, "one", files=ids, labels=["other"])
    add_record(other, "four", files=ids)
    return other


def _merge(registry: Registry) -> None:
    other = Registry(registry.path.parent / "other" / "registry.json")
    merge(registry, other, changed_files, "zoo registry merge other", dry_run=False)


BEFORE: dict[str, Callable[[Registry], object]] = {
    "rebuild": lambda registry: registry.path.write_bytes(registry.path.read_bytes()[:500]),
    "migrate": _old_form,
    "merge": _other,
    "undo": lambda registry: registry.remove("one"),
}
OPERATIONS: dict[str, Callable[[Registry], object]] = {
    "remove": lambda registry: registry.remove("one", "two"),
    "replace": _replace,
    "rebuild": lambda registry: registry.rebuild(),
    "restore": lambda registry: registry.restore("one"),
    "migrate": lambda registry: migrate(registry, "zoo registry migrate"),
    "merge": _merge,
    "undo": lambda registry: registry.undo(),
}


def state(registry: Registry) -> dict[str, bytes]:
    """Every file but the lock, the trash and what is being made."""
    folder = registry.path.parent
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and not {TRASH, ".work", "other"} & {*path.parts}
    }


def _kill_at(number: int) -> None:
    """Have the process die at that line of ours."""
    left = number

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def _check(registry: Registry, old: dict[str, bytes], new: dict[str, bytes]) -> str:
    """What the next command finds: the old state, or the new one, which can be undone."""
    if old.get("registry.json", b"").endswith(b"\n"):
        registry.records()  # which takes no lock
    with registry.replacing("the next command"):
        pass
    found = state(registry)
    assert begun(registry.folder) == []
    if found == old:
        return "old"
    assert found == new, (sorted(found), sorted(new))
    if old["registry.json"] != new["registry.json"]:
        registry.rebuild()
        assert state(registry) == new, "a rebuild brings something back"
    _, entry = entries(registry.folder)[-1]
    registry.undo(entry.number)
    assert state(registry) == old, "undone is not as before"
    return "new"


def run(operation: str, work: Path, every: int = 1) -> dict[str, int]:
    start = Registry(work / "start" / "registry.json")
    for name in ("one", "two", "three"):
        add_record(start, name)
    if operation == "restore":
        (start.adapter_folder("one") / "zoo.json").write_bytes(b"{")
    BEFORE.get(operation, lambda _: None)(start)
    old = state(start)
    whole = Registry(shutil.copytree(start.path.parent, work / "whole") / "registry.json")
    OPERATIONS[operation](whole)
    new = state(whole)
    assert old != new
    counts = {"points": 0, "old": 0, "new": 0}
    at = 1
    while True:
        here = Registry(shutil.copytree(start.path.parent, work / "here") / "registry.json")
        child = os.fork()
        if child == 0:
            _kill_at(at)
            OPERATIONS[operation](here)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), status
        counts["points"] += status != 0
        counts[_check(here, old, new)] += 1
        shutil.rmtree(here.path.parent)
        if status == 0:
            return counts
        at += every


if __name__ == "__main__":
    print(run(sys.argv[1], Path(sys.argv[2]), int("".join(sys.argv[3:]) or 1)))
