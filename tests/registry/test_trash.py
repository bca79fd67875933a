"""What a command replaces or removes is kept, comes back to the byte, and survives a kill and a full disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.records import add_record, make_folder, make_record
from tests.registry.killed import BEFORE, OPERATIONS, run, state
from zoo.errors import FullError, IncompatibleError, NotFoundError, UsageError, ZooError
from zoo.registry import trash
from zoo.registry.store import Registry, dump
from zoo.registry.trash import TRASH, begun, entries

posix = pytest.mark.skipif(os.name == "nt", reason="signals and fork")


@pytest.fixture
def three(registry: Registry) -> Registry:
    for name in ("one", "two", "three"):
        add_record(registry, name)
    return registry


def prepare(registry: Registry, operation: str) -> None:
    if operation == "restore":
        (registry.adapter_folder("one") / "zoo.json").write_bytes(b"{")
    BEFORE.get(operation, lambda _: None)(registry)


# back to the byte


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_command_replaced_comes_back_to_the_byte_and_goes_again(
    operation: str, three: Registry
) -> None:
    prepare(three, operation)
    before = state(three)
    OPERATIONS[operation](three)
    after = state(three)
    assert after != before
    _, entry = entries(three.folder)[-1]
    _, back = three.undo(entry.number)
    assert state(three) == before
    _, again = three.undo(back.number)
    assert state(three) == after
    three.undo(again.number)
    assert state(three) == before
    assert len(entries(three.folder)) == 1


def test_undo_twice_in_a_row_goes_back_two_commands(three: Registry) -> None:
    before = state(three)
    three.remove("one", command="zoo rm one")
    three.remove("two", command="zoo rm two")
    assert three.undo()[0].command == "zoo rm two"
    assert three.undo()[0].command == "zoo rm one"
    assert state(three) == before
    with pytest.raises(NotFoundError, match="nothing that could be brought back") as caught:
        three.undo()
    assert caught.value.hint == "zoo undo --list"


def test_a_registry_that_was_not_laid_out_by_us_comes_back_as_it_was(three: Registry) -> None:
    odd = json.dumps(json.loads(three.path.read_bytes()), indent=7).encode()
    three.path.write_bytes(odd)
    three.remove("one")
    three.undo()
    assert three.path.read_bytes() == odd


def test_the_last_is_the_last_though_the_clock_was_set_back(
    three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.remove("one")

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr(trash, "datetime", Earlier)
    three.remove("two")
    assert three.undo()[0].names == ["two"]


# what was changed meanwhile


def test_what_others_wrote_since_stays(three: Registry) -> None:
    three.remove("one")
    add_record(three, "four")
    three.remove("two")
    three.undo(1)
    assert list(three.records()) == ["four", "one", "three"]
    assert three.adapter_folder("one").is_dir()


def test_a_name_that_another_adapter_has_by_now_is_refused_and_nothing_changes(three: Registry) -> None:
    three.remove("one")
    add_record(three, "one", labels=["other"])
    before = state(three)
    with pytest.raises(IncompatibleError, match="one is there again") as caught:
        three.undo()
    assert caught.value.hint == "zoo rm one && zoo undo 1"
    assert state(three) == before
    three.remove("one")
    three.undo(1)
    assert three.get("one") == make_record("one")


def test_a_record_that_was_changed_since_is_not_written_over(three: Registry) -> None:
    made = make_folder(three, make_record("one"))
    three.put_in_place(make_record("one", labels=["new"]), made, "zoo import")
    three.replace(make_record("one", labels=["newer"]))
    before = state(three)
    with pytest.raises(IncompatibleError, match="the record of 'one' was changed since"):
        three.undo()
    assert state(three) == before


def test_a_rebuild_of_a_damaged_file_is_not_undone_once_there_is_more(three: Registry) -> None:
    three.path.write_bytes(three.path.read_bytes()[:300])
    three.rebuild()
    add_record(three, "four")
    before = state(three)
    with pytest.raises(IncompatibleError, match=r"registry\.json was changed since"):
        three.undo()
    assert state(three) == before


def test_what_was_taken_out_of_the_trash_by_hand_is_missed_before_anything_moves(three: Registry) -> None:
    entry = three.remove("one", "two")
    shutil.rmtree(trash.folder_of(entry, three.folder) / entry.out[1].kept)
    before = state(three)
    with pytest.raises(IncompatibleError, match="is gone"):
        three.undo()
    assert state(three) == before


def test_an_unknown_number_is_not_found(three: Registry) -> None:
    three.remove("one")
    with pytest.raises(NotFoundError, match="nothing with the number 7"):
        three.undo(7)


# a week


def age(registry: Registry, days: float) -> None:
    """Have what is kept be that old."""
    for folder, entry in entries(registry.folder):
        old = datetime.now(timezone.utc) - timedelta(days=days)
        changed = msgspec.structs.replace(entry, created=old.isoformat(timespec="seconds"))
        (folder / "entry.json").write_bytes(dump(changed))


def test_what_is_older_than_a_week_goes_at_the_next_write_and_nothing_else_does(three: Registry) -> None:
    entry = three.remove("one")
    others = three.folder / TRASH / "20200101T000000Z-9"
    notes = three.folder / TRASH / "notes.txt"
    others.mkdir()
    (others / "mine").write_bytes(b"mine")
    notes.write_bytes(b"mine")
    age(three, 6.9)
    three.check_writable()
    assert trash.folder_of(entries(three.folder)[-1][1], three.folder) is not None
    assert [one.number for _, one in entries(three.folder)] == [entry.number]
    age(three, 7.1)
    three.records()
    assert entries(three.folder)
    three.check_writable()
    assert entries(three.folder) == []
    assert sorted(path.name for path in (three.folder / TRASH).iterdir()) == [others.name, notes.name]
    assert (others / "mine").read_bytes() == b"mine"


@pytest.mark.parametrize("path", ["../../precious", "/etc", ""])
def test_an_entry_that_leads_out_of_the_folder_is_none(three: Registry, path: str) -> None:
    entry = three.remove("one")
    file = trash.folder_of(entry, three.folder) / "entry.json"
    found = json.loads(file.read_bytes())
    found["out"][0]["path"] = path
    file.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(NotFoundError):
        three.undo()


# other parts of the zoo


def test_a_command_moves_what_it_removes_with_the_lock_held(three: Registry) -> None:
    run_folder = three.work_folder("run-1")
    run_folder.mkdir(parents=True)
    (run_folder / "run.json").write_bytes(b"{}")
    with three.replacing("zoo runs rm run-1") as replaced:
        replaced.move(run_folder)
        assert run_folder.is_dir()
    assert not run_folder.exists()
    assert replaced.entry is not None
    assert three.undo()[0].command == "zoo runs rm run-1"
    assert (run_folder / "run.json").read_bytes() == b"{}"


def test_an_error_in_the_block_changes_nothing_and_keeps_nothing(three: Registry) -> None:
    before = state(three)

    def refused() -> None:
        with three.replacing("zoo x") as replaced:
            replaced.move(three.adapter_folder("one"))
            raise UsageError("no")

    with pytest.raises(UsageError):
        refused()
    assert state(three) == before
    assert not (three.folder / TRASH).exists()


def test_a_link_is_moved_and_not_what_it_is_to(three: Registry, tmp_path: Path) -> None:
    elsewhere = Path(shutil.move(three.adapter_folder("one"), tmp_path / "elsewhere"))
    three.adapter_folder("one").symlink_to(elsewhere)
    three.remove("one")
    assert (elsewhere / "zoo.json").is_file()
    three.undo()
    assert three.adapter_folder("one").is_symlink()


# kill -9


@posix
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_command_that_is_killed_leaves_the_old_state_or_the_new_one_which_can_be_undone(
    operation: str, tmp_path: Path
) -> None:
    counts = run(operation, tmp_path, every=37)
    assert counts["points"] > 5
    assert counts["old"]
    assert counts["new"]


@posix
@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_command_that_is_killed_at_any_line_leaves_the_old_state_or_the_new_one(
    operation: str, tmp_path: Path
) -> None:
    assert run(operation, tmp_path)["points"] > 200


def test_a_removal_that_was_killed_is_finished_by_a_rebuild_of_a_damaged_file_too(
    three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trash, "_apply", lambda *_: None)  # as if killed: planned, and nothing moved
        patch.setattr(trash, "_close", lambda _: None)
        three.remove("one")
    assert [entry.names for _, entry in begun(three.folder)] == [["one"]]
    three.path.write_bytes(three.path.read_bytes()[:300])
    three.rebuild()
    assert list(three.records()) == ["three", "two"]
    assert not three.adapter_folder("one").exists()


# a full disk


def fail(monkeypatch: pytest.MonkeyPatch, name: str, at: Callable[[int], bool]) -> list[int]:
    """Have calls of `os.fsync` or `os.replace` fail as on a full disk, by their number; counts them."""
    calls, call = [0], getattr(os, name)

    def failing(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if at(calls[0]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*args, **options)

    monkeypatch.setattr(os, name, failing)
    return calls


def refusal(operation: Callable[[Registry], object], registry: Registry) -> str:
    """What it says where it fails; nothing where it does not."""
    try:
        operation(registry)
    except (ZooError, OSError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_disk_that_is_full_at_any_step_changes_nothing(
    operation: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while True:
        step += 1
        registry = Registry(tmp_path / str(step) / "registry.json")
        for adapter in ("one", "two", "three"):
            add_record(registry, adapter)
        prepare(registry, operation)
        before = state(registry)
        with monkeypatch.context() as patch:
            calls = fail(patch, name, lambda number, step=step: number == step)  # type: ignore[misc]
            told = refusal(OPERATIONS[operation], registry)
        assert "No space left on device" in told or not told
        if calls[0] < step:
            assert step > 2
            return
        with registry.replacing("the next command"):
            pass
        if state(registry) != before:  # the last sync of a folder: then it is all there
            _, entry = entries(registry.folder)[-1]
            registry.undo(entry.number)
            assert state(registry) == before


def test_a_disk_that_stays_full_names_what_makes_room_and_that_works(
    zoo: Callable[..., Any], three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(three)
    folder = three.adapter_folder("one")
    fsync = os.fsync

    def full(handle: int) -> None:
        if folder.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FullError, match="nothing was removed"):
        three.remove("one")
    done = zoo("rm", "one", "--yes")
    assert done.code == 1
    assert done.err.endswith("nothing was removed.\nNext: zoo rm one --yes --purge\n")
    assert state(three) == before
    done = zoo("rm", "one", "--yes", "--purge")
    assert (done.code, done.err) == (0, "removed 'one' for good\n")
    assert list(three.records()) == ["three", "two"]
    assert list((three.folder / TRASH).iterdir()) == []


def test_purge_leaves_nothing_to_undo(zoo: Callable[..., Any], three: Registry) -> None:
    assert zoo("rm", "one", "two", "--yes", "--purge").code == 0
    assert list(three.records()) == ["three"]
    assert zoo("undo").code == 3
    assert list((three.folder / TRASH).iterdir()) == []


# the commands


@pytest.fixture
def elsewhere(three: Registry) -> str:
    """A registry that is not where `zoo` looks by default, as it is typed."""
    target = three.path.parent.with_name("else where")
    shutil.move(three.path.parent, target)
    return str(target)


def test_what_can_be_undone_is_printed_with_the_registry_that_was_typed(
    zoo: Callable[..., Any], elsewhere: str
) -> None:
    registry = Registry(Path(elsewhere) / "registry.json")
    before = state(registry)
    done = zoo("rm", "one", "two", "--yes", "--registry", elsewhere)
    until = f"{datetime.now(timezone.utc) + timedelta(days=7):%Y-%m-%d}"
    told = f"removed 'one', 'two'; zoo undo 1 --registry '{elsewhere}' brings them back (until {until})\n"
    assert (done.code, done.err) == (0, told)
    done = zoo("undo", "--registry", elsewhere)
    assert done.code == 0
    assert done.err.startswith(
        f"undone: zoo rm one two --yes --registry '{elsewhere}'; zoo undo 2 --registry "
    )
    assert state(registry) == before


def test_the_list_names_what_can_be_undone_the_last_first(zoo: Callable[..., Any], three: Registry) -> None:
    assert "nothing to undo" in zoo("undo", "--list").err
    for name in ("one", "two"):
        zoo("rm", name, "--yes")
    first, second = zoo("undo", "--list", "--json").json
    assert (first["number"], first["command"], first["adapters"]) == (2, "zoo rm two --yes", ["two"])
    assert (
        datetime.fromisoformat(second["until"]) - datetime.fromisoformat(second["created"]) == trash.KEPT_FOR
    )
    assert zoo("undo", "--list").out.splitlines()[1].startswith("2\tzoo rm two --yes\ttwo\t")
    done = zoo("undo", "1", "--json")
    assert (done.json["undone"]["command"], done.json["undo"]) == ("zoo rm one --yes", 3)


def test_removing_one_name_twice_removes_it_once(zoo: Callable[..., Any], three: Registry) -> None:
    assert zoo("rm", "one", "one", "--yes").code == 0
    assert list(three.records()) == ["three", "two"]


def test_of_several_names_all_are_removed_or_none(zoo: Callable[..., Any], three: Registry) -> None:
    before = state(three)
    assert zoo("rm", "one", "nobody", "--yes").code == 3
    assert state(three) == before
