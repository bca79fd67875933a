"""What others made: adapter_config.json, tokenizers, templates, cards' secrets, file names, pickles."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.harness import Hang, fuzz, survives
from tests.fuzz.inputs import Recipe, contents, damage, edit, json_contents, made, texts
from tests.fuzz.test_models import CONFIG, HEADER, INDEX, whole
from tests.fuzz.test_registry import RECORD
from zoo.adapters import formats
from zoo.adapters.compat import check as compat
from zoo.adapters.compat.base_shapes import read_base
from zoo.adapters.compat.target_modules import names_of_targets, targeted
from zoo.adapters.integrity import missing_head
from zoo.cards.redact import is_hub_id
from zoo.errors import ZooError
from zoo.hub.infer_record import Asserted, infer_record
from zoo.plugins import manager
from zoo.runtime.console import Report
from zoo.security import adapter_config, convert_bin, gates, patterns, remote_code, secrets

ADAPTER = {
    "peft_type": "LORA",
    "task_type": "SEQ_CLS",
    "base_model_name_or_path": "google-bert/bert-base-cased",
    "revision": "0123456789",
    "target_modules": ["query", "value"],
    "modules_to_save": ["classifier", "score"],
    "exclude_modules": None,
    "layers_to_transform": [0, 1],
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "rank_pattern": {"query": 4},
    "alpha_pattern": {},
    "auto_mapping": None,
    "megatron_core": "megatron.core",
    "layer_replication": None,
    "init_lora_weights": True,
    "peft_version": "0.19.0",
    "runtime_config": {"ephemeral_gpu_offload": False},
}
PATTERN = {**ADAPTER, "target_modules": r".*\.(query|value)$", "layers_to_transform": None}
PROMPT = {"peft_type": "P_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 8, "token_dim": 4}
OTHERS = ({"fine_tune_type": "lora", "num_layers": 4}, {"architectures": ["X"], "model_type": "bert"})
LORA_HEADER = {
    "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight": {
        "dtype": "F32", "shape": [1, 3], "data_offsets": [0, 12],
    },
    "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight": {
        "dtype": "F32", "shape": [3, 1], "data_offsets": [12, 24],
    },
}  # fmt: skip
TOKENIZER = {
    "tokenizer_class": "BertTokenizer",
    "chat_template": "{% for one in messages %}{{ one['content'] }}{% endfor %}",
    "vocab_file": "vocab.txt",
    "auto_map": None,
    "added_tokens_decoder": {"0": {"content": "[PAD]", "special": True}},
}
WRONG: tuple[dict[str, Any], ...] = (
    {"target_modules": 5},
    {"target_modules": "a{99999999999}"},
    {"target_modules": "a{" + "9" * 5000 + "}"},
    {"modules_to_save": 1},
)
TEMPLATE = b"{% for m in messages %}{{ m.content }}{% endfor %}{{ x.__class__ }}"


@fuzz(
    json_contents(ADAPTER, PATTERN, PROMPT, *OTHERS),
    *(json.dumps({**ADAPTER, **other}).encode() for other in WRONG),
)
def test_the_config_of_an_adapter_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / gates.CONFIG_FILE
    path.write_bytes(content)
    config = survives(lambda: formats.read_adapter_config(path))
    if config is None:
        return
    modules = {"bert.encoder.layer.0.attention.self.query": {"weight": (4, 4)}, "score": {"weight": (2, 4)}}
    survives(lambda: adapter_config.check_config(config, str(path)))
    survives(lambda: targeted(config, modules))
    survives(lambda: missing_head(["a.query.weight"], config, "bert"))
    survives(lambda: names_of_targets(config))


@fuzz(json_contents(ADAPTER, PATTERN, PROMPT), share=0.2)
def test_an_adapter_that_others_made_is_described_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / gates.CONFIG_FILE).write_bytes(content)
    weights, base = tmp_path / "adapter_model.safetensors", tmp_path.parent / f"{tmp_path.name}-base"
    if not weights.exists():
        weights.write_bytes(whole(json.dumps(LORA_HEADER).encode()))
        base.mkdir()
        (base / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    if survives(lambda: gates.check_incoming(tmp_path)) is not None:
        survives(lambda: infer_record(tmp_path, Asserted(), Report()))
    survives(lambda: compat.check(tmp_path, base))
    config = survives(lambda: formats.read_adapter_config(tmp_path / gates.CONFIG_FILE))
    for _, method, _ in manager.load_all("method") if config is not None else ():
        survives(method.recognise, config)


@fuzz(json_contents(LORA_HEADER, HEADER).map(whole) | json_contents(CONFIG), share=0.2)
def test_an_adapter_is_compared_with_a_base_of_any_shapes(tmp_path: Path, content: bytes) -> None:
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    for folder in (adapter, base):
        folder.mkdir(exist_ok=True)
    (adapter / gates.CONFIG_FILE).write_text(json.dumps(ADAPTER), encoding="utf-8")
    for file in ("model.safetensors", "config.json"):
        (base / file).unlink(missing_ok=True)
    is_config = content[:1] == b"{"
    (base / "config.json").write_bytes(content if is_config else json.dumps(CONFIG).encode())
    weights = whole(json.dumps(LORA_HEADER).encode()) if is_config else content
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    if not is_config:
        (base / "model.safetensors").write_bytes(content)
    read_base.cache_clear()
    survives(lambda: compat.check(adapter, base))


def _folders(recipe: Recipe) -> tuple[str, bytes]:
    """A file of an adapter, and what it holds."""
    name = recipe.one_of((*FILES, "zoo.json"))
    document = FILES.get(name, RECORD)
    if isinstance(document, bytes):
        return name, damage(recipe, document)
    content = json.dumps(edit(recipe, document)).encode()
    return name, damage(recipe, content) if recipe.below(2) else content


FILES: dict[str, Any] = {
    "tokenizer_config.json": TOKENIZER,
    "tokenizer.json": {"model": {"vocab": {"a": 0}}, "added_tokens": []},
    "special_tokens_map.json": {"pad_token": "[PAD]"},
    "model.safetensors.index.json": INDEX,
    "chat_template.jinja": TEMPLATE,
    "vocab.txt": b"[PAD]\n[UNK]\na\n",
    "README.md": b"---\nlicense: mit\n---\n# A card\n",
    "model.safetensors": whole(json.dumps(HEADER).encode()),
    "probe.safetensors": whole(json.dumps(HEADER).encode()),
}


@fuzz(made(_folders))
def test_the_files_of_an_adapter_pass_the_gates_or_not(tmp_path: Path, file: tuple[str, bytes]) -> None:
    name, content = file
    (tmp_path / name).write_bytes(content)
    survives(lambda: gates.check_incoming(tmp_path))
    survives(lambda: gates.outgoing(tmp_path))
    (tmp_path / name).unlink()


@fuzz(texts("adapter_model.safetensors", "model-00001-of-00002.safetensors", "../x", "a/b", "C:x", "con.txt"))
def test_a_file_name_is_taken_or_refused(name: str) -> None:
    survives(lambda: gates.check_file_name(name))
    survives(lambda: gates.incoming([name, "README.md"]))
    survives(lambda: gates.check_not_pickled([name], "zoo search"))
    assert survives(lambda: is_hub_id(name)) in (True, False)


@fuzz(
    texts(
        r".*\.(query|value)$", "(a+)+$", "(a|aa)*b{2,3}(?P<x>c)(?=d)(?(x)e|f)", r"[^\W\d_]{1,30}+", "a{9,}"
    ),
    "a{99999999999}",
    "a{" + "9" * 5000 + "}",
    "(" * 5000,
)
def test_a_pattern_is_quick_or_not(pattern: str) -> None:
    assert survives(lambda: patterns.is_quick(pattern)) in (True, False)
    survives(lambda: targeted({"target_modules": pattern}, {"bert.encoder.layer.0.query": {}}))


SECRETS = (
    "export HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz and sk-ant-REDACTED",
    "eyJabcdefghijkl.eyJabcdefghijkl.abcdefghijklmnop https://me:password@example.org/?sig=abc&token=x",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\x1b[31mred\x1b]8;;http://x\x07link \x9b2J",
    'api_key: "abcdefghijklmnopqrstuv" WANDB_API_KEY=0123456789012345678901234567890123456789',
)


@fuzz(
    contents(*(one.encode() for one in SECRETS), *(4_000 // len(one) * one.encode() for one in SECRETS)),
    b"eyJ-" * 16_000,
)
def test_secrets_are_found_and_removed(content: bytes) -> None:
    survives(lambda: secrets.secret_in(content))
    text = content.decode("utf-8", "replace")
    hidden = secrets.redact(text)
    assert secrets.redact(hidden) == hidden
    clean = secrets.clean(text)
    assert secrets.clean(clean) == clean


@fuzz(
    contents(b"hf_abcdefghijklmnop\n", b"[default]\nhf_token = hf_abcdefghijklmnop\n[other]\nhf_token = x\n"),
    b"a" * 100_000,
)
def test_the_file_of_tokens_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_bytes(content)
    assert survives(secrets._own) is not None


@fuzz(json_contents(TOKENIZER), b'{"vocab_file": "~nobody/x"}')
def test_a_json_file_of_a_tokenizer_is_harmless_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer_config.json"
    path.write_bytes(content)
    survives(lambda: remote_code.check_json(path))


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ...]:
    """Small files as torch writes them now and as it once did."""
    import torch

    folder = tmp_path_factory.mktemp("pickled")
    tensors = {"a.weight": torch.arange(4.0).reshape(2, 2), "b": torch.ones(3, dtype=torch.bfloat16)}
    torch.save(tensors, folder / "new.bin")
    torch.save(tensors, folder / "old.bin", _use_new_zipfile_serialization=False)
    return (folder / "new.bin").read_bytes(), (folder / "old.bin").read_bytes()


@fuzz(made(lambda recipe: Recipe(recipe.rest())))
def test_pickled_weights_are_converted_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pickled: tuple[bytes, ...], recipe: Recipe
) -> None:
    """In this process, which torch's own reader of plain tensors may do; the product starts one for it."""

    def refuse(why: str) -> Any:
        raise ZooError(why)

    monkeypatch.setattr(convert_bin, "_refuse", refuse)
    path = tmp_path / "adapter_model.bin"
    path.write_bytes(damage(recipe, recipe.one_of((*pickled, b"\x80\2}q\0.", b"\x80\2cos\nsystem\n."))))
    with suppress(Hang):  # torch searches its own message slowly; a process apart ends at its limit
        survives(lambda: convert_bin._flat(convert_bin._load(path), path.stat().st_size))
