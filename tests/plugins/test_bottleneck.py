"""Bottleneck adapters, and where in a transformer's layers they go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zoo as api
from tests.plugins.attach import attach, attached, load
from tests.records import make_base
from zoo.errors import IncompatibleError
from zoo.plugins import manager
from zoo.plugins.transformer_layers import layers_of

STYLES = ("houlsby", "pfeiffer", "parallel")
FAMILIES = ("bert", "roberta", "distilbert", "llama")


def inputs() -> dict[str, Any]:
    import torch

    return {"input_ids": torch.arange(5, 19).view(2, 7)}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_changes_nothing_and_a_trained_one_does(
    style: str, family: str, tiny_models: dict[str, Path]
) -> None:
    import torch

    model = load(tiny_models[family])[0].eval()
    with torch.no_grad():
        before = model(**inputs(), output_hidden_states=True).hidden_states[-1]
        adapted = attached("bottleneck", tiny_models[family], style=style).eval()
        after = adapted(**inputs(), output_hidden_states=True).hidden_states[-1]
        assert (after - before).abs().max() < 1e-6
        for name, value in adapted.named_parameters():
            if name.endswith("adapter.up.bias"):
                value.add_(torch.randn_like(value))
        moved = adapted(**inputs(), output_hidden_states=True).hidden_states[-1]
    assert (moved - before).abs().max() > 0.1


@pytest.mark.parametrize("style", STYLES)
def test_in_a_bert_layer_each_style_computes_what_its_paper_says(style: str, tiny_bert: Path) -> None:
    import torch

    model = attached("bottleneck", tiny_bert, style=style, reduction=4).eval()
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if "adapter" in name:
                value.normal_(std=0.3)
        values = torch.randn(2, 7, 32)
        found = layer(values)
        self_output, output = layer.attention.output, layer.output

        def added(owner: Any, values: Any) -> Any:
            adapter = owner.adapter
            return adapter.up(torch.nn.functional.gelu(adapter.down(values)))

        def plain(linear: Any, values: Any) -> Any:
            return torch.nn.functional.linear(values, linear.weight, linear.bias)

        attended = plain(self_output.dense, layer.attention.self(values)[0])
        if style == "houlsby":
            attended = attended + added(self_output.dense, attended)
        middle = self_output.LayerNorm(attended + values)
        result = plain(output.dense, layer.intermediate(middle))
        if style == "houlsby":
            result = result + added(output.dense, result)
        if style == "parallel":
            result = result + 4.0 * added(output, middle)
        wanted = output.LayerNorm.forward(result + middle)
        if style == "pfeiffer":
            wanted = output.LayerNorm.forward(result + middle + added(output.LayerNorm, wanted))
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["electra", "camembert", "xlm-roberta", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("style", STYLES)
def test_every_adapter_in_every_known_kind_of_model_is_reached_by_the_gradient(kind: str, style: str) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 2} if kind in ("mistral", "qwen2", "qwen3") else {}
    config = AutoConfig.for_model(kind, **sizes, vocab_size=40, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config)
    attach("bottleneck", model, [], style=style)
    model(**inputs()).logits.sum().backward()
    trained = [value for value in model.parameters() if value.requires_grad]
    assert len(trained) == 2 * 4 * (2 if style == "houlsby" else 1)
    assert all(value.grad is not None for value in trained)


def test_both_towers_of_a_clip_have_layers(tiny_models: dict[str, Path]) -> None:
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(str(tiny_models["clip"]))
    assert len(layers_of(model)) == len(model.text_model.encoder.layers) + len(
        model.vision_model.encoder.layers
    )


def test_a_kind_of_model_that_is_not_known_is_refused_with_those_that_are() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=10))
    with pytest.raises(IncompatibleError, match=r"layers of a gpt2 are not known; those of bert, .*roberta"):
        layers_of(model)


def test_a_reduction_to_nothing_is_refused_with_the_largest(tiny_bert: Path) -> None:
    with pytest.raises(IncompatibleError, match="a width of 32 divided by 33 leaves no unit") as caught:
        attached("bottleneck", tiny_bert, reduction=33)
    assert caught.value.hint == "-s reduction=32"


def test_a_scale_that_is_learned_is_one_number_an_adapter(tiny_bert: Path) -> None:
    model = attached("bottleneck", tiny_bert, learn_scale=True, style="parallel")
    scales = [value for name, value in model.named_parameters() if name.endswith("adapter.scale")]
    assert [value.tolist() for value in scales] == [[4.0], [4.0]]


def test_one_call_puts_a_trained_adapter_back_on_its_base(
    zoo: Any, tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    import torch

    done = zoo("train", "bottleneck", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 2,
               "--name", "bent", "--precision", "fp32", "-s", "style=houlsby")  # fmt: skip
    assert done.code == 0, done.err
    folder = tmp_path / "registry" / "adapters" / "bent"
    model = api.restore(load(tiny_bert)[0], folder).eval()
    task = manager.load_task("bert-imdb")
    with torch.no_grad():
        batch = task.load_processor(folder)(["a joy to watch"], return_tensors="pt")
        found = model(**batch).logits.softmax(-1)[0]
    predicted = zoo("predict", "bent", "a joy to watch", "--json").json
    assert predicted[0]["probabilities"]["positive"] == pytest.approx(float(found[1]), abs=1e-6)


def test_what_is_saved_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Of several entries of metadata safetensors would draw the order, and the file another hash."""
    from torch import nn

    model, found = nn.Linear(2, 2), set()
    for _ in range(16):
        manager.load_method("head").save(model, tmp_path, make_base())
        found.add((tmp_path / "adapter.safetensors").read_bytes())
    assert len(found) == 1
