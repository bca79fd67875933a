"""A writer waits for the one before it, says for whom, and gives up late."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Result
from tests.records import add_record
from zoo.errors import LockedError
from zoo.registry import lock
from zoo.registry.store import Registry

HOLD = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from zoo.registry.store import Registry
with Registry(Path({path!r}))._writing():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(registry: Registry) -> Iterator[subprocess.Popen[str]]:
    """Another process in the midst of a write; a line lets it go on."""
    add_record(registry, "one")
    source = HOLD.format(root=str(ROOT), path=str(registry.path))
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_seconds_are_those_that_are_promised() -> None:
    assert (lock.SAY_AFTER, lock.GIVE_UP_AFTER) == (10, 600)


def test_who_waits_says_so_once_on_stderr_and_goes_on(
    zoo: Callable[..., Result],
    registry: Registry,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "SAY_AFTER", 0.3)
    real = lock._holder

    def let_go(path: Path) -> str:
        told = real(path)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        return told

    monkeypatch.setattr(lock, "_holder", let_go)
    done = zoo("rm", "one", "--yes")
    assert (done.code, done.out) == (0, "")
    waiting, removed = done.err.splitlines()
    by = f"process {holder.pid} on {socket.gethostname()}"
    assert waiting == f"waiting for {registry.path}.lock: held for 0 s by {by}"
    assert removed.startswith("removed 'one'")


def test_who_gives_up_names_the_holder_and_the_same_command_again(
    zoo: Callable[..., Result],
    registry: Registry,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "GIVE_UP_AFTER", 0.3)
    done = zoo("rm", "one", "--yes")
    by = f"process {holder.pid} on {socket.gethostname()}"
    assert (done.code, done.error) == (1, f"Error: {by} has held {registry.path}.lock for 0.3 s.")
    assert "Next: zoo rm one --yes\n" in done.err
    assert "one" in registry


def test_the_lock_of_a_killed_holder_is_free_and_its_file_stays(
    registry: Registry, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    start = time.monotonic()
    registry.check_writable()
    assert time.monotonic() - start < 5
    path = Path(f"{registry.path}.lock")
    assert path.read_bytes() == b""


def test_readers_do_not_wait(
    zoo: Callable[..., Result], registry: Registry, holder: subprocess.Popen[str]
) -> None:
    for words in ("list", "show one", "undo --list", "registry check", "registry merge --dry-run"):
        start = time.monotonic()
        zoo(*words.split())
        assert time.monotonic() - start < 5, words


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_all_who_share_a_registry_through_links_share_its_lock(
    registry: Registry, holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    link = tmp_path / "project" / "registry.json"
    link.symlink_to(registry.path)
    monkeypatch.setattr(lock, "GIVE_UP_AFTER", 0.2)
    with pytest.raises(LockedError):
        Registry(link).check_writable()
    assert [path.name for path in link.parent.iterdir()] == ["registry.json"]


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_a_link_stays_a_link_and_its_target_is_written(
    zoo: Callable[..., Result], registry: Registry, tmp_path: Path
) -> None:
    add_record(registry, "one")
    (tmp_path / "project").mkdir()
    link = tmp_path / "project" / "registry.json"
    link.symlink_to("../registry/registry.json")
    before = registry.path.read_bytes()
    for words in ("rm one --yes", "undo", "registry rebuild", "registry check", "registry migrate"):
        done = zoo(*words.split(), "--registry", link)
        assert done.code in (0, 5), done.err
        assert link.is_symlink()
    assert registry.path.read_bytes() == before
    add_record(Registry(link), "two")
    assert list(registry.records()) == ["one", "two"]
    assert registry.adapter_folder("two").is_dir()
    assert [path.name for path in link.parent.iterdir()] == ["registry.json"]


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_adapters_beside_a_link_stay_there(registry: Registry, tmp_path: Path) -> None:
    """As where registry.json alone is kept in another repository."""
    add_record(registry, "one")
    notes = tmp_path / "notes"
    notes.mkdir()
    registry.path.rename(notes / "registry.json")
    registry.path.symlink_to(notes / "registry.json")
    linked = Registry(registry.path)
    add_record(linked, "two")
    assert linked.adapter_folder("two") == registry.adapter_folder("two")
    assert linked.adapter_folder("two").is_dir()
    assert linked.rebuild()[:2] == (2, [])
    assert sorted(path.name for path in notes.iterdir()) == ["registry.json", "registry.json.lock"]
