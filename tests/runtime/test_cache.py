"""The cache folder: where it lies, written whole or not at all, and never larger than it may be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import run_process
from zoo.runtime import cache as module


def test_the_folder_is_that_of_zoo_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "mine"))
    assert module.folder("things") == tmp_path / "mine" / "things"
    assert not (tmp_path / "mine").exists()


def test_zoo_cache_may_be_relative_or_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_CACHE", "here")
    assert module.folder("x") == tmp_path / "here" / "x"
    monkeypatch.setenv("ZOO_CACHE", "~/there")
    assert module.folder("x") == tmp_path / "home" / "there" / "x"


def test_without_zoo_cache_it_is_the_systems_folder_for_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = module.folder("x")
    assert found is not None
    assert found.is_relative_to(tmp_path)
    assert found.parts[-2:] == ("adapter-zoo", "x")


def test_the_tests_never_use_the_cache_of_who_runs_them(cache: Path) -> None:
    """Neither in this process nor in one that a test starts."""
    assert module.folder("x") == cache / "x"
    assert os.environ["ZOO_CACHE"] == str(cache)
    assert run_process("--version").code == 0


def test_what_is_written_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for text in ("first", "second"):
        module.write(path, lambda beside, text=text: beside.write_text(text))  # type: ignore[misc]
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("no room"), ValueError("what a library makes of no room")])
def test_a_write_that_fails_leaves_what_was_there_and_fails_nothing(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def half(beside: Path) -> None:
        beside.write_text("hal")
        raise error

    module.write(path, half)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_is_stopped_leaves_nothing_half_written(tmp_path: Path) -> None:
    def stopped(beside: Path) -> None:
        beside.write_text("hal")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.write(tmp_path / "file", stopped)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    module.write(tmp_path / "file" / "folder" / "x", lambda beside: beside.write_text("x"))
    module.prune(tmp_path / "file" / "folder", 0)
    module.prune(tmp_path / "file", 0)
    assert (tmp_path / "file").is_file()


def test_pruning_removes_the_longest_unused_and_no_more_than_it_must(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "newer", "older", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    def left() -> set[str]:
        return {path.name for path in tmp_path.iterdir()}

    module.prune(tmp_path, 40)
    assert left() == {"newest", "newer", "older", "oldest"}
    module.prune(tmp_path, 39)
    assert left() == {"newest", "newer", "older"}
    os.utime(tmp_path / "older", (2000, 2000))  # it was used
    module.prune(tmp_path, 20)
    assert left() == {"newest", "older"}
    module.prune(tmp_path, 0)
    assert left() == set()
    module.prune(tmp_path / "never made", 0)
