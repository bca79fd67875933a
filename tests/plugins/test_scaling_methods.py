"""Methods that train numbers which the base has, or factors of them: ia3, ln-tuning, bitfit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plugins.attach import attach, attached
from zoo.errors import IncompatibleError, OptionError
from zoo.plugins import manager
from zoo.testing import broken, check_method


def trained(model: Any) -> list[str]:
    return [name for name, value in model.named_parameters() if value.requires_grad]


@pytest.mark.parametrize(("family", "scaled"), [("distilbert", 2 * 3), ("bert", 2 * 4), ("llama", 2 * 3)])
def test_ia3_scales_keys_values_and_what_enters_the_feed_forward_output(
    family: str, scaled: int, tiny_models: dict[str, Path]
) -> None:
    model = attached("ia3", tiny_models[family])
    factors = {name: value for name, value in model.named_parameters() if "ia3_l" in name}
    assert len(factors) == scaled  # PEFT's default for BERT takes the attention's output too
    last = [value for name, value in factors.items() if "lin2" in name or "down_proj" in name]
    assert all(value.shape[0] == 1 for value in last), "a row, for what goes in"


@pytest.mark.parametrize(
    "params", [{"targets": "all-linear"}, {"targets": "query,intermediate.dense", "feedforward": "query"}]
)
def test_ia3_keeps_its_promises_on_modules_that_were_asked_for(
    params: dict[str, str], tiny_bert: Path, reviews_csv: Path
) -> None:
    results = check_method(
        manager.load_method("ia3"), manager.load_task("bert-imdb"), tiny_bert, reviews_csv, params
    )
    assert broken(results) == []


def test_a_feed_forward_module_that_is_no_target_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(OptionError, match="feedforward names value, which the targets do not"):
        attached("ia3", tiny_bert, targets=["key"], feedforward=["value"])


def test_ia3_on_an_unknown_model_type_asks_for_targets() -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(
        "ernie", hidden_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=9
    )
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(IncompatibleError, match="which modules to adapt is not known") as caught:
        attach("ia3", model, ["classifier"])
    assert "-s targets=" in str(caught.value.hint)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "llama"])
def test_ln_tuning_finds_every_norm_layer(family: str, tiny_models: dict[str, Path]) -> None:
    names = [name for name in trained(attached("ln-tuning", tiny_models[family])) if "ln_tuning" in name]
    assert len(names) == 5 * (1 if family == "llama" else 2)


def test_ln_tuning_refuses_what_is_no_norm_and_names_the_norms(tiny_bert: Path) -> None:
    with pytest.raises(IncompatibleError, match=r"query is no norm layer; the norm layers are LayerNorm\."):
        attached("ln-tuning", tiny_bert, targets=["query"])


def test_bitfit_trains_the_biases_and_the_head(tiny_bert: Path) -> None:
    names = trained(attached("bitfit", tiny_bert))
    assert {name for name in names if not name.endswith(".bias")} == {"classifier.weight"}
    assert "bert.embeddings.LayerNorm.bias" in names


def test_bitfit_trains_the_biases_of_the_modules_asked_for(tiny_bert: Path) -> None:
    names = trained(attached("bitfit", tiny_bert, targets=["query", "intermediate.dense"]))
    assert len(names) == 2 * 2 + 2
    with pytest.raises(
        IncompatibleError, match=r"no keys has a bias; there are LayerNorm, query, key, value"
    ):
        attached("bitfit", tiny_bert, targets=["keys"])


def test_bitfit_refuses_a_model_without_biases(tiny_models: dict[str, Path]) -> None:
    with pytest.raises(IncompatibleError, match="does not fit this llama: it has no biases"):
        attached("bitfit", tiny_models["llama"])
