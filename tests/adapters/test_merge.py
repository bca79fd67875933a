"""A merged model answers as the adapter does, loads without the zoo, and is not kept if it does not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import Result
from tests.records import change_weights
from zoo.adapters import probe
from zoo.plugins import manager
from zoo.registry.store import Registry

Zoo = Callable[..., Result]
TEXTS = ("a moving and honest film", "I hated every minute")


@pytest.fixture
def merge(zoo: Zoo, trained_bert: Registry, tmp_path: Path) -> Zoo:
    def run(name: str, *more: object) -> Result:
        return zoo("merge", name, "-o", tmp_path / "merged", "--registry", trained_bert.path, *more)

    return run


@pytest.mark.parametrize("name", ["lora", "head", "full"])
def test_plain_transformers_reads_the_merged_folder_and_says_the_same(
    merge: Zoo, zoo: Zoo, trained_bert: Registry, tmp_path: Path, name: str
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = merge(name, "--json")
    assert result.code == 0, result.err
    assert result.json["largest_difference"] < 1e-5 < result.json["largest_output"]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    assert type(model).__name__ == "BertForSequenceClassification"
    batch = AutoTokenizer.from_pretrained(tmp_path / "merged")(list(TEXTS), padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = model(**batch).logits.softmax(-1)
    said = zoo("predict", name, *TEXTS, "--registry", trained_bert.path, "--json").json
    for row, one in zip(found, said, strict=True):
        assert list(one["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
    assert list(one["probabilities"]) == [model.config.id2label[index] for index in range(2)]


def test_the_zoo_predicts_and_evaluates_with_the_merged_folder(
    merge: Zoo, zoo: Zoo, trained_bert: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert merge("lora").code == 0
    said = zoo("predict", "lora", *TEXTS, "--registry", trained_bert.path, "--json").json
    again = zoo("predict", tmp_path / "merged", *TEXTS, "--json")
    assert again.code == 0, again.err
    for one, two in zip(said, again.json, strict=True):
        assert one["probability"] == pytest.approx(two["probability"], abs=1e-5)
    assert zoo("evaluate", tmp_path / "merged").code == 0
    monkeypatch.chdir(tmp_path)
    by_name, by_path = (zoo("predict", path, *TEXTS).out for path in ("merged", "./merged"))
    assert by_name == by_path != ""


def test_a_merge_in_bfloat16_is_half_as_large_and_still_proved(merge: Zoo, tmp_path: Path) -> None:
    result = merge("lora", "--dtype", "bfloat16", "--json")
    assert result.code == 0, result.err
    assert 0 < result.json["largest_difference"] < 0.05 * result.json["largest_output"]
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_merge_that_says_something_else_is_refused_and_not_kept(
    merge: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = type(manager.load_method("lora"))
    rightly = method.merge

    def wrongly(self: object, model: nn.Module) -> nn.Module:
        merged = rightly(self, model)  # type: ignore[arg-type]
        merged.classifier.weight.data += 0.01
        return merged

    monkeypatch.setattr(method, "merge", wrongly)
    result = merge("lora")
    assert result.code == 5
    assert "differs from the adapter by" in result.error
    assert list(tmp_path.glob("*merged*")) == []


def test_a_method_that_does_not_merge_says_why(merge: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(manager.load_method("lora")), "unmergeable", "its heart is not in it")
    result = merge("lora")
    assert result.code == 5
    assert "lora does not merge: its heart is not in it" in result.error


def test_a_folder_that_holds_something_is_left_alone(merge: Zoo, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "thesis.txt").write_text("years of work")
    result = merge("lora")
    assert result.code == 2
    assert "holds something already" in result.error
    assert (tmp_path / "merged" / "thesis.txt").read_text() == "years of work"


def test_two_merges_into_one_folder_leave_the_first_one_whole(
    merge: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one, by another method, ends before this one writes."""
    method = type(manager.load_method("lora"))
    rightly = method.merge

    def late(self: object, model: nn.Module) -> nn.Module:
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            assert merge("head").code == 0
        return rightly(self, model)  # type: ignore[arg-type]

    monkeypatch.setattr(method, "merge", late)
    result = merge("lora")
    assert result.code == 2
    assert "holds something already" in result.error
    assert (
        json.loads((tmp_path / "merged" / "zoo.json").read_text(encoding="utf-8"))["spec"]["method"] == "head"
    )
    assert [path.name for path in tmp_path.glob("*merged*")] == ["merged"]


def test_an_unknown_dtype_is_refused(merge: Zoo) -> None:
    result = merge("lora", "--dtype", "int3")
    assert result.code == 2
    assert "float32, float16, bfloat16" in result.error


def test_a_merged_folder_brings_a_probe_of_its_own_and_verifies(merge: Zoo, zoo: Zoo, tmp_path: Path) -> None:
    assert merge("lora", "--dtype", "bfloat16").code == 0
    result = zoo("verify", tmp_path / "merged", "--json")
    assert result.code == 0, result.err
    assert {"effect", "adapter", "head"} <= {one["name"] for one in result.json[0]["results"]}


def test_a_merged_folder_names_the_base_that_it_was_merged_into(
    merge: Zoo, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_models["bert"], tmp_path / "other")
    change_weights(other / "model.safetensors", lambda found: found["embeddings.LayerNorm.bias"].add_(0.1))
    refused = merge("head", "--base", other)
    assert refused.code == 5
    assert "embeddings.LayerNorm.bias" in refused.error
    assert merge("head", "--base", other, "--allow-other-base").code == 0
    record = json.loads((tmp_path / "merged" / "zoo.json").read_text(encoding="utf-8"))
    assert record["base"]["id"] == "local:other"
    assert "used on another base than its own: local:other" in record["flags"][-1]


def test_what_stands_in_padding_decides_nothing(merge: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a model says what it likes: rounding alone made a merged chat model seem another one."""
    seen = []
    outputs = probe.outputs

    def spy(model: nn.Module, batch: Any) -> Any:
        seen.append(bool(batch["attention_mask"].all()))
        return outputs(model, batch)

    monkeypatch.setattr(probe, "outputs", spy)
    assert merge("lora").code == 0
    assert len(seen) >= 6
    assert all(seen)
