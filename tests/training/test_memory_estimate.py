"""The memory that a run needs, from shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import Result
from zoo.plugins import manager
from zoo.plugins import params as options
from zoo.training.memory_estimate import Memory, ceiling, estimate
from zoo.training.parameter_counts import attach_without_weights

TASK = manager.load_task("bert-imdb")


def of(
    name: str,
    base: Path,
    *,
    tokens: int = 512,
    length: int = 64,
    precision: str = "fp32",
    checkpointing: bool = False,
    **load_options: object,
) -> Memory:
    method = manager.load_method(name)
    params = options.parse(method.Params, {}, name)
    model = attach_without_weights(method, params, TASK, base, ("no", "yes"))
    return estimate(
        model,
        TASK,
        tokens=tokens,
        length=length,
        precision=precision,
        load_options=load_options,
        checkpointing=checkpointing,
    )


def test_activations_are_what_autograd_keeps_of_a_real_batch(tiny_bert: Path) -> None:
    model, _ = TASK.load_model(tiny_bert, ("no", "yes"))
    kept: dict[int, int] = {}
    parameters = {value.data_ptr() for value in model.parameters()}
    alive = []

    def pack(value: torch.Tensor) -> torch.Tensor:
        if value.data_ptr() not in parameters:
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            alive.append(value)
        return value

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        model(input_ids=torch.zeros((8, 64), dtype=torch.long))
    real, found = sum(kept.values()), of("full", tiny_bert).activations
    assert found is not None
    assert 0.8 * real < found < 1.2 * real


def test_twice_the_tokens_take_twice_the_activations(tiny_bert: Path) -> None:
    one, two = (of("lora", tiny_bert, tokens=tokens).activations for tokens in (512, 1024))
    assert one is not None
    assert two == 2 * one


def test_checkpointing_keeps_fewer_activations(tiny_bert: Path) -> None:
    all_kept = of("full", tiny_bert).activations
    few_kept = of("full", tiny_bert, checkpointing=True).activations
    assert all_kept is not None
    assert few_kept is not None
    assert few_kept < all_kept / 2


def test_the_optimizer_keeps_twelve_bytes_for_each_trained_weight(tiny_bert: Path) -> None:
    full = of("full", tiny_bert)
    assert full.training == 3 * full.weights
    assert of("lora", tiny_bert).training < full.training / 10


def test_a_base_in_four_bits_takes_an_eighth(tiny_bert: Path) -> None:
    four = of("lora", tiny_bert, quantization_config=SimpleNamespace(load_in_4bit=True))
    whole = of("lora", tiny_bert)
    assert four.weights < whole.weights / 4
    assert four.loading < whole.loading / 4


def test_matrices_in_bf16_take_half(tiny_bert: Path) -> None:
    assert of("lora", tiny_bert, precision="bf16").weights < 0.6 * of("lora", tiny_bert).weights


def test_a_dry_run_says_the_memory_and_the_bytes_to_be_saved(zoo, tiny_bert: Path, reviews_csv: Path) -> None:  # type: ignore[no-untyped-def]
    words = ("train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv)
    said = zoo(*words, "--dry-run", "--json").json
    assert said["memory"] > 1_400_000_000
    assert zoo(*words, "--epochs", 1).code == 0
    saved = zoo("show", "lora-bert-imdb", "--json").json[0]["cost"]["adapter_bytes"]
    assert 0 < saved - said["adapter_bytes"] < 4000  # safetensors' header


def test_batches_are_halved_as_often_as_memory_asks_and_no_more() -> None:
    needed = Memory(weights=100, training=50, activations=800, loading=120, rows=8)
    whole = needed.peak
    assert needed.halvings(whole) == 0
    assert needed.halvings(whole - 1) == 1
    assert needed.halvings(needed.peak_in(8)) == 3
    assert needed.halvings(needed.peak_in(8) - 1) is None
    assert [needed.peak_in(1 << number) for number in range(4)] == sorted(
        {needed.peak_in(1 << number) for number in range(4)}, reverse=True
    )


def test_the_ceiling_without_a_look_at_a_small_model_is_above_the_estimate(tiny_bert: Path) -> None:
    from zoo.training.parameter_counts import count

    method, task = manager.load_method("lora"), manager.load_task("bert-imdb")
    model = attach_without_weights(method, method.Params(), task, tiny_bert, ["a", "b"])
    counted = count(model).total
    for tokens in (64, 128, 4096):
        found = estimate(model, task, tokens=tokens, length=64, precision="fp32", load_options={})
        assert found.peak <= ceiling(counted, tokens)


def test_a_dry_run_on_a_machine_with_bf16_says_the_same_bytes_to_be_saved(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trained stays float32 there, although the estimate is made in bf16."""
    words = ["train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--dry-run", "--json"]
    expected = zoo(*words, "--precision", "fp32").json["adapter_bytes"]
    monkeypatch.setattr("zoo.runtime.device.has_bf16", lambda: True)
    found = zoo(*words).json
    assert (found["precision"], found["adapter_bytes"]) == ("bf16", expected)
