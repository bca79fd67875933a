"""Real adapters of each task, trained in one process and reproduced in another with another home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SHARED

pytestmark = pytest.mark.slow
MINILM = "pip:sentence-transformers/all-MiniLM-L6-v2"
SMOLLM = "pip:HuggingFaceTB/SmolLM2-135M-Instruct"
QUICK = "--limit 200 --eval-limit 100 --epochs 1 --threads 1"
TASKS = {
    "bert-imdb": f"--base {MINILM} --max-length 128 {QUICK}",
    "bert-mrpc": f"--base {MINILM} --data {SHARED}/data/mrpc {QUICK}",
    "distilbert-sst2": f"--base {MINILM} --data {SHARED}/data/sst2 {QUICK}",
    "clip-retrieval": f"--base {SHARED}/models/tiny-clip --data {SHARED}/data/fluent {QUICK}",
    "tinyllama-chat": (
        f"--base {SMOLLM} --data {SHARED}/data/chat/instructions.json --max-length 96 --batch-tokens 512 "
        "--limit 16 --eval-limit 4 --epochs 1 --threads 1"
    ),
}


@pytest.mark.parametrize("settings", ["", "--portable --precision auto"])
@pytest.mark.parametrize("task", TASKS)
def test_a_real_adapter_is_reproduced_in_another_home(task: str, settings: str, tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the shared data")

    def run(home: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / home).mkdir()
        kept = {name: value for name, value in os.environ.items() if name != "ZOO_CACHE"}
        env = {**kept, "HOME": str(tmp_path / home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
        command = [sys.executable, "-m", "zoo", *words, "--registry", str(tmp_path / "registry.json")]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)

    trained = run("here", "train", "lora", task, *TASKS[task].split(), *settings.split(), "--name", "one")
    if trained.returncode == 3:
        pytest.skip(trained.stderr.splitlines()[-1])
    assert trained.returncode == 0, trained.stderr
    again = run("elsewhere", "reproduce", "one")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "result\tbit-identical\n" in again.stdout
