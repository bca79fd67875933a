"""Safetensors, indexes of weights, configs of models, GGUF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import contents, edited, json_contents
from zoo.adapters import probe
from zoo.adapters.compat.base_shapes import read_base
from zoo.models import families, fingerprint, safetensors_header
from zoo.plugins.source import Resolved
from zoo.tasks.causal_lm.chat_template import has_template

HEADER = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
}
DATA = bytes(range(24))
CONFIG = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "id2label": {"0": "no", "1": "yes"},
    "quantization_config": {"bits": 4, "quant_method": "gptq"},
    "text_config": {"hidden_size": 16},
}
INDEX = {
    "metadata": {"total_size": 24},
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
}


def whole(header: bytes, data: bytes = DATA) -> bytes:
    """A safetensors file."""
    return len(header).to_bytes(8, "little") + header + data


def headers() -> Any:
    """Files whose length fits their header, whatever that is, and files of damaged bytes."""
    written = whole(json.dumps(HEADER).encode())
    return json_contents(HEADER).map(whole) | contents(written, whole(b"{}", b""), b"PK\3\4", b"\x80\2")


@fuzz(headers())
def test_a_header_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    tensors = survives(lambda: safetensors_header.read_header(path))
    for read in (
        safetensors_header.metadata,
        safetensors_header.check_finite,
        safetensors_header.digests,
        safetensors_header.tensor_hashes,
    ):
        survives(read, path)
    if tensors is not None:
        from safetensors.numpy import load_file

        assert (
            set(load_file(path)) == set(tensors)
            if all(one.dtype in ("F32", "F16") for one in tensors.values())
            else tensors is not None
        )


@fuzz(
    headers()
    | edited({"examples": None, "names": "x"}).map(
        lambda told: whole(
            json.dumps({**HEADER, "__metadata__": {probe._METADATA: json.dumps(told)}}).encode()
        )
    )
)
def test_a_probe_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / probe.FILE).write_bytes(content)
    survives(lambda: probe.read(tmp_path))


@fuzz(json_contents(INDEX), json.dumps({"weight_map": {"a": "a" * 3000 + ".safetensors"}}).encode())
def test_an_index_of_weights_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content)
    survives(lambda: fingerprint.read_index(path))
    survives(lambda: fingerprint.has_weights(tmp_path))
    survives(lambda: fingerprint.LocalWeights(tmp_path).tensors_sha256)


@fuzz(
    json_contents(CONFIG, {**CONFIG, "model_type": "llama"}, {"model_type": "clip", "vision_config": {}}),
    b'{"model_type": []}',
    b'{"architectures": 1.5}',
    b'{"model_type": "\\ud800"}',
    b"[" * 100_000,
    b"9" * 5000,
)
def test_the_config_of_a_base_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    config = survives(lambda: fingerprint.read_config(tmp_path))
    found = Resolved(kind="base", id="local:x", source="local", location="path:x", path=tmp_path)
    base = survives(lambda: fingerprint.identify(found))
    if base is not None:
        assert json.loads(dumped(base))["model_type"] == base.model_type
    read_base.cache_clear()
    shapes = survives(lambda: read_base(tmp_path))
    if shapes is not None:
        assert survives(lambda: (shapes.sizes, shapes.widths, shapes.matrices, shapes.depths)) is not None
    if config is not None:
        survives(lambda: families.kind_of(config))
        survives(lambda: families.family(str(config.get("model_type"))))


@fuzz(json_contents({"chat_template": "{{ messages }}", "model_max_length": 10**30}), b"[" * 100_000)
def test_the_settings_of_a_tokenizer_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    assert survives(lambda: has_template(tmp_path)) is not None


def dumped(base: Any) -> bytes:
    from zoo.registry.store import dump

    return dump(base)


@pytest.fixture(autouse=True)
def _warm() -> None:
    import numpy  # noqa: F401
    import safetensors.numpy  # noqa: F401
