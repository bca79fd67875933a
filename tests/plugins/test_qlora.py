"""LoRA on a base in four bits, through bitsandbytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from zoo.errors import IncompatibleError
from zoo.plugins import manager
from zoo.plugins import params as options
from zoo.runtime.installation import install_extra
from zoo.training.parameter_counts import count

needs_bitsandbytes = pytest.mark.skipif(
    util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install '.[qlora]'"
)


def loaded(base: Path, **given: Any) -> tuple[Any, Any, Any, Any]:
    """The method, its parameters, the quantised base and its head."""
    method, task = manager.load_method("qlora"), manager.load_task("bert-imdb")
    params = options.parse(method.Params, given, "qlora")
    model, head = task.load_model(base, ["negative", "positive"], **method.load_options(params))
    return method, params, model, head


@needs_bitsandbytes
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "llama"])
def test_the_backbone_is_quantised_and_its_head_is_not(family: str, tiny_models: dict[str, Path]) -> None:
    _, _, model, head = loaded(tiny_models[family])
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    heads = tuple(f"{name}." for name in (*head, "bert.pooler"))
    four_bits = [name for name, kind in kinds.items() if kind == "Linear4bit"]
    assert len(four_bits) == 2 * (7 if family == "llama" else 6)
    assert not [name for name in four_bits if f"{name}.".startswith(heads)]


@needs_bitsandbytes
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_quantised_weights_count_as_the_numbers_that_they_stand_for(
    family: str, tiny_models: dict[str, Path]
) -> None:
    plain, _ = manager.load_task("bert-imdb").load_model(tiny_models[family], ["negative", "positive"])
    assert count(loaded(tiny_models[family])[2]).total == count(plain).total


@needs_bitsandbytes
def test_a_base_that_was_evaluated_first_still_passes_gradients(tiny_models: dict[str, Path]) -> None:
    import torch

    method, params, model, head = loaded(tiny_models["llama"])
    batch = {"input_ids": torch.arange(5, 19).view(2, 7)}
    with torch.no_grad():
        model.eval()(**batch)
    adapted = method.attach(model, params, manager.load_task("bert-imdb"), head).train()
    adapted(**batch).logits.square().sum().backward()
    lowest = [value for name, value in adapted.named_parameters() if "layers.0" in name and "lora_B" in name]
    assert len(lowest) == 7
    assert all(value.grad.norm() > 0 for value in lowest)


@needs_bitsandbytes
def test_it_trains_predicts_and_merges_into_the_base_as_it_was_published(
    zoo: Callable[..., Result], tiny_models: dict[str, Path], reviews_csv: Path, tmp_path: Path
) -> None:
    done = zoo("train", "qlora", "bert-imdb", "--base", tiny_models["llama"], "--data", reviews_csv,
               "--epochs", 1, "--name", "small")  # fmt: skip
    assert done.code == 0, done.err
    once, again = (zoo("predict", "small", "a joy to watch", "--json").json for _ in range(2))
    assert once == again
    merged = zoo("merge", "small", "-o", tmp_path / "merged", "--json")
    assert merged.code == 0, merged.err
    config = json.loads((tmp_path / "merged" / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config


@needs_bitsandbytes
def test_a_base_quantised_another_way_is_refused_by_its_config(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_bert, tmp_path / "gptq")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = zoo("train", "qlora", "bert-imdb", "--base", base, "--data", reviews_csv)
    assert done.code == 5
    assert "qlora quantises the base itself, and this one is gptq already" in done.error


def test_without_bitsandbytes_the_extra_is_named(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.plugins.method.find_spec", lambda name: None)
    done = zoo("train", "qlora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv)
    assert done.code == 5
    assert "qlora needs bitsandbytes, which is not installed" in done.error
    assert done.err.splitlines()[-1] == f"Next: {install_extra('qlora')}"
    method = manager.load_method("qlora")
    with pytest.raises(IncompatibleError, match="needs bitsandbytes"):
        method.load_options(method.Params())


def test_a_gpu_pages_the_optimizers_state() -> None:
    method = manager.load_method("qlora")
    assert method.optimizer("cuda") == "paged_adamw_32bit"
    assert method.optimizer("cpu") == "adamw_torch_fused"
