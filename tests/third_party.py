"""Third-party adapters: PEFT's config, safetensors weights of the right shapes, and no record."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import SHARED
from tests.hub.local_hub import LocalHub
from zoo.models.safetensors_header import read_header

WILD = SHARED / "adapters_in_the_wild"
PREFIX = "base_model.model."
ROBERTA_HEAD = {"classifier.dense": (32, 32), "classifier.out_proj": (2, 32)}
BERT_HEAD = {"classifier": (2, 32)}
CONFIG = {
    "peft_type": "LORA",
    "task_type": "SEQ_CLS",
    "base_model_name_or_path": "bert-base-cased",
    "revision": None,
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.05,
    "target_modules": ["query", "value"],
    "modules_to_save": ["classifier", "score"],
    "inference_mode": True,
}


def lora_weights(
    base: Path,
    config: Mapping[str, Any],
    *,
    body: str = "bert.",
    head: Mapping[str, tuple[int, int]] = BERT_HEAD,
) -> bytes:
    """LoRA for every matrix of `base` that the config targets, drawn at random.

    Args:
        body: what the model with a head calls the part that the base's checkpoint holds.
    """
    draw = np.random.default_rng(0)
    tensors = {}
    for name, info in read_header(base / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if module == name or module.rpartition(".")[2] not in config["target_modules"]:
            continue
        outward, inward = info.shape
        for part, shape in (("lora_A", (config["r"], inward)), ("lora_B", (outward, config["r"]))):
            tensors[f"{PREFIX}{body}{module}.{part}.weight"] = draw.normal(size=shape, scale=0.1)
    for module, shape in head.items():
        tensors[f"{PREFIX}{module}.weight"] = draw.normal(size=shape)
        tensors[f"{PREFIX}{module}.bias"] = np.zeros(shape[0])
    assert tensors
    content: bytes = save(
        {name: value.astype(np.float32) for name, value in tensors.items()}, {"format": "pt"}
    )
    return content


def adapter_files(base: Path, **changes: Any) -> dict[str, bytes]:
    config = {**CONFIG, **changes}
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": lora_weights(base, config),
    }


def put_down(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub that the client of this process talks to, with its caches in a folder of the test."""
    from huggingface_hub import constants
    from huggingface_hub.utils._http import close_session

    with LocalHub(tmp_path / "hub", tokens={"hf_mine": "me"}) as served:
        # the template was made of the endpoint that the environment named at import
        template = f"{served.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1,localhost")
        close_session()
        yield served
    close_session()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were to be waited, and are not; the local Hub's own threads wait for none."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: found.append(seconds) if seconds else None)
    return found
