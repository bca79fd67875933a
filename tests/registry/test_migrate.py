"""Records of older versions are written as this one does it, or nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.records import add_record, make_record
from tests.registry.killed import state
from zoo.registry.store import Registry, dump

Zoo = Callable[..., Result]


@pytest.fixture
def old(registry: Registry) -> Registry:
    """As 0.1.0 wrote it, without fields that came later; registry.json went through another program."""
    for name in ("two", "one"):
        add_record(registry, name)
    found = json.loads(registry.path.read_bytes())
    for name, record in found["adapters"].items():
        del record["base"]["tensors_sha256"]
        del record["origin"]
        path = registry.adapter_folder(name) / "zoo.json"
        path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    turned = dict(reversed(found["adapters"].items()))
    registry.path.write_text(json.dumps({"schema": 1, "adapters": turned}), encoding="utf-8")
    return registry


def test_every_record_is_written_as_this_version_does_and_undo_brings_all_back(
    zoo: Zoo, old: Registry
) -> None:
    before, records = state(old), old.records()
    assert "laid out" in zoo("registry", "check").out
    done = zoo("registry", "migrate", "--json")
    assert (done.code, len(done.json["files"]), done.json["undo"]) == (0, 3, 1)
    assert old.records() == records
    assert old.path.read_bytes() == dump({"schema": 1, "adapters": records})
    for name, record in records.items():
        assert (old.adapter_folder(name) / "zoo.json").read_bytes() == dump(record)
    migrated = state(old)
    again = zoo("registry", "migrate")
    assert "is as this version writes it; nothing was changed" in again.err
    assert state(old) == migrated
    assert "laid out" not in zoo("registry", "check").out
    assert zoo("undo").code == 0
    assert state(old) == before


def test_a_damaged_record_stops_it_before_anything_is_written(zoo: Zoo, old: Registry) -> None:
    old.path.write_bytes(old.path.read_bytes().replace(b'"labels": [', b'"labels": [7, ', 1))
    before = state(old)
    done = zoo("registry", "migrate")
    assert (done.code, "is damaged" in done.error) == (1, True)
    assert state(old) == before


def test_a_zoo_json_that_cannot_be_read_is_named_and_left_alone(zoo: Zoo, old: Registry) -> None:
    path = old.adapter_folder("one") / "zoo.json"
    path.write_bytes(b"{")
    done = zoo("registry", "migrate", "--json")
    assert (done.code, len(done.json["files"])) == (0, 2)
    assert str(path) in done.json["left_out"][0]
    assert path.read_bytes() == b"{"
    assert zoo("registry", "restore", "one").code == 0
    assert json.loads(path.read_bytes())["name"] == "one"
    assert zoo("undo").code == 0
    assert path.read_bytes() == b"{"


def test_where_there_is_no_registry_none_is_made(zoo: Zoo, tmp_path: Path) -> None:
    assert zoo("registry", "migrate").code == 0
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize("levels", [60, 70, 930, 950, 970, 990, 5000, 100_000])
def test_deep_nesting_is_damage_and_never_a_traceback(zoo: Zoo, registry: Registry, levels: int) -> None:
    add_record(registry, "one")
    add_record(registry, "two")
    deep = b"[" * levels + b"]" * levels
    path = registry.adapter_folder("one") / "zoo.json"
    path.write_bytes(dump(make_record("one")).replace(b'"r": 8', b'"r": ' + deep))
    done = zoo("registry", "rebuild", "--json")
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    if levels > 64:
        assert "nested too deep" in done.json["left_out"][0]
    else:
        assert zoo("undo").code in (0, 3)
    registry.path.write_bytes(registry.path.read_bytes().replace(b'"r": 8', b'"r": ' + deep, 1))
    for words in (
        "list",
        "show two",
        "registry check",
        "registry migrate",
        "rm two --yes",
        "undo",
        "doctor --fast",
        "registry rebuild",
        "undo",
    ):
        done = zoo(*words.split())
        assert "Traceback" not in done.err, words
        assert "unexpected" not in done.err, words
