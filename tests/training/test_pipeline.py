"""One run from its words to its place in the registry, on every method and encoder family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAMILIES, Result, reviews, tiny_spec, write_csv
from zoo.adapters import load
from zoo.registry.store import Registry
from zoo.training import pipeline

METHODS = ("bottleneck", "full", "head", "lora")
"""One of each way to save; the grid has them all."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_trained_adapter_loads_back_to_the_same_logits(
    method: str,
    family: str,
    tiny_models: dict[str, Path],
    reviews_csv: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On every family: a head or pooler lost on the way would show as other logits."""
    trained: dict[str, Any] = {}
    evaluate = pipeline._save

    def keep(run, base, folder):  # type: ignore[no-untyped-def]
        from zoo.adapters.forward import forward

        trained["logits"] = forward(run.model, run.held_out, run.task, run.processor, budget=512)
        trained["rows"] = run.held_out
        return evaluate(run, base, folder)

    monkeypatch.setattr(pipeline, "_save", keep)
    record = pipeline.train(tiny_spec(method, tiny_models[family], reviews_csv), registry)
    loaded = load.load(record.name, registry)
    from zoo.runtime.console import Report

    again = loaded.outputs(trained["rows"], "fp32", Report(), "")
    assert again == pytest.approx(trained["logits"], abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_changes_no_weight_of_the_base(
    family: str, tiny_models: dict[str, Path], reviews_csv: Path, registry: Registry
) -> None:
    from safetensors import safe_open

    record = pipeline.train(tiny_spec("lora", tiny_models[family], reviews_csv), registry)
    with safe_open(registry.adapter_folder(record.name) / "adapter_model.safetensors", "pt") as saved:
        names = list(saved.keys())
    assert names
    assert all("lora_" in name or "classifier" in name or "pooler" in name for name in names)


def test_training_learns_what_separates_the_labels(
    tiny_bert: Path, tmp_path: Path, registry: Registry
) -> None:
    data = write_csv(tmp_path / "many.csv", reviews(400))
    record = pipeline.train(tiny_spec("full", tiny_bert, data, epochs=6.0, learning_rate=3e-3), registry)
    accuracy = record.metric("accuracy")
    assert accuracy is not None
    assert accuracy.low > 0.7
    assert record.flags == []


def test_a_result_that_does_not_beat_the_majority_is_flagged_in_words(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    record = pipeline.train(tiny_spec("head", tiny_bert, reviews_csv, learning_rate=1e-9), registry)
    assert any("always answering" in flag for flag in record.flags)
    card = (registry.adapter_folder(record.name) / "README.md").read_text(encoding="utf-8")
    assert "Warning" in card


def test_the_record_in_the_folder_is_the_record_in_the_registry(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    done = zoo(
        "train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 1, "--json"
    )
    assert done.code == 0, done.err
    folder = tmp_path / "registry" / "adapters" / "lora-bert-imdb"
    kept = json.loads((folder / "zoo.json").read_text(encoding="utf-8"))
    assert done.json == kept
    assert zoo("show", "lora-bert-imdb", "--json").json == zoo("list", "--json").json == [kept]


def test_running_the_recorded_command_gives_the_same_weights(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    import shlex

    words = ("train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 1)
    first = zoo(*words, "-s", "r=4", "--json").json
    second = zoo(*shlex.split(first["command"])[1:], "--json").json
    assert second["name"] == "lora-bert-imdb-2"
    file = "adapter_model.safetensors"
    assert second["files"][file] == first["files"][file]
    assert second["spec"]["params"]["r"] == 4


def test_a_full_fine_tune_is_a_model_by_itself(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    from transformers import AutoModelForSequenceClassification

    record = pipeline.train(tiny_spec("full", tiny_bert, reviews_csv), registry)
    model = AutoModelForSequenceClassification.from_pretrained(registry.adapter_folder(record.name))
    assert model.config.id2label == {0: "negative", 1: "positive"}
