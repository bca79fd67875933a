"""`zoo registry check`: what is damaged, double or left over is named, each with what mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.registry.killed import state
from tests.sound import add_sound, local_base
from zoo.registry.store import Registry

Zoo = Callable[..., Result]
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def sound(registry: Registry, tiny_bert: Path) -> Registry:
    for name in ("one", "two"):
        add_sound(registry, local_base(tiny_bert), name)
    return registry


def findings(zoo: Zoo, *options: str, code: int) -> dict[str, tuple[str, str, str]]:
    """Name -> (status, detail, fix) of all that is not as it should be."""
    done = zoo("registry", "check", "--json", *options)
    assert done.code == code, done.err
    assert done.json["sound"] == (code == 0)
    return {
        one["name"]: (one["status"], one["detail"], one["fix"])
        for one in done.json["results"]
        if one["status"] != "ok"
    }


def test_a_sound_registry_is_a_line_for_its_file_and_one_for_the_files_of_its_adapters(
    zoo: Zoo, sound: Registry
) -> None:
    before = state(sound)
    done = zoo("registry", "check", "--all")
    assert done.code == 0
    assert f"{sound.path}\tok\t2 adapters, schema 1\t\n" in done.out
    assert "files\tok\tof 2 adapters as recorded, by their hashes\t\n" in done.out
    assert state(sound) == before


def test_adapters_with_the_same_files_are_named(zoo: Zoo, sound: Registry) -> None:
    assert findings(zoo, code=0) == {
        "one, two": ("warning", "the same files by their hashes, under several names", "")
    }


def test_a_changed_byte_is_found_with_all_and_a_changed_size_at_once(zoo: Zoo, sound: Registry) -> None:
    path = sound.adapter_folder("one") / WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    name = str(path.parent)
    assert name not in findings(zoo, code=0)
    assert findings(zoo, "--all", code=5)[name][1] == f"{WEIGHTS} changed since it was saved"
    path.write_bytes(whole + b"x")
    assert findings(zoo, code=5)[name][0] == "failed"


def test_records_and_folders_that_differ_are_found(zoo: Zoo, sound: Registry) -> None:
    shutil.rmtree(sound.adapter_folder("one"))
    (sound.adapter_folder("two") / "zoo.json").unlink()
    (sound.folder / "notes").mkdir()
    (sound.folder / "notes" / "mine.txt").write_bytes(b"mine")
    found = findings(zoo, code=5)
    assert "its folder is gone" in found[str(sound.adapter_folder("one"))][1]
    assert found[str(sound.adapter_folder("two"))][2] == "zoo registry restore two"
    assert found[str(sound.folder / "notes")][0] == "warning"


@pytest.mark.parametrize(
    ("damage", "detail", "fix"),
    [
        (b"{", "is damaged", "zoo registry rebuild"),
        (b"[]", "is not a registry", "zoo registry check --registry FOLDER --json"),
        (b'{"adapters": {}, "schema": 7}', "has schema 7", ""),
    ],
)
def test_a_file_that_cannot_be_read_is_one_finding(
    zoo: Zoo, sound: Registry, damage: bytes, detail: str, fix: str
) -> None:
    sound.path.write_bytes(damage)
    found = findings(zoo, code=5)[str(sound.path)]
    assert found[0] == "failed"
    assert detail in found[1]
    assert found[2].startswith(fix.partition(" --registry")[0])


def test_what_dead_processes_left_is_found(zoo: Zoo, sound: Registry) -> None:
    left = sound.work_folder("half")
    left.mkdir(parents=True)
    os.utime(left, (1, 1))
    assert "half made and left" in findings(zoo, code=0)[str(left)][1]


def test_what_is_kept_for_undo_is_no_finding(zoo: Zoo, sound: Registry) -> None:
    assert zoo("rm", "two", "--yes").code == 0
    assert findings(zoo, code=0) == {}
    assert zoo("doctor", "--fast").code == 0
