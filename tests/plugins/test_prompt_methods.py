"""Methods that put trained vectors before a text: prompt, p-tuning, prefix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from tests.plugins import attach
from zoo.errors import IncompatibleError
from zoo.plugins import manager
from zoo.testing import broken, check_method

METHODS = ("prompt", "p-tuning", "prefix")
TEXTS = (
    "a dull film",
    "wonderful acting throughout in the cinema",
    "I hated every minute again last night, Sunday",
)


def attached(name: str, base: Path, **given: Any) -> tuple[Any, Any]:
    """The adapted model, not trained, and its tokenizer."""
    model = attach.attached(name, base, **{"num_virtual_tokens": 5, **given}).eval()
    return model, manager.load_task("bert-imdb").load_processor(base)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "llama"])
def test_padding_does_not_change_the_outputs_of_a_text(
    name: str, family: str, tiny_models: dict[str, Path]
) -> None:
    import torch

    if (name, family) == ("prefix", "distilbert"):
        with pytest.raises(IncompatibleError, match="takes no keys and values beside"):
            attached(name, tiny_models[family])
        return
    model, tokenizer = attached(name, tiny_models[family])
    with torch.no_grad():
        alone = torch.cat([model(**tokenizer([text], return_tensors="pt")).logits for text in TEXTS])
        together = model(**tokenizer(list(TEXTS), padding=True, return_tensors="pt")).logits
    apart = (alone[0] - alone[1]).abs().max()
    assert apart > 1e-5
    assert (alone - together).abs().max() < 1e-2 * apart


def test_padding_before_a_decoders_text_is_moved_before_the_prompt(tiny_models: dict[str, Path]) -> None:
    import torch

    model, tokenizer = attached("prompt", tiny_models["llama"])
    right = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    tokenizer.padding_side = "left"
    left = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        assert (model(**right).logits - model(**left).logits).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "family", "params"),
    [
        ("p-tuning", "bert", {"encoder": "lstm", "encoder_hidden_size": "16"}),
        ("prefix", "llama", {"projection": "true", "encoder_hidden_size": "16"}),
        ("prompt", "roberta", {"init_text": "a joy to watch"}),
    ],
)
def test_each_way_to_make_a_prompt_keeps_the_promises_of_a_method(
    name: str, family: str, params: dict[str, str], tiny_models: dict[str, Path], reviews_csv: Path
) -> None:
    task = manager.load_task("bert-imdb")
    results = check_method(manager.load_method(name), task, tiny_models[family], reviews_csv, params)
    assert broken(results) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_prompt_that_leaves_no_room_for_a_text_is_refused_with_one_that_does(
    name: str, zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path
) -> None:
    done = zoo("train", name, "bert-imdb", "--base", tiny_bert, "--data", reviews_csv,
               "-s", "num_virtual_tokens=60")  # fmt: skip
    assert done.code == 2
    assert "60 virtual tokens leave no room for a text in the 66 positions" in done.error
    assert done.err.splitlines()[-1].endswith(" -s num_virtual_tokens=16")


def test_texts_are_cut_to_the_positions_that_a_prompt_leaves(
    zoo: Callable[..., Result], tiny_bert: Path, tmp_path: Path
) -> None:
    rows = [f'"{"wonderful acting throughout " * 40}{index}",{index % 2}' for index in range(12)]
    data = tmp_path / "long.csv"
    data.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    done = zoo("train", "prompt", "bert-imdb", "--base", tiny_bert, "--data", data, "--epochs", 1,
               "--name", "long")  # fmt: skip
    assert done.code == 0, done.err
    assert zoo("show", "long", "--json").json[0]["spec"]["max_length"] == 66 - 20


def test_a_prompt_starts_as_the_tokens_of_a_text_repeated(tiny_bert: Path) -> None:
    import torch

    model, tokenizer = attached("prompt", tiny_bert, init_text="a joy")
    words = tokenizer("a joy", add_special_tokens=False)["input_ids"]
    wanted = model.get_base_model().get_input_embeddings().weight[(words * 3)[:5]]
    assert torch.equal(model.prompt_encoder["default"].embedding.weight, wanted)


def test_a_text_to_start_from_needs_a_tokenizer_and_a_token(tiny_bert: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny_bert, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(IncompatibleError, match="init_text needs the base's tokenizer") as caught:
        attached("prompt", bare, init_text="a joy")
    assert caught.value.hint == "without -s init_text"
    with pytest.raises(IncompatibleError, match="no token"):
        attached("prompt", tiny_bert, init_text=" ")


def test_the_saved_config_does_not_hold_the_path_of_the_tokenizer(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    done = zoo("train", "prompt", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 1,
               "-s", "init_text=a joy to watch", "--name", "worded")  # fmt: skip
    assert done.code == 0, done.err
    saved = tmp_path / "registry" / "adapters" / "worded" / "adapter_config.json"
    assert json.loads(saved.read_text(encoding="utf-8"))["tokenizer_name_or_path"] is None
    assert zoo("predict", "worded", "a joy to watch").code == 0


@pytest.mark.parametrize("projection", ["true", "false"])
def test_what_is_saved_of_a_prefix_is_its_keys_and_values(
    projection: str, tiny_bert: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    model, _ = attached("prefix", tiny_bert, projection=projection)
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    prompt = load_file(tmp_path / "adapter_model.safetensors")["prompt_embeddings"]
    assert prompt.shape == (5, 2 * 2 * 32)  # tokens, keys and values of two layers


def test_a_prefix_and_gradient_checkpointing_are_refused_together(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path
) -> None:
    done = zoo("train", "prefix", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 1,
               "--gradient-checkpointing")  # fmt: skip
    assert done.code == 5
    assert "forget the prefix" in done.error
    assert not any("--gradient-checkpointing" in line for line in done.err.splitlines() if "Next:" in line)


@pytest.mark.parametrize("name", METHODS)
def test_a_dry_run_counts_the_bytes_that_will_be_saved(
    name: str, zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path
) -> None:
    done = zoo("train", name, "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--dry-run")
    assert done.code == 0, done.err
    head = 2 * 32 + 2
    width = 4 * 32 if name == "prefix" else 32
    assert f"adapter_bytes\t{4 * (20 * width + head):,}" in done.out
