"""What the short way for PEFT's methods settles before PEFT sees the model: targets and ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plugins.attach import attach
from zoo.errors import IncompatibleError
from zoo.plugins import manager, params
from zoo.plugins.peft_method import matrices, targeted

OF_BERT = "query, key, value, dense, classifier"


def adapt(model: Any, method: str = "lora", **given: Any) -> Any:
    head = [name for name in ("classifier", "score", "logits_proj") if hasattr(model, name)]
    return attach(method, model, head, **given)


def config(targets: str) -> Any:
    one: Any = manager.load_method("lora")
    return one.config(params.parse(one.Params, {"targets": targets}, "lora"), manager.load_task("bert-imdb"))


@pytest.fixture
def bert(tiny_bert: Path) -> Any:
    return manager.load_task("bert-imdb").empty_model(tiny_bert, ("no", "yes"))[0]


def of_type(kind: str, **shape: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **shape))


def refusal(model: Any, method: str = "lora", **given: Any) -> IncompatibleError:
    with pytest.raises(IncompatibleError) as caught:
        adapt(model, method, **given)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("targets", "lost"), [("q_proj", "q_proj"), ("query,valu,k_proj", "k_proj, valu"), ("uery", "uery")]
)
def test_targets_that_match_no_module_are_refused_naming_those_that_exist(
    targets: str, lost: str, bert: Any
) -> None:
    error = refusal(bert, targets=targets)
    assert str(error) == f"lora does not fit this bert: no module is called {lost}; it has {OF_BERT}."


def test_a_target_may_be_the_end_of_a_path(bert: Any) -> None:
    adapted = adapt(bert, targets="layer.1.attention.self.query")
    assert adapted.base_model.targeted_module_names == ["bert.encoder.layer.1.attention.self.query"]


def test_targets_that_are_no_matrices_are_refused(bert: Any) -> None:
    assert "LayerNorm" in str(refusal(bert, targets="LayerNorm"))


def test_all_linear_is_every_matrix_but_the_heads(bert: Any) -> None:
    assert len(targeted(config("query"), bert)) == 2
    adapted = adapt(bert, targets="all-linear")
    # query, key, value, attention's output, and the two of the feed-forward, of two layers; and the pooler
    assert len(adapted.base_model.targeted_module_names) == 2 * 6 + 1
    assert "classifier" not in adapted.base_model.targeted_module_names


def test_a_model_type_without_a_default_is_refused_with_the_names_to_choose_from() -> None:
    shape = {"d_model": 32, "n_layer": 1, "n_head": 2, "d_inner": 64, "vocab_size": 200}
    error = refusal(of_type("xlnet", **shape))
    assert "which modules to adapt is not known for it; it has layer_1, layer_2" in str(error)
    assert error.hint == "-s targets=all-linear"
    adapted = adapt(of_type("xlnet", **shape), targets="layer_1")
    assert adapted.base_model.targeted_module_names == ["transformer.layer.0.ff.layer_1"]


def test_distilbert_has_defaults_that_peft_lacks_for_some_methods(tiny_models: dict[str, Path]) -> None:
    for method in ("lora", "adalora", "vblora"):
        model = manager.load_task("bert-imdb").empty_model(tiny_models["distilbert"], ("no", "yes"))[0]
        names = adapt(model, method).base_model.targeted_module_names
        assert {name.rpartition(".")[2] for name in names} == {"q_lin", "v_lin"}


@pytest.mark.parametrize(("method", "rank"), [("lora", "r"), ("dora", "r"), ("adalora", "init_r")])
def test_a_rank_above_the_smaller_side_is_refused_with_the_largest_that_fits(
    method: str, rank: str, bert: Any
) -> None:
    error = refusal(bert, method, **{rank: 33})
    matrix = "bert.encoder.layer.0.attention.self.query"
    assert str(error) == f"{method}: rank 33 is above the 32 of the matrix {matrix}."
    assert error.hint == f"-s {rank}=32"
    assert adapt(bert, method, **{rank: 32})


def test_the_smallest_adapted_matrix_bounds_the_rank() -> None:
    shape = {"hidden_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 80}
    llama = of_type("llama", num_hidden_layers=1, vocab_size=200, pad_token_id=0, **shape)
    assert refusal(llama, r=32, targets="q_proj,v_proj").hint == "-s r=24"
    assert "down_proj" in matrices(llama)


def test_what_only_peft_knows_not_to_fit_is_said_in_one_line() -> None:
    gpt2 = of_type("gpt2", n_embd=32, n_layer=1, n_head=2, vocab_size=200, n_positions=64)
    for method in ("loha", "oft", "road"):
        error = refusal(gpt2, method)
        assert str(error).startswith(f"{method} does not fit this gpt2: ")
        assert "Conv1D" in str(error)


def test_a_base_of_transposed_matrices_is_measured_and_adapted() -> None:
    gpt2 = of_type("gpt2", n_embd=32, n_layer=1, n_head=2, vocab_size=200, n_positions=64, pad_token_id=0)
    assert targeted(config("c_attn"), gpt2) == {"transformer.h.0.attn.c_attn": (32, 96)}
    adapted = adapt(gpt2)
    assert adapted.base_model.targeted_module_names == ["transformer.h.0.attn.c_attn"]
