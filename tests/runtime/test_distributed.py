"""Several processes on one run: each sees its share, one writes, and the adapter is that of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.registry.store import Registry
from zoo.runtime import distributed

WORDS = ("--epochs", "2", "--batch-tokens", "64", "--precision", "fp32", "--limit", "44", "--json")


def train(
    base: Path, data: Path, registry: Path, *more: str, processes: int = 1
) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [
        sys.executable,
        *(launcher if processes > 1 else ()),
        "-m",
        "zoo",
        "train",
        "lora",
        "bert-imdb",
    ]
    return subprocess.run(
        [*command, "--base", str(base), "--data", str(data), *WORDS, *more],
        env={**os.environ, "ZOO_REGISTRY": str(registry), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_one_process_is_the_main_one_and_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (
        distributed.world_size(),
        distributed.is_main(),
        distributed.any_process(True),
        distributed.any_process(False),
    ) == (1, True, True, False)
    assert distributed.gather([1, 2]) == [1, 2]
    distributed.barrier()


def test_two_processes_make_the_adapter_of_one_that_accumulates_two_batches(
    still_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    params = ("-s", "dropout=0", "--name", "mine")
    both = train(still_bert, reviews_csv, tmp_path / "two" / "registry.json", *params, processes=2)
    assert both.returncode == 0, both.stderr[-3000:]
    alone = train(
        still_bert, reviews_csv, tmp_path / "one" / "registry.json", *params, "--gradient-accumulation", "2"
    )
    assert alone.returncode == 0, alone.stderr[-3000:]
    ours, theirs = json.loads(both.stdout), json.loads(alone.stdout)  # one record: one process prints
    assert list(Registry(tmp_path / "two" / "registry.json").records()) == ["mine"]
    assert ours["training"]["steps"] == theirs["training"]["steps"] == 10  # of an even number of batches
    assert [metric["n"] for metric in ours["metrics"]] == [metric["n"] for metric in theirs["metrics"]]
    found, expected = (
        load_file(tmp_path / run / "adapters" / "mine" / "adapter_model.safetensors")
        for run in ("two", "one")
    )
    assert max(float((found[name] - expected[name]).abs().max()) for name in found) < 1e-4
    assert both.stderr.count("registered 'mine'") <= 1
