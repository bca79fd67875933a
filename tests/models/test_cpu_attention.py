"""Attention by matrix products: what the fused kernel gives, to the rounding of bf16, and nothing broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tests.conftest import FAMILIES
from zoo.models import cpu_attention
from zoo.plugins import manager

Mask = Callable[[int, int], Tensor | None]


class Module(nn.Module):
    """What transformers hands over as the calling layer."""

    def __init__(self, groups: int = 1, **attributes: bool):
        super().__init__()
        self.num_key_value_groups = groups
        for name, value in attributes.items():
            setattr(self, name, value)


def _padding(queries: int, keys: int) -> Tensor:
    seen = torch.ones(2, 1, 1, keys, dtype=torch.bool)
    seen[1, ..., keys - 2 :] = False
    return seen


def _causal_padding(queries: int, keys: int) -> Tensor:
    causal = torch.ones(queries, keys, dtype=torch.bool).tril(max(0, keys - queries))
    return causal & _padding(queries, keys).flip(-1) | torch.eye(queries, keys, dtype=torch.bool)


def _additive(queries: int, keys: int) -> Tensor:
    return torch.randn(2, 1, queries, keys, generator=torch.Generator().manual_seed(5)).bfloat16()


MASKS: dict[str, Mask] = {
    "none": lambda queries, keys: None,
    "padding": _padding,
    "padding, expanded": lambda queries, keys: _padding(queries, keys).expand(2, 1, queries, keys),
    "padding, written out": lambda queries, keys: _padding(queries, keys).repeat(1, 1, queries, 1),
    "added": _additive,
    "added, by head": lambda queries, keys: _additive(queries, keys).repeat(1, 8, 1, 1) * 0.5,
    "added, expanded": lambda queries, keys: _additive(1, keys).expand(2, 1, queries, keys),
    "added, float32": lambda queries, keys: torch.where(_padding(queries, keys), 0.0, -3.4e38),
    "minus infinity": lambda queries, keys: torch.where(_padding(queries, keys), 0.0, float("-inf")),
    "causal with padding": _causal_padding,
}


def drawn(
    queries: int = 7, keys: int = 7, heads: int = 8, kv_heads: int = 8, width: int = 16, dtype: Any = None
) -> list[Tensor]:
    pick = torch.Generator().manual_seed(0)
    shapes = ((2, heads, queries, 16), (2, kv_heads, keys, 16), (2, kv_heads, keys, width))
    return [
        torch.randn(shape, generator=pick).to(dtype or torch.bfloat16).requires_grad_() for shape in shapes
    ]


def with_gradients(call: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The output, and the gradient of each input for one and the same gradient of the output."""
    inputs = [value.detach().clone().requires_grad_() for value in inputs]
    output = call(*inputs)
    given = torch.randn(output.shape, generator=torch.Generator().manual_seed(9)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, given)]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    """Within some roundings of bf16 (8 bits) of the largest value."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.isfinite().all()
        assert float((one.float() - other.float()).abs().max()) <= 0.02 * float(other.float().abs().max())


def exact(mask: Tensor | None, **settings: Any) -> Callable[..., Tensor]:
    """PyTorch's own attention, in float32."""

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        added = mask if mask is None or mask.dtype == torch.bool else mask.float()
        result: Tensor = scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=added, enable_gqa=True, **settings
        )
        return result.transpose(1, 2)

    return call


def ours(mask: Tensor | None, module: nn.Module | None = None, **settings: Any) -> Callable[..., Tensor]:
    module = module or Module(is_causal=False)

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return cpu_attention.attend(module, query, key, value, mask, **settings)[0]

    return call


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each call that goes on to the fused kernel."""
    from transformers.integrations import sdpa_attention

    calls: list[str] = []
    forward = sdpa_attention.sdpa_attention_forward

    def count(*args: Any, **settings: Any) -> Any:
        calls.append("fused")
        return forward(*args, **settings)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", count)
    return calls


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (1, 7), (3, 7), (7, 4)])
@pytest.mark.parametrize("kv_heads", [8, 2, 1])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_it_is_the_attention_of_pytorch_forward_and_backward(
    mask: Mask, kv_heads: int, queries: int, keys: int, fused: list[str]
) -> None:
    inputs, given = drawn(queries, keys, kv_heads=kv_heads), mask(queries, keys)
    assert_close(with_gradients(ours(given), inputs), with_gradients(exact(given), inputs))
    assert not fused


@pytest.mark.parametrize("width", [4, 40])
def test_values_may_have_another_width_than_keys(width: int) -> None:
    inputs = drawn(width=width)
    assert_close(with_gradients(ours(None), inputs), with_gradients(exact(None), inputs))


def test_the_scale_is_taken() -> None:
    inputs = drawn()
    assert_close(
        with_gradients(ours(None, scaling=0.7), inputs), with_gradients(exact(None, scale=0.7), inputs)
    )


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (1, 7), (3, 7), (7, 4)])
@pytest.mark.parametrize("kv_heads", [8, 2])
@pytest.mark.parametrize(
    ("attributes", "settings"),
    [
        ({"is_causal": True}, {}),
        ({"is_causal": False}, {}),
        ({}, {}),
        ({"is_causal": False}, {"is_causal": True}),
        ({"is_causal": True}, {"is_causal": False}),
    ],
)
def test_without_a_mask_causality_is_what_transformers_takes_it_for(
    attributes: dict[str, bool], settings: dict[str, bool], kv_heads: int, queries: int, keys: int
) -> None:
    """Whether the layer says so, the call does, or nobody; and whichever of queries and keys are more."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    module, inputs = Module(8 // kv_heads, **attributes), drawn(queries, keys, kv_heads=kv_heads)

    def theirs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output: Tensor = sdpa_attention_forward(module, query, key, value, None, **settings)[0]
        return output

    assert_close(with_gradients(ours(None, module, **settings), inputs), with_gradients(theirs, inputs))


@pytest.mark.parametrize("nothing", [False, float("-inf"), torch.finfo(torch.float32).min])
@pytest.mark.parametrize("expanded", [True, False])
def test_a_row_that_sees_nothing_is_finite_and_does_not_touch_the_others(
    nothing: float, expanded: bool
) -> None:
    rows = 1 if expanded else 7
    mask = torch.full((2, 1, rows, 7), True if nothing is False else 0.0)
    mask[1, :, 0] = nothing
    mask = mask.expand(2, 1, 7, 7)
    inputs = drawn()
    output, *gradients = with_gradients(ours(mask), inputs)
    assert output.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    whole = with_gradients(ours(None), inputs)[0]
    torch.testing.assert_close(output[0], whole[0])
    if not expanded:
        torch.testing.assert_close(output[1, 1:], whole[1, 1:])


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_float32_goes_to_the_fused_kernel_as_it_is(mask: Mask, fused: list[str]) -> None:
    given = mask(7, 7)
    if given is not None and given.dtype != torch.bool:
        given = given.float()
    inputs = drawn(dtype=torch.float32)
    found = with_gradients(ours(given), inputs)

    def theirs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output: Tensor = scaled_dot_product_attention(query, key, value, attn_mask=given)
        return output.transpose(1, 2)

    expected = with_gradients(theirs, inputs)
    assert fused
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_scores_that_would_take_much_memory_go_to_the_fused_kernel(
    fused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = drawn()
    monkeypatch.setattr(cpu_attention, "MOST_BYTES", 2 * 8 * 7 * 7 * 2)
    ours(None)(*inputs)
    assert not fused
    monkeypatch.setattr(cpu_attention, "MOST_BYTES", 2 * 8 * 7 * 7 * 2 - 1)
    assert_close([ours(None)(*inputs).detach()], [exact(None)(*inputs).detach()])
    assert fused


def test_one_query_for_the_whole_batch_goes_to_the_fused_kernel(fused: list[str]) -> None:
    """Learned queries, as some image models pool with."""
    query, key, value = (given.detach() for given in drawn())
    found = ours(None)(query[:1], key, value)
    assert_close([found], [exact(None)(query[:1].expand(2, -1, -1, -1), key, value)])
    assert fused


def test_a_learned_bias_gets_its_gradient() -> None:
    inputs = drawn()
    for shape in ((1, 8, 7, 7), (1, 1, 1, 7)):
        bias = torch.randn(shape).bfloat16().requires_grad_()
        gradients = []
        for of in (ours, exact):
            output = of(bias.expand(-1, -1, 7, -1))(*inputs)
            gradients.append(torch.autograd.grad(output.float().square().sum(), bias)[0])
        assert_close(gradients[:1], gradients[1:])


def test_dropout_zeroes_weights_and_keeps_the_mean() -> None:
    query, key = torch.zeros(4, 8, 64, 16).bfloat16(), torch.zeros(4, 8, 64, 16).bfloat16()
    value = torch.eye(64).bfloat16().expand(4, 8, 64, 64)  # the output is the weights
    torch.manual_seed(0)
    weights = ours(None, dropout=0.25)(query, key, value)
    assert float((weights == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(weights.float().mean()) == pytest.approx(1 / 64, rel=0.02)


def _classifier(folder: Path) -> Any:
    return manager.load_task("bert-imdb").load_model(folder, ["a", "b"])[0].eval()


def _llama(cls: str, **settings: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        num_attention_heads=8,
        num_key_value_heads=2,
        num_hidden_layers=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.2,
        **settings,
    )
    return getattr(transformers, cls)(config).eval()


@pytest.fixture
def clip(tiny_models: dict[str, Path]) -> Any:
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(tiny_models["clip"]).eval()


def tokens(side: str = "right") -> dict[str, Tensor]:
    ids = torch.randint(3, 50, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    if side != "none":
        mask[1, 5:] = 0
    if side == "left":
        mask = mask.flip(-1)
    return {"input_ids": ids * mask, "attention_mask": mask}


def answers(model: Any, inputs: dict[str, Tensor], among: Tensor | None) -> list[Tensor]:
    """Logits (of the tokens `among` which they count) and the gradient of every weight, in bf16."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**inputs)
    logits = (outputs.logits if hasattr(outputs, "logits") else outputs.logits_per_image).float()
    if among is not None:
        logits = logits[among]
    logits.square().sum().backward()
    gradients = [value.grad.flatten() for value in model.parameters() if value.grad is not None]
    return [logits.detach(), torch.cat(gradients)]


def assert_same_answers(model: Any, inputs: dict[str, Tensor], among: Tensor | None = None) -> None:
    """With the matrix products as near to exact arithmetic as with the fused kernel."""
    other = copy.deepcopy(model)
    cpu_attention.use(other)
    assert other.config._attn_implementation == cpu_attention.NAME
    for one, theirs in zip(answers(other, inputs, among), answers(model, inputs, among), strict=True):
        assert one.isfinite().all()
        assert float((one - theirs).norm()) <= 0.03 * float(theirs.norm())


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_give_the_logits_and_gradients_of_the_fused_kernel(
    family: str, tiny_models: dict[str, Path], fused: list[str]
) -> None:
    assert_same_answers(_classifier(tiny_models[family]), tokens())


@pytest.mark.parametrize("side", ["left", "right", "none"])
@pytest.mark.parametrize("cls", ["LlamaForCausalLM", "LlamaForSequenceClassification"])
def test_decoders_give_the_logits_and_gradients_of_the_fused_kernel(cls: str, side: str) -> None:
    inputs = tokens(side)
    # outputs at padding have no meaning
    among = inputs["attention_mask"].bool() if cls == "LlamaForCausalLM" else None
    if side == "none":
        del inputs["attention_mask"]  # that the layer is causal is all that says so
    assert_same_answers(_llama(cls), inputs, among)


@pytest.mark.parametrize("cache", [{}, {"cache_implementation": "static"}], ids=["growing", "static"])
@pytest.mark.parametrize("side", ["none", "left"])
def test_every_word_generated_with_a_cache_is_the_best_without_one(side: str, cache: dict[str, Any]) -> None:
    """The best to the rounding of bf16: a tie may go either way, so the words themselves may differ."""
    exact = _llama("LlamaForCausalLM", bos_token_id=1, eos_token_id=None)
    model = copy.deepcopy(exact).to(torch.bfloat16)
    inputs = tokens(side) if side == "left" else {"input_ids": tokens()["input_ids"][:1]}
    cpu_attention.use(model)
    words = model.generate(**inputs, max_new_tokens=8, do_sample=False, disable_compile=True, **cache)
    start = inputs["input_ids"].shape[1]
    assert words.shape[1] == start + 8
    mask = torch.ones_like(words)
    mask[:, :start] = inputs.get("attention_mask", mask[:, :start])
    with torch.no_grad():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = exact(words, attention_mask=mask, position_ids=positions).logits[:, start - 1 : -1]
    chosen = logits.gather(-1, words[:, start:, None])[..., 0]
    assert float((logits.amax(-1) - chosen).max()) < 0.1 * float(logits.std())


def test_clip_gives_the_logits_and_gradients_of_the_fused_kernel_in_both_towers(clip: Any) -> None:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert_same_answers(clip, {**tokens(), "pixel_values": pixels})
    cpu_attention.use(clip)
    cpu_attention.use(clip)  # twice is once
    used = {clip.text_model.config._attn_implementation, clip.vision_model.config._attn_implementation}
    assert used == {cpu_attention.NAME}


def test_a_saved_config_does_not_name_it(clip: Any, tiny_bert: Path, tmp_path: Path) -> None:
    for model in (_classifier(tiny_bert), clip, _llama("LlamaForCausalLM")):
        cpu_attention.use(model)
        model.save_pretrained(tmp_path)
        assert cpu_attention.NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")
        assert cpu_attention.NAME not in json.dumps(model.config.to_dict(), default=str)


def test_a_model_or_a_part_with_other_attention_is_left_alone(clip: Any, tiny_bert: Path) -> None:
    model = _classifier(tiny_bert)
    model.set_attn_implementation("eager")
    cpu_attention.use(model)
    assert model.config._attn_implementation == "eager"
    clip.set_attn_implementation({"text_config": "eager"})
    cpu_attention.use(clip)
    assert clip.text_model.config._attn_implementation == "eager"
    assert clip.vision_model.config._attn_implementation == cpu_attention.NAME


def test_a_model_that_is_not_of_transformers_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.MultiheadAttention(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cpu_attention.use(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
