"""Registries that are damaged, in conflict or somebody else's, and what cannot be undone."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable

from tests.cli.next_steps.harness import TRAIN, Case, World
from tests.records import add_record, make_folder, make_record
from zoo.registry.store import Registry

KEPT = "--registry kept"
FORMAT = "zoo/registry/registry_json.py"
STORE = "zoo/registry/store.py Registry"
UNDO = "zoo/registry/undo.py"
NAME = "lora-bert-imdb"


def kept(world: World) -> Registry:
    add_record(world.registry)
    return world.registry


def damaged(content: str) -> Callable[[World], None]:
    def state(world: World) -> None:
        kept(world).path.write_text(content, encoding="utf-8")

    return state


def in_conflict(world: World) -> None:
    registry = kept(world)
    ours = registry.path.read_text(encoding="utf-8")
    add_record(registry, "theirs")
    theirs = registry.path.read_text(encoding="utf-8")
    registry.path.write_text(f"<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> theirs\n", encoding="utf-8")


def damaged_record(world: World) -> None:
    registry = kept(world)
    found = json.loads(registry.path.read_bytes())
    found["adapters"][NAME]["cost"] = "nothing"
    registry.path.write_text(json.dumps(found), encoding="utf-8")


def newer(world: World) -> None:
    world.write("kept/registry.json", '{"schema": 99, "adapters": {}}')


def link_to_nothing(world: World) -> None:
    kept(world)
    (world.folder / "other").mkdir()
    (world.folder / "other" / "registry.json").symlink_to("nowhere.json")


def link_to_itself(world: World) -> None:
    kept(world)
    (world.folder / "other").mkdir()
    (world.folder / "other" / "registry.json").symlink_to("registry.json")


def held(world: World) -> None:
    import filelock

    kept(world)
    world.patch.setattr("zoo.registry.lock.GIVE_UP_AFTER", 0.2)
    world.lock = filelock.FileLock(f"{world.registry.path}.lock")
    world.lock.acquire()


def released(world: World) -> None:
    world.lock.release()


def two(world: World) -> None:
    kept(world)
    add_record(Registry(world.folder / "other" / "registry.json"), "theirs")


def notes(world: World) -> None:
    folder = kept(world).adapter_folder(NAME)
    for path in folder.iterdir():
        path.unlink()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")


def another_program(world: World) -> None:
    kept(world)
    world.write("other/adapters/pg/index.js", "")


def adapters_file(world: World) -> None:
    kept(world)
    world.write("other/adapters", "USB-C to HDMI: 2")


def no_folders(world: World) -> None:
    shutil.rmtree(kept(world).adapter_folder(NAME))


def full_disk(world: World) -> None:
    folder, fsync = kept(world).adapter_folder(NAME), os.fsync

    def full(handle: int) -> None:
        if folder.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    world.patch.setattr(os, "fsync", full)


def removed_and_made_again(world: World) -> None:
    kept(world).remove(NAME)
    kept(world)


def removed(world: World) -> None:
    kept(world).remove(NAME)


def replaced_and_changed(world: World) -> None:
    registry = kept(world)
    made = make_folder(registry, make_record())
    registry.put_in_place(make_record(labels=["new"]), made, "zoo import")
    registry.replace(make_record(labels=["newer"]))


def laid_out_otherwise(world: World) -> None:
    path = kept(world).path
    path.write_text(json.dumps(json.loads(path.read_bytes())), encoding="utf-8")


CASES = [
    Case(f"{FORMAT} parse 1", f"list {KEPT}", "zoo registry merge --registry kept", in_conflict),
    Case(f"{STORE}.rebuild 1", f"registry rebuild {KEPT}", "zoo registry merge --registry kept", in_conflict),
    Case(
        f"{FORMAT} parse 1",
        f"list {KEPT}",
        "zoo registry rebuild --registry kept",
        damaged("<<<<<<< ours\n=======\n>>>>>>> theirs\n"),
    ),
    Case(
        f"{FORMAT} parse 2",
        f"list {KEPT}",
        "zoo registry rebuild --registry kept",
        damaged('{"schema": 1, "ad'),
    ),
    Case(f"{FORMAT} decode 1", f"show {NAME} {KEPT}", "zoo registry rebuild --registry kept", damaged_record),
    Case(f"{FORMAT} refuse_newer 1", f"list {KEPT}", "", newer),
    Case(
        f"{FORMAT} read_bytes 1",
        "list --registry other",
        "zoo list --registry FOLDER",
        link_to_nothing,
        fill={"FOLDER": "kept"},
    ),
    Case(
        f"{FORMAT} read_bytes 2",
        "list --registry other",
        "zoo list --registry FOLDER",
        link_to_itself,
        fill={"FOLDER": "kept"},
    ),
    Case(
        "zoo/registry/lock.py hold 1",
        f"rm --yes {NAME} {KEPT}",
        f"zoo rm --yes {NAME} {KEPT}",
        held,
        meanwhile=released,
    ),
    Case(
        f"{STORE}._writing 1",
        f"{TRAIN} --registry /proc/zoo/registry.json --dry-run".replace(f"{KEPT} ", ""),
        "--registry FOLDER",
        fill={"FOLDER": "kept"},
    ),
    Case(
        "zoo/registry/merge.py _Join.__init__ 1",
        f"registry merge nowhere {KEPT}",
        "zoo registry merge OTHER --registry kept",
        two,
        fill={"OTHER": "other"},
    ),
    Case(
        "zoo/registry/merge.py _Join._sides 1",
        f"registry merge {KEPT}",
        "zoo registry merge OTHER --registry kept",
        two,
        fill={"OTHER": "other"},
    ),
    Case(
        f"{STORE}.check_is_adapter 1",
        f"rm --yes {NAME} {KEPT}",
        f"zoo registry restore {NAME} {KEPT}",
        notes,
    ),
    Case(
        f"{STORE}.check_is_zoo 1",
        "registry rebuild --registry other",
        "zoo registry rebuild --registry FOLDER",
        another_program,
        fill={"FOLDER": "kept"},
    ),
    Case(
        f"{STORE}.check_ours 1",
        "registry rebuild --registry other",
        "zoo registry rebuild --registry FOLDER",
        adapters_file,
        fill={"FOLDER": "kept"},
    ),
    Case(f"{STORE}.rebuild 2", f"registry rebuild {KEPT}", f"zoo doctor {KEPT}", no_folders, code=5),
    Case(f"{STORE}.restore 1", f"registry restore {NAME} {KEPT}", f"zoo doctor {KEPT}", no_folders, code=5),
    Case(f"{STORE}.remove 1", f"rm --yes {NAME} {KEPT}", f"zoo rm --yes {NAME} {KEPT} --purge", full_disk),
    Case(
        f"{UNDO} _check_room 1",
        f"undo {KEPT}",
        f"zoo rm {NAME} {KEPT} && zoo undo 1 {KEPT}",
        removed_and_made_again,
    ),
    Case(f"{UNDO} _entry 1", f"undo 9 {KEPT}", f"zoo undo --list {KEPT}", removed),
    Case(f"{UNDO} _reverted 1", f"undo {KEPT}", f"zoo registry check {KEPT}", replaced_and_changed, code=5),
    Case(
        "zoo/cli/doctor_checks/registry.py _file 1",
        f"registry check {KEPT}",
        f"zoo registry migrate {KEPT}",
        laid_out_otherwise,
        check="registry.json",
    ),
]
