"""Two registries become one by names and hashes of adapters, and so do two sides of a git conflict."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Result
from tests.records import make_folder, make_record
from tests.registry.killed import state
from zoo.registry.schema import AdapterRecord, FileId, HubId
from zoo.registry.store import RECORD_FILE, Registry, dump, read_record

Zoo = Callable[..., Result]
WEIGHTS = "adapter_model.safetensors"


def add(registry: Registry, name: str, weights: bytes = b"weights", **changes: Any) -> AdapterRecord:
    """An adapter with those weights, and their hash on record."""
    files = {WEIGHTS: FileId(bytes=len(weights), sha256=hashlib.sha256(weights).hexdigest())}
    record = make_record(name, files=files, **changes)
    made = make_folder(registry, record)
    (made / WEIGHTS).write_bytes(weights)
    return registry.add(record, made)


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "other" / "registry.json")


def test_what_is_only_there_comes_with_its_files(zoo: Zoo, registry: Registry, other: Registry) -> None:
    add(registry, "mine")
    theirs = add(other, "theirs", b"theirs")
    before, there = state(registry), state(other)
    done = zoo("registry", "merge", other.path.parent, "--json")
    assert (done.code, done.json["added"], done.json["undo"]) == (0, ["theirs"], 1)
    assert registry.get("theirs") == theirs
    folder = registry.adapter_folder("theirs")
    assert (folder / WEIGHTS).read_bytes() == b"theirs"
    assert read_record(folder / RECORD_FILE) == theirs
    assert registry.rebuild()[:2] == (2, [])
    assert state(other) == there
    assert zoo("undo").code == 0
    assert state(registry) == before
    assert not list(registry.work_folder("").glob("merge-*"))


def test_the_same_name_and_files_are_one_and_another_gets_the_next_free_name(
    zoo: Zoo, registry: Registry, other: Registry
) -> None:
    for name in ("same", "x"):
        add(registry, name)
    add(other, "same", created="2026-09-09T00:00:00+00:00")
    add(other, "x", b"theirs")
    add(other, "x-2", b"another")  # whose name is not to be taken
    done = zoo("registry", "merge", other.path)
    assert done.code == 0
    assert "'x-3' added; it is 'x' there, a name that another adapter has\n" in done.err
    assert "'same' is in both\n" in done.err
    assert list(registry.records()) == ["same", "x", "x-2", "x-3"]
    assert registry.get("same").created == make_record().created
    for name, weights in (("x", b"weights"), ("x-2", b"another"), ("x-3", b"theirs")):
        assert (registry.adapter_folder(name) / WEIGHTS).read_bytes() == weights
        assert read_record(registry.adapter_folder(name) / RECORD_FILE) == registry.get(name)
    merged = state(registry)
    done = zoo("registry", "merge", other.path, "--json")
    assert (done.json["added"], done.json["same"], done.json["undo"]) == ([], ["same", "x-3", "x-2"], None)
    assert state(registry) == merged


def test_a_dry_run_says_the_same_and_changes_nothing(zoo: Zoo, registry: Registry, other: Registry) -> None:
    add(registry, "x")
    add(other, "x", b"theirs")
    add(other, "y", b"theirs")
    before = state(registry)
    dry = zoo("registry", "merge", other.path, "--dry-run", "--json").json
    assert state(registry) == before
    wet = zoo("registry", "merge", other.path, "--json").json
    assert {**wet, "undo": None} == dry
    assert dry["renamed"] == {"x": "x-2"}
    assert "'y' is in both" in zoo("registry", "merge", other.path, "--dry-run").err


def test_files_that_are_not_what_is_on_record_are_left_out_by_name(
    zoo: Zoo, registry: Registry, other: Registry
) -> None:
    add(other, "good")
    add(other, "bad")
    (other.adapter_folder("bad") / WEIGHTS).write_bytes(b"WEIGHTS")
    done = zoo("registry", "merge", other.path)
    assert done.code == 0
    told = f"Warning: left out 'bad': its file {WEIGHTS} is not what was saved\n"
    assert told in done.err
    assert told in zoo("registry", "merge", other.path, "--dry-run").err
    assert list(registry.records()) == ["good"]
    assert not registry.adapter_folder("bad").exists()


def test_a_record_without_files_is_taken_and_said(zoo: Zoo, registry: Registry, other: Registry) -> None:
    add(other, "bare")
    shutil.rmtree(other.adapter_folder("bare"))
    done = zoo("registry", "merge", other.path)
    assert "'bare' added; its record alone, there are no files" in done.err
    assert "bare" in registry


def test_a_planted_name_and_a_damaged_record_are_left_out(
    zoo: Zoo, registry: Registry, other: Registry, tmp_path: Path
) -> None:
    add(other, "good")
    found = msgspec.json.decode(other.path.read_bytes())
    found["adapters"]["../../evil"] = found["adapters"]["good"]
    found["adapters"]["odd"] = {**found["adapters"]["good"], "cost": 3}
    other.path.write_bytes(dump(found))
    before = sorted(path.name for path in tmp_path.iterdir())
    done = zoo("registry", "merge", other.path, "--json")
    assert done.json["added"] == ["good"]
    assert len(done.json["left_out"]) == 2
    assert sorted({*before, "registry"}) == sorted(path.name for path in tmp_path.iterdir())


# two sides of a git conflict


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    names = {f"GIT_{who}_{what}": "me@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **names}, capture_output=True, text=True, check=False
    )


def commit(registry: Registry, *more: str) -> None:
    git(registry.path.parent, "add", "registry.json")
    assert git(registry.path.parent, "commit", "-qm", "x", *more).returncode == 0


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_both_sides_of_a_git_merge_are_kept(zoo: Zoo, registry: Registry, style: str) -> None:
    add(registry, "base")
    folder = registry.path.parent
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "merge.conflictStyle", style)
    commit(registry)
    git(folder, "checkout", "-qb", "theirs")
    for name in ("k", "shared"):
        add(registry, name, f"{name} of theirs".encode())
    commit(registry)
    git(folder, "checkout", "-q", "main")
    shutil.rmtree(registry.folder / "k")
    shutil.rmtree(registry.folder / "shared")
    for name in ("l", "shared"):
        add(registry, name, f"{name} of ours".encode())
    commit(registry)
    assert git(folder, "merge", "theirs").returncode != 0
    conflict = registry.path.read_bytes()
    assert zoo("list").err.endswith("Next: zoo registry merge\n")
    dry = zoo("registry", "merge", "--dry-run", "--json").json
    assert registry.path.read_bytes() == conflict
    done = zoo("registry", "merge", "--json")
    assert done.code == 0, done.err
    assert {**done.json, "undo": None} == dry
    assert list(registry.records()) == ["base", "k", "l", "shared", "shared-2"]
    assert done.json["renamed"] == {"shared": "shared-2"}
    assert sorted(done.json["without_files"]) == ["k", "shared-2"]
    assert read_record(registry.adapter_folder("shared") / RECORD_FILE) == registry.get("shared")
    assert zoo("undo").code == 0
    assert registry.path.read_bytes() == conflict


def in_conflict(registry: Registry, ours: list[AdapterRecord], theirs: list[AdapterRecord]) -> None:
    texts = [dump({"schema": 1, "adapters": {one.name: one for one in side}}) for side in (ours, theirs)]
    registry.path.parent.mkdir(parents=True, exist_ok=True)
    registry.path.write_bytes(b"<<<<<<< HEAD\r\n%b=======\r\n%b>>>>>>> branch\r\n" % tuple(texts))


def test_a_name_stays_with_the_record_whose_files_are_here(zoo: Zoo, registry: Registry) -> None:
    theirs = add(registry, "x", b"theirs")
    ours = make_record("x")
    in_conflict(registry, [ours], [theirs])
    assert zoo("registry", "merge").code == 0
    assert registry.get("x") == theirs
    assert registry.get("x-2") == msgspec.structs.replace(ours, name="x-2")


def test_an_adapter_that_was_published_on_one_side_is_one(zoo: Zoo, registry: Registry) -> None:
    ours = add(registry, "x")
    published = msgspec.structs.replace(ours, hub=HubId(repo="me/x", revision="ab", url="u"))
    in_conflict(registry, [ours], [published])
    done = zoo("registry", "merge", "--json")
    assert (done.json["same"], done.json["added"]) == (["x"], [])
    assert registry.records() == {"x": published}
    assert read_record(registry.adapter_folder("x") / RECORD_FILE) == published
    assert zoo("undo").code == 0
    assert read_record(registry.adapter_folder("x") / RECORD_FILE) == ours


def test_a_side_that_is_no_registry_is_left_to_the_folders(zoo: Zoo, registry: Registry) -> None:
    add(registry, "x")
    whole = registry.path.read_bytes()
    registry.path.write_bytes(b"<<<<<<< HEAD\n{\n=======\n" + whole + b">>>>>>> branch\n")
    done = zoo("registry", "merge")
    assert (done.code, "holds git conflict markers" in done.error) == (1, True)
    assert "Next: zoo registry rebuild\n" in done.err
    assert zoo("registry", "rebuild").code == 0
    assert registry.path.read_bytes() == whole


def test_a_newer_side_is_refused(zoo: Zoo, registry: Registry) -> None:
    ours = add(registry, "x")
    in_conflict(registry, [ours], [])
    registry.path.write_bytes(
        registry.path.read_bytes().replace(b'"schema": 1\n}\n>>', b'"schema": 2\n}\n>>')
    )
    before = registry.path.read_bytes()
    for command in ("merge", "rebuild", "migrate"):
        done = zoo("registry", command)
        assert (done.code, "has schema 2" in done.error) == (1, True), done.err
        assert registry.path.read_bytes() == before
