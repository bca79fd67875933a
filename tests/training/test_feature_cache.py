"""Features of a frozen backbone, computed once: the same training, without the backbone in every step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAMILIES, tiny_spec
from tests.records import training
from zoo.plugins import manager
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.training import feature_cache, pipeline

FILE = "adapter.safetensors"


@pytest.fixture
def backbone_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of examples in each forward pass with gradients: those are training steps."""
    import torch

    task, calls = manager.load_task("bert-imdb"), []
    load = type(task).load_model

    def load_and_count(self: Any, *args: Any, **options: Any) -> Any:
        model, head = load(self, *args, **options)

        def count(module: Any, inputs: Any, output: Any) -> None:
            if torch.is_grad_enabled():
                calls.append(len(output.last_hidden_state))

        deepest = next(iter(self.backbone(model).children()))
        deepest.register_forward_pre_hook(
            lambda module, inputs: calls.append(1) if torch.is_grad_enabled() else None
        )
        return model, head

    monkeypatch.setattr(type(task), "load_model", load_and_count)
    return calls


def train(base: Path, data: Path, registry: Registry, **settings: Any) -> AdapterRecord:
    return pipeline.train(tiny_spec("head", base, data, **{"epochs": 4.0, **settings}), registry)


def weights(registry: Registry, record: AdapterRecord) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(registry.adapter_folder(record.name) / FILE)
    return found


@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_probe_trained_on_features_is_the_probe_trained_on_texts(
    family: str,
    precision: str,
    tiny_models: dict[str, Path],
    reviews_csv: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    backbone_calls: list[int],
) -> None:
    cached = train(tiny_models[family], reviews_csv, registry, precision=precision)
    assert not backbone_calls
    monkeypatch.setattr(feature_cache, "_frozen_part", lambda run: None)
    plain = train(tiny_models[family], reviews_csv, registry, precision=precision)
    assert backbone_calls
    tolerance = 1e-5 if training(cached).precision == "fp32" else 2e-2
    ours, theirs = weights(registry, cached), weights(registry, plain)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert float((value - theirs[name]).abs().max()) < tolerance, name
    assert training(cached).steps == training(plain).steps
    assert training(cached).loss == pytest.approx(training(plain).loss, abs=tolerance)


def test_a_backbone_with_dropout_is_run_in_every_step(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, backbone_calls: list[int]
) -> None:
    record = train(tiny_bert, reviews_csv, registry, base_dropout="keep")
    assert len(backbone_calls) == training(record).steps


def test_an_adapter_inside_the_backbone_is_never_cached(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, backbone_calls: list[int]
) -> None:
    record = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv), registry)
    assert len(backbone_calls) == training(record).steps


def test_a_pooler_that_the_checkpoint_lacks_is_trained_on_what_lies_below_it(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, tmp_path: Path, backbone_calls: list[int]
) -> None:
    from safetensors.torch import load_file, save_file

    base = shutil.copytree(tiny_bert, tmp_path / "no-pooler")
    kept = {
        name: value for name, value in load_file(base / "model.safetensors").items() if "pooler" not in name
    }
    save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    record = train(base, reviews_csv, registry)
    assert any("pooler" in name for name in weights(registry, record))
    # the embeddings of one token each, and the probe's: nothing to speak of
    assert len(backbone_calls) == training(record).steps + 1


SMALL: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}


def base_of(folder: Path, tokenizer: Path, family: str, **settings: Any) -> Path:
    """A randomly drawn body of another family, with the tokenizer of `tokenizer`."""
    from transformers import AutoConfig, AutoModel, set_seed

    shutil.copytree(tokenizer, folder, ignore=shutil.ignore_patterns("model*", "config*"))
    set_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, **SMALL, **settings)).save_pretrained(str(folder))
    return folder


def test_a_decoders_features_are_those_of_its_last_token(
    tiny_bert: Path,
    reviews_csv: Path,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backbone_calls: list[int],
) -> None:
    base = base_of(tmp_path / "llama", tiny_bert, "llama", num_attention_heads=4, num_key_value_heads=2)
    cached = train(base, reviews_csv, registry, precision="fp32")
    assert not backbone_calls
    monkeypatch.setattr(feature_cache, "_frozen_part", lambda run: None)
    plain = train(base, reviews_csv, registry, precision="fp32")
    for name, value in weights(registry, cached).items():
        assert float((value - weights(registry, plain)[name]).abs().max()) < 1e-5, name


def test_a_head_that_reads_every_token_is_trained_on_texts(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, tmp_path: Path, backbone_calls: list[int]
) -> None:
    tokens = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    settings = {"num_attention_heads": 2, "classifier_pooling": "mean", **tokens}
    base = base_of(tmp_path / "modernbert", tiny_bert, "modernbert", **settings)
    record = train(base, reviews_csv, registry)
    assert len(backbone_calls) == training(record).steps


def test_what_is_trained_below_the_backbone_is_never_hidden_by_features(
    tiny_bert: Path,
    reviews_csv: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    backbone_calls: list[int],
) -> None:
    """Soft prompts go into a backbone of which no weight is trained."""
    from dataclasses import dataclass

    from zoo import Method, PeftMethod

    @dataclass(frozen=True)
    class Params:
        tokens: int = 4

    class Prompt(PeftMethod):
        name = "my-prompt"
        summary = "soft prompts"
        learning_rate = 1e-1

        def config(self, params: Any, task: Any) -> Any:
            from peft import PromptTuningConfig

            return PromptTuningConfig(task_type=task.peft_type, num_virtual_tokens=params.tokens)

    Prompt.Params = Params
    load, find = manager.load_method, manager.find
    method: Method = Prompt()
    monkeypatch.setattr(manager, "load_method", lambda name: method if name == "my-prompt" else load(name))
    more = {"method": {"my-prompt": find("method")["lora"]}}
    monkeypatch.setattr(manager, "find", lambda kind: {**find(kind), **more.get(kind, {})})
    record = pipeline.train(tiny_spec("my-prompt", tiny_bert, reviews_csv, max_length=32), registry)
    assert len(backbone_calls) >= training(record).steps
