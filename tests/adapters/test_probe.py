"""The probe: small, the same every time, and a run whose adapter does not load back fails loudly."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import tiny_spec
from tests.records import change_weights
from zoo.adapters import probe as probing
from zoo.adapters.verify import verify
from zoo.errors import ZooError
from zoo.models.safetensors_header import read_header
from zoo.plugins import manager
from zoo.registry.store import Registry
from zoo.runtime.checks import failures
from zoo.tasks.text_classification import TextClassification
from zoo.testing import write_conversations, write_pictures
from zoo.training import pipeline


def test_a_run_leaves_a_small_probe_that_the_record_hashes_and_does_not_count(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    record = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, learning_rate=0.01), registry)
    path = registry.adapter_folder(record.name) / probing.FILE
    assert record.files[probing.FILE].bytes == path.stat().st_size < 100_000
    assert record.cost.adapter_bytes == record.files["adapter_model.safetensors"].bytes
    assert {"base.trunk", "base.digests", "expected.trunk", "expected.logits"} <= read_header(path).keys()
    assert "base.logits" not in read_header(path)  # of a head that nobody trained
    found = probing.read(path.parent)
    assert found is not None
    assert found.examples is not None
    assert found.examples[0]["text"]
    again = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, learning_rate=0.01), registry)
    assert again.files[probing.FILE] == record.files[probing.FILE]


@pytest.mark.parametrize(("method", "precision"), [("lora", "fp32"), ("prompt", "auto"), ("full", "auto")])
def test_an_adapter_of_a_chat_model_verifies_and_keeps_a_part_of_its_logits(
    method: str, precision: str, tiny_models: dict[str, Path], registry: Registry, tmp_path: Path
) -> None:
    data = write_conversations(tmp_path / "conversations.jsonl")
    given = tiny_spec(
        method, tiny_models["llama"], data, task="tinyllama-chat", precision=precision, learning_rate=0.01
    )
    record = pipeline.train(given, registry)
    path = registry.adapter_folder(record.name) / probing.FILE
    assert path.stat().st_size < 200_000
    assert {"base.logits", "base.trunk"} <= read_header(path).keys()
    assert failures(verify(record.name, registry)) == []


def test_an_adapter_of_pictures_and_texts_verifies(
    tiny_models: dict[str, Path], registry: Registry, tmp_path: Path
) -> None:
    data = write_pictures(tmp_path / "pictures")
    given = tiny_spec(
        "lora", tiny_models["clip"], data, task="clip-retrieval", epochs=4.0, learning_rate=0.01
    )
    record = pipeline.train(given, registry)
    found = probing.read(registry.adapter_folder(record.name))
    assert found is not None
    assert {"image_embeds", "text_embeds"} <= found.base.keys()
    assert found.inputs["pixel_values"].size < 10_000
    assert failures(verify(record.name, registry)) == []


def test_a_run_whose_saved_adapter_says_something_else_fails_and_registers_nothing(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = type(manager.load_method("lora"))
    rightly = method.save

    def wrongly(self: Any, model: Any, folder: Path, base: Any) -> None:
        rightly(self, model, folder, base)
        change_weights(
            folder / "adapter_model.safetensors",
            lambda weights: [weights[name].add_(0.1) for name in weights if "classifier.weight" in name],
        )

    monkeypatch.setattr(method, "save", wrongly)
    with pytest.raises(
        ZooError, match="does not reproduce the trained model: on the same inputs logits differs"
    ):
        pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, learning_rate=0.01), registry)
    assert registry.records() == {}


def test_the_trained_model_is_let_go_before_the_base_is_read_again(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Any] = []
    alive: list[int] = []
    real = TextClassification.load_model

    def watched(self: Any, *args: Any, **options: Any) -> Any:
        gc.collect()
        alive.append(sum(one() is not None for one in models))
        found = real(self, *args, **options)
        models.append(weakref.ref(found[0].bert.embeddings.word_embeddings.weight))
        return found

    monkeypatch.setattr(TextClassification, "load_model", watched)
    pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, learning_rate=0.01), registry)
    assert alive == [0, 0]


def test_of_a_large_output_a_fixed_spread_is_kept() -> None:
    import torch

    value = torch.arange(10 * 1021).reshape(1, 10, 1021).float()
    kept = probing._kept(value)
    assert kept.shape == (4, 256)
    assert (kept[0, 0], kept[-1, -1]) == (6 * 1021, 10 * 1021 - 1)
    assert probing._kept(torch.ones(1, 2)).shape == (1, 2)


def test_a_difference_that_is_not_a_number_is_within_nothing() -> None:
    import numpy as np

    wanted = {"logits": np.ones((2, 2), "float32")}
    for found in (np.full((2, 2), np.nan, "float32"), np.ones((2, 3), "float32")):
        (difference,) = probing.compare({"logits": found}, wanted)
        assert not difference.within(1.0)
