"""SST-2 with DistilBERT: full fine-tuning and LoRA under the same settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import reviews
from tests.records import training
from zoo import AdapterRecord, AdapterSpec
from zoo.data.dataset import Dataset, open_dataset
from zoo.plugins import manager, source
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.training import pipeline


def write_phrases(folder: Path, header: str = "") -> Path:
    """`train.tsv` and `dev.tsv` in the forms in which SST-2 is found: with GLUE's header, or without one."""
    folder.mkdir()
    for name, rows in (("train", reviews(60)), ("dev", reviews(100)[60:])):
        lines = [f'{text} , " says one of us\t{label}' for text, label in rows]
        (folder / f"{name}.tsv").write_text("\n".join([header, *lines] if header else lines) + "\n")
    return folder


def opened(data: Path) -> Dataset:
    spec = AdapterSpec(method="lora", task="distilbert-sst2")
    found = source.resolve(str(data), (), "data", Report())
    return open_dataset(manager.load_task("distilbert-sst2"), found, spec, Report())


@pytest.fixture(scope="module")
def registry_of_both(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """`full` and `lora`, trained on the same phrases."""
    folder = tmp_path_factory.mktemp("sst2")
    data = write_phrases(folder / "data")
    registry = Registry(folder / "registry.json")
    for method in ("full", "lora"):
        spec = AdapterSpec(
            method=method,
            task="distilbert-sst2",
            base=str(tiny_models["distilbert"]),
            data=str(data),
            precision="fp32",
        )
        pipeline.train(spec, registry)
    return registry


@pytest.fixture
def both(registry_of_both: Registry) -> tuple[AdapterRecord, AdapterRecord]:
    return registry_of_both.get("full-distilbert-sst2"), registry_of_both.get("lora-distilbert-sst2")


@pytest.mark.parametrize("header", ["", "sentence\tlabel"])
def test_the_files_are_read_whole_with_glues_header_or_without_one(header: str, tmp_path: Path) -> None:
    found = opened(write_phrases(tmp_path / "sst2", header))
    assert (len(found.train), len(found.held_out)) == (60, 40)
    assert found.labels == ["negative", "positive"]
    assert {row["text"] for row in found.train} == {f'{text} , " says one of us' for text, _ in reviews(60)}
    assert found.id.split == "the data's own dev split"


def test_full_and_lora_train_under_the_same_settings_but_for_their_learning_rates(
    both: tuple[AdapterRecord, AdapterRecord],
) -> None:
    full, lora = both
    for setting in ("base", "data", "epochs", "batch_tokens", "max_length", "seed", "limit", "eval_limit"):
        assert getattr(full.spec, setting) == getattr(lora.spec, setting), setting
    assert full.data == lora.data
    assert training(full).steps == training(lora).steps
    assert full.spec.learning_rate != lora.spec.learning_rate


def test_the_records_hold_what_a_comparison_needs(both: tuple[AdapterRecord, AdapterRecord]) -> None:
    full, lora = both
    for record in both:
        accuracy = record.metric("accuracy")
        assert accuracy is not None
        assert accuracy.low <= accuracy.value <= accuracy.high
        assert accuracy.n == 40
        assert record.cost.train_seconds
        assert record.cost.peak_memory_bytes
    assert full.cost.trainable_parameters == full.cost.total_parameters
    assert lora.cost.trainable_parameters < full.cost.trainable_parameters


def test_lora_adapts_query_and_value_by_distilberts_names(registry_of_both: Registry) -> None:
    config = registry_of_both.adapter_folder("lora-distilbert-sst2") / "adapter_config.json"
    assert sorted(json.loads(config.read_text())["target_modules"]) == ["q_lin", "v_lin"]
