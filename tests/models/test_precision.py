"""How the arithmetic is done: what is rounded and what never is, for every way of training that PEFT has."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from zoo.models import precision as compute
from zoo.plugins import manager

CPU = torch.device("cpu")


def bert(folder: Path) -> Any:
    torch.manual_seed(0)
    model, _ = manager.load_task("bert-imdb").load_model(folder, ["a", "b"])
    compute.silence_dropout(model)
    return model


def batch() -> dict[str, Tensor]:
    ids = torch.randint(5, 200, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def step(model: nn.Module, precision: str = "bf16", **more: Any) -> tuple[float, dict[str, Tensor]]:
    """The loss of one batch, and the gradient of all that is trained."""
    model.train()
    with compute.autocast(CPU, precision):
        outputs = model(**batch(), **more)
    loss = nn.functional.cross_entropy(outputs.logits.float(), torch.tensor([0, 1, 1]))
    loss.backward()
    gradients = {}
    for name, value in model.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name
        if value.grad is not None:
            gradients[name] = value.grad
    return float(loss.detach()), gradients


def assert_finite(loss: float, gradients: dict[str, Tensor]) -> None:
    assert math.isfinite(loss)
    assert gradients
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32, name
        assert gradient.isfinite().all(), name
    assert any(gradient.any() for gradient in gradients.values())


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Together within the rounding of bf16, over a few layers."""
    one, other = (torch.cat([of[name].flatten() for name in expected]) for of in (found, expected))
    assert float((one - other).norm()) <= 0.1 * float(other.norm())


def assert_trains_as_before(model: nn.Module, precision: str) -> None:
    """Settled in bf16 it has the loss and gradients that it has in `precision` without."""
    plain = copy.deepcopy(model)
    compute.settle(model, "bf16")
    loss, gradients = step(model)
    assert_finite(loss, gradients)
    expected, theirs = step(plain, precision)
    assert loss == pytest.approx(expected, abs=0.01)
    assert_near(gradients, theirs)


QUERY: dict[str, Any] = {"target_modules": ["query", "value"]}
VIRTUAL: dict[str, Any] = {"num_virtual_tokens": 4}
KINDS: dict[str, Callable[[], peft.PeftConfig]] = {
    "lora": lambda: peft.LoraConfig(**QUERY),
    "lora with dropout": lambda: peft.LoraConfig(lora_dropout=0.2, **QUERY),
    "lora with biases": lambda: peft.LoraConfig(bias="all", **QUERY),
    "lora everywhere": lambda: peft.LoraConfig(target_modules="all-linear"),
    "lora of embeddings": lambda: peft.LoraConfig(target_modules=["word_embeddings", "query"]),
    "lora and tokens": lambda: peft.LoraConfig(trainable_token_indices=[5, 6], **QUERY),
    "dora": lambda: peft.LoraConfig(use_dora=True, **QUERY),
    "rslora": lambda: peft.LoraConfig(use_rslora=True, **QUERY),
    "pissa": lambda: peft.LoraConfig(init_lora_weights="pissa", **QUERY),
    "adalora": lambda: peft.AdaLoraConfig(total_step=10, **QUERY),
    "loha": lambda: peft.LoHaConfig(**QUERY),
    "lokr": lambda: peft.LoKrConfig(**QUERY),
    "oft": lambda: peft.OFTConfig(oft_block_size=8, **QUERY),
    "vera": lambda: peft.VeraConfig(**QUERY),
    "fourierft": lambda: peft.FourierFTConfig(n_frequency=20, **QUERY),
    "hra": lambda: peft.HRAConfig(**QUERY),
    "vblora": lambda: peft.VBLoRAConfig(num_vectors=8, vector_length=8, topk=2, **QUERY),
    "randlora": lambda: peft.RandLoraConfig(**QUERY),
    "shira": lambda: peft.ShiraConfig(r=2, **QUERY),
    "c3a": lambda: peft.C3AConfig(block_size=8, **QUERY),
    "miss": lambda: peft.MissConfig(r=8, **QUERY),
    "road": lambda: peft.RoadConfig(group_size=8, **QUERY),
    "ia3": lambda: peft.IA3Config(target_modules=["key", "value", "output.dense"], feedforward_modules=[]),
    "ia3 of feed-forwards": lambda: peft.IA3Config(
        target_modules=["key", "value", "intermediate.dense"], feedforward_modules=["intermediate.dense"]
    ),
    "layer norms": lambda: peft.LNTuningConfig(target_modules=["LayerNorm"]),
    "prompt tuning": lambda: peft.PromptTuningConfig(**VIRTUAL),
    "prefix tuning": lambda: peft.PrefixTuningConfig(**VIRTUAL),
    "prefix tuning, projected": lambda: peft.PrefixTuningConfig(
        prefix_projection=True, encoder_hidden_size=16, **VIRTUAL
    ),
    "p-tuning": lambda: peft.PromptEncoderConfig(encoder_hidden_size=16, **VIRTUAL),
    "p-tuning with an lstm": lambda: peft.PromptEncoderConfig(
        encoder_hidden_size=16, encoder_reparameterization_type="LSTM", **VIRTUAL
    ),
    "tokens": lambda: peft.TrainableTokensConfig(token_indices=[5, 6]),
}


def adapted(model: nn.Module, kind: str) -> Any:
    config = KINDS[kind]()
    config.task_type = "SEQ_CLS"
    torch.manual_seed(1)
    return peft.get_peft_model(model, config)


@pytest.mark.parametrize("kind", KINDS)
def test_every_adapter_of_peft_trains_in_bf16(kind: str, tiny_bert: Path) -> None:
    model = adapted(bert(tiny_bert), kind)
    if kind == "lora with dropout":  # drawn from other numbers
        compute.settle(model, "bf16")
        assert_finite(*step(model))
    else:  # PyTorch's own LSTM has no bf16 on every processor
        assert_trains_as_before(model, "fp32" if kind == "p-tuning with an lstm" else "bf16")


PARTS: dict[str, Callable[[str, nn.Parameter], bool]] = {
    "biases": lambda name, value: "bias" in name,
    "layer norms": lambda name, value: "LayerNorm" in name,
    "vectors": lambda name, value: value.dim() == 1,
    "embeddings": lambda name, value: "embeddings" in name,
    "position embeddings": lambda name, value: "position_embeddings" in name,
    "the upper layer": lambda name, value: "layer.1." in name,
    "one matrix": lambda name, value: name.endswith("layer.0.output.dense.weight"),
    "the head": lambda name, value: "classifier" in name,
    "everything": lambda name, value: True,
}


@pytest.mark.parametrize("part", PARTS)
def test_any_part_of_a_model_trains_in_bf16(part: str, tiny_bert: Path) -> None:
    model = bert(tiny_bert)
    for name, value in model.named_parameters():
        value.requires_grad_(PARTS[part](name, value))
    assert_trains_as_before(model, "bf16")


def test_bf16_gradients_of_lora_are_those_of_float32_to_its_rounding(tiny_bert: Path) -> None:
    model = adapted(bert(tiny_bert), "lora")
    for name, value in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.1)  # else lora_A has no gradient
    exact = step(copy.deepcopy(model), "fp32")[1]
    compute.settle(model, "bf16")
    assert_near(step(model)[1], exact)


def test_only_frozen_float32_matrices_are_held_in_bf16() -> None:
    model = nn.ModuleDict({"one": nn.Linear(3, 3), "two": nn.Linear(3, 3), "norm": nn.LayerNorm(3)})
    model["conv"] = nn.Conv2d(3, 4, 2)
    model["in half"] = nn.Linear(3, 3).half()
    model["in bf16"] = nn.Linear(3, 3).bfloat16()
    model["in double"] = nn.Linear(3, 3).double()
    model.register_buffer("count", torch.ones(3, 3))
    model.requires_grad_(False)
    model["two"].requires_grad_(True)
    model.register_parameter("whole", nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False))
    before = {name: value.dtype for name, value in model.state_dict().items()}
    changed = compute.hold(model)
    after = {name: value.dtype for name, value in model.state_dict().items()}
    found = {name for name in before if before[name] != after[name]}
    assert found == {"one.weight", "conv.weight"}
    assert {after[name] for name in found} == {torch.bfloat16}
    assert len(changed) == 2
    assert compute.hold(model) == []


def test_tied_weights_stay_tied() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=20, tie_word_embeddings=True, **shape))
    model.requires_grad_(False)
    with compute.held(model, "bf16"):
        assert model.lm_head.weight is model.model.embed_tokens.weight
        assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_held_is_afterwards_bit_for_bit_as_before(fails: bool, tiny_bert: Path) -> None:
    model = adapted(bert(tiny_bert), "lora")
    layers = [module for module in model.modules() if hasattr(module, "cast_input_dtype_enabled")]
    layers[0].cast_input_dtype_enabled = False
    before = {name: (value.data_ptr(), value.clone()) for name, value in model.state_dict().items()}
    with compute.held(model, "bf16"):
        assert not any(layer.cast_input_dtype_enabled for layer in layers)
        assert torch.bfloat16 in {value.dtype for value in model.parameters()}
    if fails:
        with pytest.raises(KeyboardInterrupt), compute.held(model, "bf16"):
            raise KeyboardInterrupt
    assert [layer.cast_input_dtype_enabled for layer in layers] == [False] + [True] * (len(layers) - 1)
    for name, value in model.state_dict().items():
        assert value.dtype == before[name][1].dtype
        assert torch.equal(value, before[name][1])
        assert value.data_ptr() == before[name][0]


def test_what_is_settled_stays_so_when_measured(tiny_bert: Path) -> None:
    model = adapted(bert(tiny_bert), "lora")
    compute.settle(model, "bf16")
    before = {name: value.dtype for name, value in model.named_parameters()}
    with compute.held(model, "bf16"):
        pass
    assert {name: value.dtype for name, value in model.named_parameters()} == before
    assert not any(getattr(module, "cast_input_dtype_enabled", False) for module in model.modules())


def test_in_float32_nothing_is_rounded(tiny_bert: Path) -> None:
    model = adapted(bert(tiny_bert), "lora")
    plain = copy.deepcopy(model)
    compute.settle(model, "fp32")
    with compute.held(model, "fp32"):
        assert {value.dtype for value in model.parameters()} == {torch.float32}
    loss, gradients = step(model, "fp32")
    expected, theirs = step(plain, "fp32")
    assert loss == expected
    assert all(torch.equal(gradients[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm((5, 8)),
        nn.LayerNorm(8),
        nn.GroupNorm(5, 5),
        nn.BatchNorm1d(5),
        nn.Conv1d(5, 5, 3),
        nn.TransformerEncoderLayer(8, 2, batch_first=True),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
        nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("trained", ["nothing", "vectors"])
def test_frozen_layers_of_pytorch_take_float32_and_bf16(layer: nn.Module, trained: str) -> None:
    layer = copy.deepcopy(layer)
    for value in layer.parameters():
        value.requires_grad_(trained == "vectors" and value.dim() == 1)
    compute.settle(layer, "bf16")
    for dtype in (torch.float32, torch.bfloat16):
        inputs = torch.randn(3, 5, 8, dtype=dtype, requires_grad=True)
        with compute.autocast(CPU, "bf16"):
            output = layer(inputs)
        output.float().square().sum().backward()
        assert inputs.grad is not None
        assert inputs.grad.isfinite().all()


def _with_dropout() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Dropout1d(0.5), nn.Dropout(0.0))
    compute.fit_cpu(model, "fp32")
    return model


def test_swapped_dropout_is_on_in_training_and_off_otherwise() -> None:
    model = _with_dropout()
    assert [isinstance(module, nn.Dropout) for module in model] == [False, True, False, True]
    values = torch.ones(100, 100)
    assert model[1].eval()(values) is values
    assert float((model[1].train()(values) == 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    model[1].p = 0.0
    assert torch.equal(model[1](values), values)
    compute.fit_cpu(model, "fp32")
    assert "p=0.0" in repr(model[1])


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_a_model_with_swapped_dropout_can_be_copied_and_saved_whole(way: str) -> None:
    model = _with_dropout().eval()
    model[1].p = 0.25
    model[1].register_forward_hook(_count)
    other: Any
    if way == "deepcopy":
        other = copy.deepcopy(model)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    values = torch.ones(4, 8)
    assert torch.equal(other(values), model(values))
    assert (other[1].p, other[1].training, len(other[1]._forward_hooks)) == (0.25, False, 1)
    other.train()
    assert float((other[1](torch.ones(100, 100)) == 0).float().mean()) == pytest.approx(0.25, abs=0.05)
    compute.fit_cpu(other, "fp32")
    assert type(other[1]) is type(model[1])


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_network_computes_in_float32_on_any_processor(layer: Any) -> None:
    model = layer(8, 4, num_layers=2, batch_first=True, bidirectional=True)
    values = torch.randn(2, 3, 8)
    expected = model(values)[0]
    compute.fit_cpu(model, "bf16")
    for one in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        compute.fit_cpu(one, "bf16")
        with compute.autocast(CPU, "bf16"):
            assert torch.equal(one(values)[0], expected)


def _count(*_: Any) -> None:
    """A hook that can be pickled."""


def test_checkpointed_activations_are_computed_again_with_the_same_dropout(tiny_bert: Path) -> None:
    model, _ = manager.load_task("bert-imdb").load_model(tiny_bert, ["a", "b"])
    compute.settle(model, "bf16")
    found = []
    for checkpointed in (False, True):
        model.zero_grad()
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(3)
        found.append({name: value.clone() for name, value in step(model)[1].items()})
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name
