"""`zoo verify` tells a changed file, another base, a lost adapter, a lost head and a random one apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.conftest import Result
from tests.records import change_weights, copy_registry
from zoo.adapters import probe
from zoo.adapters.verify import verify
from zoo.models.fingerprint import file_ids
from zoo.registry.store import Registry
from zoo.runtime.checks import CheckResult, failures

Zoo = Callable[..., Result]
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def mine(trained_bert: Registry, tmp_path: Path) -> Registry:
    return copy_registry(trained_bert, tmp_path / "copy")


def reseal(registry: Registry, name: str) -> None:
    """Have the record say that the files are as they should be: the damage is in what was published."""
    files = {key: one for key, one in file_ids(registry.adapter_folder(name)).items() if key != "zoo.json"}
    files.pop("README.md")
    registry.replace(msgspec.structs.replace(registry.get(name), files=files))


def rewrite(registry: Registry, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    change_weights(registry.adapter_folder(name) / WEIGHTS, change)
    reseal(registry, name)


def failed(found: list[CheckResult]) -> dict[str, str]:
    return {one.name: one.detail for one in failures(found)}


@pytest.mark.parametrize("name", ["lora", "head", "full"])
def test_an_adapter_as_it_was_trained_passes_every_check(name: str, trained_bert: Registry) -> None:
    found = verify(name, trained_bert)
    assert failed(found) == {}
    assert "probe" in {one.name for one in found}


def test_one_changed_byte_in_the_weights_is_named_by_its_file(mine: Registry, zoo: Zoo) -> None:
    path = mine.adapter_folder("lora") / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = zoo("verify", "lora", "--registry", mine.path)
    assert result.code == 5
    assert f"{WEIGHTS} is not what was saved" in result.out
    assert result.error == "Error: 'lora' is not what its record says: files."


def test_a_lost_file_fails_the_check_of_files(mine: Registry) -> None:
    (mine.adapter_folder("lora") / "tokenizer.json").unlink()
    assert "has lost its file" in failed(verify("lora", mine))["files"]


def test_a_lost_head_is_refused_and_not_drawn_anew(mine: Registry) -> None:
    def lose(weights: dict[str, Any]) -> None:
        for name in [name for name in weights if "classifier" in name]:
            del weights[name]

    rewrite(mine, "lora", lose)
    assert "'lora' has lost its head" in failed(verify("lora", mine))["load"]


def test_lost_tensors_of_the_adapter_are_refused_where_peft_only_warns(mine: Registry) -> None:
    rewrite(mine, "lora", lambda weights: weights.pop(next(one for one in weights if "lora_B" in one)))
    assert "lacks 1 tensors, base_model.model" in failed(verify("lora", mine))["load"]


def test_a_random_head_is_told_from_a_lost_adapter(mine: Registry) -> None:
    def draw(weights: dict[str, Any]) -> None:
        name = next(one for one in weights if one.endswith("classifier.weight"))
        weights[name] = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))

    rewrite(mine, "lora", draw)
    found = failed(verify("lora", mine))
    assert list(found) == ["head"]
    assert "the head is not the one that was trained: logits differs by" in found["head"]


def test_an_adapter_that_does_nothing_is_found_out_with_and_without_a_probe(mine: Registry) -> None:
    def undo(weights: dict[str, Any]) -> None:
        for name in weights:
            if "lora_B" in name:
                weights[name].zero_()

    rewrite(mine, "lora", undo)
    found = failed(verify("lora", mine))
    assert "it changes nothing" in found["effect"]
    assert "the adapter is not the one that was saved: backbone differs by" in found["adapter"]
    (mine.adapter_folder("lora") / probe.FILE).unlink()
    reseal(mine, "lora")
    assert list(failed(verify("lora", mine))) == ["effect"]


def test_a_wrong_base_is_named_with_the_tensor_that_was_altered(
    trained_bert: Registry, mine: Registry, tmp_path: Path
) -> None:
    def alter(weights: dict[str, Any]) -> None:
        weights["encoder.layer.1.attention.self.query.weight"][3, 4] += 1e-3

    base = shutil.copytree(trained_bert.path.parent / "base", tmp_path / "other")
    change_weights(base / "model.safetensors", alter)
    detail = failed(verify("lora", mine, base=str(base)))["base"]
    assert "'lora' was trained on local:base; path:" in detail
    assert "tensors differs, encoder.layer.1.attention.self.query.weight." in detail


def test_the_right_weights_under_a_wrong_config_are_found_out_by_the_probe(
    trained_bert: Registry, tmp_path: Path
) -> None:
    base = shutil.copytree(trained_bert.path.parent / "base", tmp_path / "other")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}), encoding="utf-8")
    assert (
        "does not answer as its base did: backbone differs"
        in failed(verify("lora", trained_bert, base=str(base)))["base"]
    )


def test_another_tokenizer_is_found_out_by_the_probe(mine: Registry) -> None:
    path = mine.adapter_folder("lora") / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    words = list(vocabulary)
    ids = [vocabulary[word] for word in words]
    tokenizer["model"]["vocab"] = dict(zip(words, [*ids[:5], *reversed(ids[5:])], strict=True))
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    reseal(mine, "lora")
    assert "makes other inputs of the probe: input_ids" in failed(verify("lora", mine))["probe"]


def test_an_adapter_without_a_probe_is_checked_as_far_as_that_goes(mine: Registry) -> None:
    (mine.adapter_folder("lora") / probe.FILE).unlink()
    reseal(mine, "lora")
    found = verify("lora", mine)
    assert failed(found) == {}
    assert [one.name for one in found if one.status == "skipped"] == ["probe"]


def test_a_file_that_is_no_probe_fails_the_check_of_the_probe(mine: Registry) -> None:
    (mine.adapter_folder("lora") / probe.FILE).write_bytes(b"probe")
    reseal(mine, "lora")
    assert "is not a safetensors file" in failed(verify("lora", mine))["probe"]


def test_metrics_are_measured_again_and_must_fall_within_their_intervals(mine: Registry) -> None:
    found = verify("lora", mine, metrics=True)
    assert failed(found) == {}
    assert {"accuracy", "f1", "mcc"} <= {one.name for one in found}
    record = mine.get("lora")
    better = [msgspec.structs.replace(one, value=2.0, low=1.9, high=2.1) for one in record.metrics]
    mine.replace(msgspec.structs.replace(record, metrics=better))
    assert "1.9000 to 2.1000" in failed(verify("lora", mine, metrics=True))["accuracy"]


def test_several_are_verified_and_the_json_has_every_result(trained_bert: Registry, zoo: Zoo) -> None:
    result = zoo("verify", "lora", "head", "--registry", trained_bert.path, "--json")
    assert result.code == 0, result.err
    assert [one["name"] for one in result.json] == ["lora", "head"]
    assert {one["status"] for found in result.json for one in found["results"]} == {"ok"}
    assert set(result.json[0]["results"][0]) == {"name", "status", "detail", "fix"}


def test_a_base_that_is_not_here_ends_with_3_and_no_result(mine: Registry, zoo: Zoo, tmp_path: Path) -> None:
    record = mine.get("lora")
    gone = msgspec.structs.replace(record.base, location=f"path:{tmp_path / 'gone'}")
    mine.replace(msgspec.structs.replace(record, base=gone))
    result = zoo("verify", "lora", "--registry", mine.path)
    assert result.code == 3
    assert "the base of 'lora', local:base, is not here" in result.error
