"""`zoo reproduce`: what it prints, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.conftest import Result
from tests.records import copy_registry
from zoo.registry.store import Registry

Zoo = Callable[..., Result]


def test_the_same_weights_end_with_0_and_say_so(zoo: Zoo, trained_bert: Registry) -> None:
    done = zoo("reproduce", "head", "--registry", trained_bert.path)
    assert done.code == 0, done.err
    facts = dict(line.split("\t") for line in done.out.splitlines())
    assert facts["result"] == "bit-identical"
    assert facts["adapter.safetensors"] == "the recorded sha256"
    assert facts["accuracy"].endswith(f"n {trained_bert.get('head').metrics[0].n}")
    assert facts["claimed"].startswith("bit-identical on ")
    assert "registered" not in done.err
    shown = zoo("show", "head", "--registry", trained_bert.path).out
    assert f"determinism\t{facts['claimed']}\n" in shown
    card = (trained_bert.adapter_folder("head") / "README.md").read_text(encoding="utf-8")
    assert facts["claimed"] in card


def test_other_weights_end_with_5_and_name_the_versions_that_changed(
    zoo: Zoo, trained_bert: Registry, tmp_path: Path
) -> None:
    registry = copy_registry(trained_bert, tmp_path / "copy")
    record = registry.get("lora")
    versions = {**record.versions, "torch": "2.0.1", "transformers": "4.0.0"}
    spec = msgspec.structs.replace(record.spec, seed=7)
    registry.replace(msgspec.structs.replace(record, spec=spec, versions=versions))
    done = zoo("reproduce", "lora", "--registry", registry.path)
    assert done.code == 5
    assert "'lora' is not reproduced bit for bit: largest difference of a weight " in done.error
    for name in ("torch", "transformers"):
        told = f"{name} was {versions[name]}, and is {record.versions[name]}"
        assert told in done.error
        assert f"differs\t{told}\n" in done.out
        assert f"Warning: {told}.\n" in done.err
    assert f"of {len(record.metrics)} metrics within their intervals" in done.error
    assert "result\tnot bit-identical\n" in done.out


def test_a_reproduction_in_json_has_the_distance(zoo: Zoo, trained_bert: Registry, tmp_path: Path) -> None:
    registry = copy_registry(trained_bert, tmp_path / "copy")
    record = registry.get("head")
    spec = msgspec.structs.replace(record.spec, seed=7)
    registry.replace(msgspec.structs.replace(record, spec=spec))
    done = zoo("reproduce", "head", "--registry", registry.path, "--json")
    assert done.code == 5
    assert done.json["identical"] is False
    assert 0 < done.json["largest_difference"] < 2 * done.json["largest_weight"]
    assert done.json["differences"] == []
    assert "nothing else on record differs" in done.error


def test_an_adapter_that_is_not_there_ends_with_3(zoo: Zoo, trained_bert: Registry) -> None:
    done = zoo("reproduce", "hed", "--registry", trained_bert.path)
    assert (done.code, done.out) == (3, "")
    assert "Next: zoo reproduce head --registry" in done.err
