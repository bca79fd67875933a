"""Adapters whose files, head or plugins are not what their record says: each named, with its fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.sound import HEAD, LORA, add_sound, local_base, save_tensors
from zoo.cli.doctor import examine
from zoo.cli.doctor_checks import environment
from zoo.models.fingerprint import file_ids
from zoo.registry.schema import UNKNOWN, BaseId
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, WARNING, CheckResult

HEADED = {"peft_type": "LORA", "task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are not about the process that asks torch."""
    monkeypatch.setattr(environment, "probe", object)
    monkeypatch.setattr(environment, "answer", lambda process: ({}, []))


@pytest.fixture
def base(tiny_bert: Path) -> BaseId:
    return local_base(tiny_bert)


def the(registry: Registry, *, fast: bool = True) -> CheckResult:
    results = examine(registry, fast=fast).results
    assert len(results) == 1, results
    return results[0]


def test_a_changed_byte_is_found_by_hash_and_a_changed_size_at_once(registry: Registry, base: BaseId) -> None:
    add_sound(registry, base)
    path = registry.adapter_folder("mine") / "adapter_model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x00")
    assert examine(registry, fast=True).results == []
    result = the(registry, fast=False)
    assert (result.status, result.detail) == (FAILED, "adapter_model.safetensors changed since it was saved")
    assert result.fix.startswith("zoo train lora ")
    assert result.fix.endswith(" --name mine-2")
    path.write_bytes(content + b"\x00")
    assert the(registry).detail == "adapter_model.safetensors changed since it was saved"


def test_a_lost_file_and_a_changed_one_are_one_result(registry: Registry, base: BaseId) -> None:
    add_sound(registry, base)
    (registry.adapter_folder("mine") / "adapter_model.safetensors").unlink()
    (registry.adapter_folder("mine") / "adapter_config.json").write_text("{}", encoding="utf-8")
    detail = "adapter_model.safetensors is gone; adapter_config.json changed since it was saved"
    assert the(registry).detail == detail


@pytest.mark.parametrize(
    ("config", "tensors", "failed"),
    [
        (HEADED, LORA, ["its head is missing: adapter_model.safetensors holds no classifier"]),
        (
            {"modules_to_save": ["embed_tokens", "model.lm_head"]},
            LORA,
            ["its head is missing: adapter_model.safetensors holds no embed_tokens and no lm_head"],
        ),
        ({**HEADED, "modules_to_save": None}, (*HEAD, *LORA), []),
    ],
)
def test_a_head_that_the_file_does_not_hold_is_missed(
    registry: Registry, base: BaseId, config: dict[str, Any], tensors: tuple[str, ...], failed: list[str]
) -> None:
    add_sound(registry, base, config=config, tensors=tensors)
    results = examine(registry, fast=True).results
    assert [(one.status, one.detail) for one in results] == [(FAILED, detail) for detail in failed]


def test_a_file_that_is_no_safetensors_is_reported_even_if_its_hash_is_right(
    registry: Registry, base: BaseId
) -> None:
    add_sound(registry, base)
    folder = registry.adapter_folder("mine")
    (folder / "adapter_model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    files = {name: one for name, one in file_ids(folder).items() if name.startswith("adapter")}
    registry.replace(msgspec.structs.replace(registry.get("mine"), files=files))
    assert "is a Git LFS pointer" in the(registry).detail


def test_a_method_of_the_zoos_own_format_may_name_its_head_as_it_likes(
    registry: Registry, base: BaseId
) -> None:
    """So that a classifier without one is a warning."""
    add_sound(registry, base)
    folder = registry.adapter_folder("mine")
    for path in folder.glob("adapter*"):
        path.unlink()
    save_tensors(folder / "adapter.safetensors", ("bert.encoder.layer.0.bias",))
    files = {name: one for name, one in file_ids(folder).items() if name.startswith("adapter")}
    registry.replace(msgspec.structs.replace(registry.get("mine"), files=files))
    assert (the(registry).status, the(registry).detail) == (
        WARNING,
        "adapter.safetensors holds no head, unless by a name of its own",
    )


def test_a_plugin_that_is_not_installed_is_named_once_with_its_package(
    registry: Registry, base: BaseId
) -> None:
    for number in range(5):
        record = add_sound(registry, base, f"mine-{number}")
        spec = msgspec.structs.replace(record.spec, method="dora-plus")
        registry.replace(
            msgspec.structs.replace(record, spec=spec, plugins={"method": "zoo-dora-plus 0.2.1"})
        )
    result = the(registry)
    assert result.detail == "the method 'dora-plus' is not installed"
    assert result.name == "mine-0, mine-1, mine-2 and 2 more"
    assert result.fix == "pip install zoo-dora-plus==0.2.1"


@pytest.mark.parametrize("brought", ["", "evil; rm -rf / 1.0", "--index-url=http://x 1", "git+https://x 1.0"])
def test_what_a_record_calls_a_package_is_typed_only_if_it_is_one(
    registry: Registry, base: BaseId, brought: str
) -> None:
    record = add_sound(registry, base)
    spec = msgspec.structs.replace(record.spec, task="theirs")
    registry.replace(msgspec.structs.replace(record, spec=spec, plugins={"task": brought}))
    assert the(registry).fix == "zoo tasks"


def test_a_method_that_nobody_recorded_is_no_missing_plugin(registry: Registry, base: BaseId) -> None:
    record = add_sound(registry, base)
    spec = msgspec.structs.replace(record.spec, method=UNKNOWN, task=UNKNOWN)
    registry.replace(msgspec.structs.replace(record, spec=spec, origin="path:/x"))
    assert examine(registry, fast=True).results == []


def test_a_config_that_is_no_json_is_no_traceback(registry: Registry, base: BaseId) -> None:
    add_sound(registry, base)
    (registry.adapter_folder("mine") / "adapter_config.json").write_bytes(json.dumps([1]).encode())
    assert "adapter_config.json changed" in the(registry).detail


def test_a_card_that_says_another_number_is_a_warning_with_what_makes_it_again(
    registry: Registry, base: BaseId
) -> None:
    add_sound(registry, base)
    assert examine(registry).results == []
    path = registry.adapter_folder("mine") / "README.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("0.8800", "0.9800"), encoding="utf-8")
    result = the(registry, fast=False)
    assert result.status == WARNING
    assert "0.9800" in result.detail
    assert result.fix.startswith("zoo card mine --write")
    path.unlink()
    assert the(registry, fast=False).detail == "no card that can be read"
    record = registry.get("mine")
    registry.replace(msgspec.structs.replace(record, origin="hub:me/mine@1"))
    assert examine(registry).results == []
