"""Whether an adapter's head and files are there: one answer, whichever command asks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import Result, reviews, tiny_spec, write_csv
from tests.records import copy_registry, make_record
from zoo.adapters.integrity import changed_files, missing_head
from zoo.models.fingerprint import file_ids, identify
from zoo.plugins.source import resolve
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.training import pipeline

WEIGHTS = "adapter_model.safetensors"
LORA = ["base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"]
HEADED = [*LORA, "base_model.model.classifier.weight"]
SEQ_CLS = {"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}


@pytest.fixture(scope="module")
def trained(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A LoRA on a DistilBERT, whose head is two modules."""
    folder = tmp_path_factory.mktemp("trained")
    registry = Registry(folder / "registry" / "registry.json")
    rows = write_csv(folder / "reviews.csv", reviews())
    pipeline.train(
        tiny_spec("lora", tiny_models["distilbert"], rows, name="mine", learning_rate=0.01), registry
    )
    return registry


@pytest.mark.parametrize("lost", [[], ["pre_classifier"], ["classifier"], ["classifier", "pre_classifier"]])
def test_check_and_doctor_say_of_a_head_of_two_modules_what_loading_does(
    lost: list[str], trained: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    registry = copy_registry(trained, tmp_path / "registry")
    folder = registry.adapter_folder("mine")
    tensors = load_file(folder / WEIGHTS)
    kept = {name: one for name, one in tensors.items() if not any(f".{part}." in name for part in lost)}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
    files = {name: one for name, one in file_ids(folder).items() if name in registry.get("mine").files}
    registry.replace(msgspec.structs.replace(registry.get("mine"), files=files))
    loads = zoo("predict", "mine", "a fine film")
    checked, diagnosed = zoo("check", "mine"), zoo("doctor", "--fast")
    assert loads.code == (5 if lost else 0), loads.err
    assert checked.code == loads.code
    assert ("its head is missing" in diagnosed.out) is bool(lost)
    for part in lost:
        assert part in loads.error or len(lost) > 1
        assert part in checked.out
        assert part in diagnosed.out


def test_a_head_that_the_base_has_itself_is_not_missed(
    trained: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    """On a base that classifies, PEFT saves the classifier and leaves the layer before it to the base."""
    from zoo.plugins import manager

    task = manager.load_task("bert-imdb")
    base = Path(trained.get("mine").base.location.removeprefix("path:"))
    model, _ = task.load_model(base, ["a", "b"])
    whole = tmp_path / "whole"
    shutil.copytree(base, whole)
    model.save_pretrained(str(whole))
    made = tmp_path / "registry" / ".work" / "mine" / "made"
    shutil.copytree(trained.adapter_folder("mine"), made)
    tensors = {k: v for k, v in load_file(made / WEIGHTS).items() if ".pre_classifier." not in k}
    save_file(tensors, made / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((made / "adapter_config.json").read_text(encoding="utf-8"))
    config["modules_to_save"] = ["classifier", "score"]
    (made / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    registry = Registry(tmp_path / "registry" / "registry.json")
    found = identify(resolve(f"path:{whole}", (), "base", Report()))
    files = {name: one for name, one in file_ids(made).items() if name.startswith("adapter")}
    registry.add(msgspec.structs.replace(trained.get("mine"), base=found, files=files), made)
    assert zoo("check", "mine").code == 0
    assert "its head is missing" not in zoo("doctor", "--fast").out


@pytest.mark.parametrize(
    ("model_type", "config", "tensors", "base", "missing"),
    [
        ("bert", SEQ_CLS, LORA, (), ["classifier"]),
        ("bert", {**SEQ_CLS, "modules_to_save": None}, LORA, (), ["classifier"]),
        ("bert", {**SEQ_CLS, "modules_to_save": ["classifier", "pooler"]}, HEADED, (), ["pooler"]),
        ("bert", SEQ_CLS, HEADED, (), []),
        ("bert", SEQ_CLS, [*LORA, "base_model.model.classifier.lora_A.weight"], (), ["classifier"]),
        ("bert", SEQ_CLS, LORA, ("classifier",), []),
        ("roberta", SEQ_CLS, ["classifier.dense.weight"], (), ["classifier.out_proj"]),
        ("new-family", SEQ_CLS, LORA, (), ["classifier", "score"]),
        ("new-family", SEQ_CLS, ["score.weight"], (), []),
        ("llama", {"task_type": "CAUSAL_LM", "modules_to_save": ["lm_head"]}, LORA, (), ["lm_head"]),
        ("llama", {"modules_to_save": ["lm_head"]}, [*LORA, "base_model.model.lm_head.weight"], (), []),
        ("llama", {"task_type": "CAUSAL_LM", "modules_to_save": None}, LORA, (), []),
        ("llama", {"task_type": ["junk"], "modules_to_save": "junk"}, LORA, (), []),
    ],
)
def test_a_head_is_missing_that_neither_the_adapter_nor_the_base_has(
    model_type: str, config: dict[str, Any], tensors: list[str], base: tuple[str, ...], missing: list[str]
) -> None:
    assert missing_head(tensors, config, model_type, base) == missing


def test_files_are_gone_changed_or_only_of_their_size(tmp_path: Path) -> None:
    for name in ("kept", "changed", "gone"):
        (tmp_path / name).write_bytes(b"content")
    record = make_record(files=file_ids(tmp_path))
    (tmp_path / "changed").write_bytes(b"contenT")
    (tmp_path / "gone").unlink()
    assert changed_files(record, tmp_path) == (["gone"], ["changed"])
    assert changed_files(record, tmp_path, fast=True) == (["gone"], [])
    (tmp_path / "changed").write_bytes(b"other content")
    assert changed_files(record, tmp_path, fast=True) == (["gone"], ["changed"])
