"""A checkpoint is whole or not there: after kill -9 at any line, on a full disk, with any byte flipped."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from zoo.training import checkpoints

FILES = {"trained.safetensors": 9000, "optimizer.pt": 20_000, "scheduler.pt": 900, "live.json": 80}
POSIX = pytest.mark.skipif(os.name == "nt", reason="forks")


def write(folder: Path, step: int) -> None:
    """As a trainer does, in blocks."""
    for name, size in FILES.items():
        content = random.Random(f"{name} {step}").randbytes(size)
        with (folder / name).open("wb") as file:
            for start in range(0, size, 1024):
                file.write(content[start : start + 1024])


def save(folder: Path, step: int, whole: set[Path] | None = None) -> None:
    checkpoints.begin(folder, step)
    write(checkpoints.beside(folder, step), step)
    checkpoints.finish(checkpoints.beside(folder, step), set() if whole is None else whole)


def content(checkpoint: Path | None) -> dict[str, bytes]:
    assert checkpoint is not None
    return {path.name: path.read_bytes() for path in checkpoint.iterdir()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    for step in (5, 10):
        save(tmp_path, step)
    return tmp_path


def test_the_newest_of_the_last_two_is_found_by_its_step(saved: Path) -> None:
    save(saved, 100)
    assert [path.name for path in checkpoints.find(saved)] == ["checkpoint-100", "checkpoint-10"]
    os.utime(saved / "checkpoint-100", (0, 0))  # a clock that was set back decides nothing
    os.utime(saved / "checkpoint-100" / "manifest.json", (0, 0))
    assert checkpoints.newest(saved) == (saved / "checkpoint-100", [])


def test_no_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "nothing") == (None, [])


def damages() -> Iterator[tuple[str, Callable[[Path], object], str]]:
    for name in (*FILES, checkpoints.MANIFEST):

        def flip(folder: Path, name: str = name) -> None:
            found = bytearray((folder / name).read_bytes())
            found[len(found) // 2] ^= 1
            (folder / name).write_bytes(found)

        def cut(folder: Path, name: str = name) -> None:
            os.truncate(folder / name, (folder / name).stat().st_size - 1)

        def remove(folder: Path, name: str = name) -> None:
            (folder / name).unlink()

        yield f"{name} flipped", flip, name
        yield f"{name} cut", cut, name
        yield f"{name} gone", remove, name
    yield "another step", lambda folder: None, "it is the one of step 5"


@pytest.mark.parametrize(
    ("damage", "named"), [case[1:] for case in damages()], ids=[case[0] for case in damages()]
)
def test_what_is_damaged_is_skipped_by_name(
    damage: Callable[[Path], object], named: str, saved: Path
) -> None:
    if named.startswith("it is"):
        (saved / "checkpoint-5").rename(saved / "checkpoint-11")
        assert checkpoints.newest(saved)[0] == saved / "checkpoint-10"
    else:
        damage(saved / "checkpoint-10")
        assert checkpoints.newest(saved)[0] == saved / "checkpoint-5"
    (line,) = checkpoints.newest(saved)[1]
    assert " is skipped: " in line
    assert named in line


def test_no_flipped_bit_of_a_manifest_goes_unnoticed(saved: Path) -> None:
    path = saved / "checkpoint-10" / checkpoints.MANIFEST
    before = path.read_bytes()
    for place in range(len(before)):
        changed = bytearray(before)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        same = False
        if not checkpoints.damage_of(path.parent):  # a space between two words is no content
            same = json.loads(changed) == json.loads(before)
        assert checkpoints.damage_of(path.parent) or same, place


def test_a_newer_damaged_one_makes_way_for_what_is_saved_after_resuming_before_it(saved: Path) -> None:
    (saved / "checkpoint-10" / "optimizer.pt").unlink()
    save(saved, 7)
    assert checkpoints.newest(saved) == (saved / "checkpoint-7", [])
    assert [path.name for path in checkpoints.find(saved)] == ["checkpoint-7", "checkpoint-5"]
    save(saved, 10)
    assert checkpoints.newest(saved) == (saved / "checkpoint-10", [])


def in_a_child(action: Callable[[], object]) -> int:
    """The exit status of a fork that does it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(line: int, action: Callable[[], object]) -> bool:
    """Do it in a process that gets kill -9 before its n-th line of Python; did that come?"""

    def act() -> None:
        left = line

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            left -= event == "line"
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        action()

    return in_a_child(act) == -signal.SIGKILL


def lines_of(action: Callable[[], object]) -> int:
    counted = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal counted
        counted += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return counted


def assert_whole_after_kill(
    folder: Path, step: int, line: int, old: dict[str, bytes], new: dict[str, bytes]
) -> str:
    found, skipped = checkpoints.newest(folder)
    assert found is not None, line
    assert found.name in (f"checkpoint-{step - 5}", f"checkpoint-{step}"), line
    assert content(found) == (new if found.name == f"checkpoint-{step}" else old), line
    assert skipped == [], line
    return found.name


@POSIX
def test_after_kill_9_at_any_line_of_a_save_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    """Some thirty of its lines; the slow test below takes each."""
    kill_everywhere(tmp_path, every=60)


@POSIX
@pytest.mark.slow
def test_after_kill_9_at_each_line_of_a_save_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    assert kill_everywhere(tmp_path, every=1) >= 1000


def kill_everywhere(tmp_path: Path, every: int) -> int:
    """How many points were tried."""
    import shutil

    template = tmp_path / "template"
    for step in (5, 10):
        save(template, step)
    old = content(template / "checkpoint-10")
    trial = tmp_path / "trial"
    shutil.copytree(template, trial)
    lines = lines_of(lambda: save(trial, 15))
    new = content(trial / "checkpoint-15")
    found: dict[str, int] = {}
    points = range(0, lines, every)
    for line in points:
        shutil.rmtree(trial)
        shutil.copytree(template, trial)
        if killed_at(line, lambda: save(trial, 15)):
            name = assert_whole_after_kill(trial, 15, line, old, new)
            found[name] = found.get(name, 0) + 1
            save(trial, 20)  # the next one is not in the way of what was left
            assert checkpoints.newest(trial)[0] == trial / "checkpoint-20"
            assert {path.name for path in trial.iterdir()} <= {
                "checkpoint-20",
                "checkpoint-15",
                "checkpoint-10",
            }
    assert set(found) == {"checkpoint-10", "checkpoint-15"}
    return len(points)


@POSIX
def test_a_second_ctrl_c_at_any_of_fifty_points_of_a_save_leaves_the_older_one(tmp_path: Path) -> None:
    import shutil

    template = tmp_path / "template"
    for step in (5, 10):
        save(template, step)
    old, trial = content(template / "checkpoint-10"), tmp_path / "trial"
    shutil.copytree(template, trial)
    lines = lines_of(lambda: save(trial, 15))
    new = content(trial / "checkpoint-15")
    for point in range(50):
        shutil.rmtree(trial)
        shutil.copytree(template, trial)
        line = point * lines // 50
        assert in_a_child(partial(interrupted_at, line, lambda: save(trial, 15))) == 0
        assert_whole_after_kill(trial, 15, point, old, new)


def interrupted_at(line: int, action: Callable[[], object]) -> None:
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")


@pytest.mark.parametrize("room", [0, 1, 5, 1000, 8999, 9000, 15_000, 28_999, 29_900, 29_979, 29_980, 30_200])
def test_on_a_full_disk_the_older_one_stays_and_the_space_is_given_back(
    room: int, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `room` bytes every write fails, in the trainer or in the manifest."""
    old = content(saved / "checkpoint-10")
    left = room

    def spend(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened = Path.open

    class Limited:
        def __init__(self, file: Any):
            self._file = file

        def write(self, data: bytes) -> int:
            spend(len(data))
            return int(self._file.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> Limited:
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode="r", **more: Limited(opened(self, mode, **more)))
        with pytest.raises(OSError, match="No space"):
            save(saved, 15)
    checkpoints.abandon(saved)
    assert checkpoints.newest(saved) == (saved / "checkpoint-10", [])
    assert content(saved / "checkpoint-10") == old
    assert {path.name for path in saved.iterdir()} == {"checkpoint-10", "checkpoint-5"}
    save(saved, 15)
    assert checkpoints.newest(saved)[0] == saved / "checkpoint-15"
