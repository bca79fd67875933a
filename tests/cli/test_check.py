"""`zoo check`: fits, exit codes, candidates, and speed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import Result
from tests.records import make_base, make_record
from zoo.models.fingerprint import identify
from zoo.plugins.source import resolve
from zoo.registry.schema import UNKNOWN
from zoo.registry.store import Registry, dump
from zoo.runtime.console import Report
from zoo.testing import save_tiny_model

WEIGHTS = "adapter_model.safetensors"
Run = Callable[..., Result]


def fill(folder: Path, hidden: int = 32, layers: int = 2, **config: Any) -> Path:
    """A LoRA on the queries of a BERT, as PEFT saves it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"peft_type": "LORA", "r": 4, "target_modules": ["query"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = {}
    for layer in range(layers):
        at = f"base_model.model.bert.encoder.layer.{layer}.attention.self.query"
        tensors[f"{at}.lora_A.weight"] = np.zeros((4, hidden), np.float32)
        tensors[f"{at}.lora_B.weight"] = np.zeros((hidden, 4), np.float32)
    save_file(tensors, folder / WEIGHTS)
    return folder


def register(registry: Registry, name: str, base: Path, **sizes: int) -> None:
    found = identify(resolve(f"path:{base}", (), "base", Report()))
    made = fill(registry.work_folder(name) / "made", **sizes)
    registry.add(make_record(name, base=found), made)


def rows(result: Result) -> list[list[str]]:
    return [line.split("\t") for line in result.out.splitlines()[1:]]


def test_every_registered_adapter_is_checked_on_its_own_base(
    zoo: Run, registry: Registry, tiny_bert: Path
) -> None:
    register(registry, "one", tiny_bert)
    register(registry, "two", tiny_bert)
    done = zoo("check")
    assert done.code == 0
    assert [(row[0], row[2]) for row in rows(done)] == [("one", "exact"), ("two", "exact")]


def test_an_adapter_that_does_not_fit_ends_with_5_and_says_why(
    zoo: Run, registry: Registry, tiny_bert: Path
) -> None:
    register(registry, "wide", tiny_bert, hidden=64)
    done = zoo("check", "--json")
    assert done.code == 5
    (line,) = done.json
    assert line["fit"] == "does not fit"
    assert line["detail"].startswith("hidden 64 != 32 (bert.encoder.layer.0.attention.self.query.")


def test_a_base_that_is_named_is_checked_and_no_other(
    zoo: Run, registry: Registry, tiny_bert: Path, tmp_path: Path
) -> None:
    register(registry, "one", tiny_bert)
    other = shutil.copytree(tiny_bert, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: one + np.float32(1) for name, one in tensors.items()}, other / "model.safetensors")
    done = zoo("check", "one", "--base", other)
    assert done.code == 0
    assert [row[2] for row in rows(done)] == ["fits"]
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    assert [row[2] for row in rows(zoo("check", "one", "--base", copy))] == ["exact"]


def test_without_a_base_every_known_one_is_tried(
    zoo: Run, registry: Registry, tiny_bert: Path, tiny_models: dict[str, Path]
) -> None:
    register(registry, "one", tiny_bert)
    register(registry, "of-roberta", tiny_models["roberta"])
    done = zoo("check", "one", "--json")
    found = {Path(line["base"].removeprefix("path:")): line for line in done.json}
    assert done.code == 0
    assert found[tiny_bert]["fit"] == "exact"
    assert found[tiny_bert]["is_own"]
    assert found[tiny_models["roberta"]]["detail"] == "made for a bert, and this is a roberta"


def test_an_orphan_is_told_which_bases_it_fits(
    zoo: Run, registry: Registry, tiny_bert: Path, tmp_path: Path
) -> None:
    register(registry, "one", tiny_bert)
    orphan = fill(tmp_path / "orphan", base_model_name_or_path="/home/someone/models/bert")
    done = zoo("check", orphan, "--json")
    assert done.code == 0
    own, *others = done.json
    assert (own["fit"], own["is_own"]) == ("unknown", True)
    assert "/home/someone/models/bert" in own["detail"]
    assert f"path:{tiny_bert}" in [line["base"] for line in others if line["fit"] == "fits"]
    made = fill(registry.work_folder("lost") / "made")
    registry.add(make_record("lost", base=make_base(id=UNKNOWN, location="", weights={})), made)
    assert "nobody recorded its base" in zoo("check", "lost").out


def test_what_nothing_here_fits_ends_with_3(zoo: Run, registry: Registry, tmp_path: Path) -> None:
    orphan = fill(tmp_path / "orphan", hidden=7777)
    done = zoo("check", orphan)
    assert done.code == 3
    assert rows(done)[0][1:3] == ["", "unknown"]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\0" * 40, "header is not JSON"),
    ],
)
def test_damaged_weights_are_a_line_of_their_own_and_stop_nothing(
    content: bytes, detail: str, zoo: Run, registry: Registry, tiny_bert: Path
) -> None:
    register(registry, "bad", tiny_bert)
    register(registry, "good", tiny_bert)
    (registry.adapter_folder("bad") / WEIGHTS).write_bytes(content)
    done = zoo("check")
    assert done.code == 5
    assert [row[2] for row in rows(done)] == ["does not fit", "exact"]
    assert detail in rows(done)[0][4]


def test_names_that_are_nothing_are_not_found(zoo: Run, tmp_path: Path, tiny_bert: Path) -> None:
    assert zoo("check", "nothing").code == 3
    assert "holds no adapter" in zoo("check", tmp_path).error
    folder = fill(tmp_path / "adapter")
    done = zoo("check", folder, "--base", "google-bert/bert-base-cased")
    assert done.code == 3
    assert "is not on this machine" in done.error


def test_untrusted_text_moves_no_cursor(zoo: Run, tiny_bert: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "adapter")
    save_file({"base_model.model.\x1b[2J.x.lora_A.weight": np.zeros((1, 1))}, folder / WEIGHTS)
    done = zoo("check", folder, "--base", tiny_bert)
    assert done.code == 5
    assert "\x1b" not in done.out + done.err


def test_a_thousand_adapters_are_checked_at_once_and_without_torch(tmp_path: Path) -> None:
    """How long that takes is for tests/benchmarks/checking.py."""
    base = save_tiny_model("bert", tmp_path / "base")
    registry = Registry(tmp_path / "registry.json")
    register(registry, "first", base)
    first = registry.get("first")
    template = registry.adapter_folder("first")
    records = {}
    for number in range(1_000):
        name = f"adapter-{number:04}"
        shutil.copytree(template, registry.adapter_folder(name))
        records[name] = msgspec.structs.replace(first, name=name)
    registry.path.write_bytes(dump({"schema": 1, "adapters": records}))
    code = (
        "import sys; sys.argv = ['zoo', 'check', '--registry', sys.argv[1]]\n"
        "from zoo.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(sorted({'torch', 'transformers', 'peft', 'pandas', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(registry.path)], capture_output=True, text=True, check=True
    )
    _, *found, heavy = done.stdout.splitlines()
    assert [line.split("\t")[2] for line in found] == ["exact"] * 1_000
    assert heavy == "[]"
