"""An adapter that nothing is wrong with, made without a model: for tests of what notices damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.records import make_base, make_record
from zoo.cards import render
from zoo.models.fingerprint import LocalWeights, file_ids
from zoo.models.hash_cache import sha256
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import Registry

HEAD = ("base_model.model.classifier.weight", "base_model.model.classifier.bias")
LORA = tuple(f"base_model.model.bert.encoder.layer.0.attention.self.query.lora_{one}.weight" for one in "AB")


def save_tensors(path: Path, names: tuple[str, ...]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({name: np.ones((2, 2), dtype=np.float32) for name in names}, path)


def local_base(folder: Path) -> BaseId:
    """A folder as the base that it is now."""
    return make_base(
        id=f"local:{folder.name}",
        source="local",
        location=f"path:{folder}",
        config_sha256=sha256(folder / "config.json"),
        weights=LocalWeights(folder).weights,
        revision=None,
    )


def add_sound(
    registry: Registry,
    base: BaseId,
    name: str = "mine",
    *,
    tensors: tuple[str, ...] = (*HEAD, *LORA),
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> AdapterRecord:
    made = registry.work_folder(name) / "made"
    made.mkdir(parents=True)
    save_tensors(made / "adapter_model.safetensors", tensors)
    settings = {"peft_type": "LORA", "task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}
    (made / "adapter_config.json").write_text(json.dumps(config or settings), encoding="utf-8")
    record = msgspec.structs.replace(make_record(name, base=base, files=file_ids(made)), **changes)
    (made / render.FILE).write_text(render.render(record), encoding="utf-8")
    record = registry.add(record, made)
    made.parent.rmdir()
    return record
