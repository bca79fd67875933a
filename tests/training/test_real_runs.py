"""The packaged base and its reviews: killed and stopped runs, and too little memory. All of it is slow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.records import change_weights
from zoo.errors import ZooError
from zoo.plugins import source
from zoo.registry.store import Registry
from zoo.runtime.console import Report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]
BASE, DATA = "pip:sentence-transformers/all-MiniLM-L6-v2", "pip:stanfordnlp/imdb"
SETTINGS = ["--limit", "120", "--eval-limit", "40", "--epochs", "2", "--precision", "fp32", "--threads", "1"]
WEIGHTS = "adapter_model.safetensors"
GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, which a test may change."""
    try:
        found = source.resolve(BASE, (), "base", Report())
        source.resolve(DATA, (), "data", Report())
    except ZooError as error:
        pytest.skip(f"needs the packaged base and reviews: {error}")
    return Path(shutil.copytree(found.folder, tmp_path_factory.mktemp("real") / "base"))


class Place:
    def __init__(self, folder: Path, base: Path, data: str = DATA):
        self.base, self.data = base, data
        self.registry = Registry(folder / "registry.json")

    def start(self, *words: str, group: Path | None = None) -> subprocess.Popen[str]:
        def enter() -> None:
            if group is not None:
                (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

        command = [sys.executable, "-m", "zoo", *words, "--registry", str(self.registry.path)]
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        pipe: Any = subprocess.PIPE
        return subprocess.Popen(command, env=env, stderr=pipe, stdout=pipe, text=True, preexec_fn=enter)

    def train(self, name: str, *more: str, **options: Any) -> subprocess.Popen[str]:
        words = ["train", "lora", "bert-imdb", "--base", str(self.base), "--data", self.data, *SETTINGS]
        return self.start(*words, "--name", name, *more, **options)

    def runs(self) -> list[dict[str, Any]]:
        if not self.registry.work_folder("").is_dir():
            return []  # no training has come as far
        out, _ = self.start("runs", "--json").communicate(timeout=60)
        found: list[dict[str, Any]] = json.loads(out)
        return found

    def hash(self, name: str) -> str:
        return self.registry.get(name).files[WEIGHTS].sha256


@pytest.fixture(scope="module")
def place(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With an undisturbed run."""
    place = Place(tmp_path_factory.mktemp("registry"), base)
    process = place.train("whole")
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return place


def stop_in_the_second_epoch(place: Place, process: subprocess.Popen[str], number: int) -> tuple[str, int]:
    """Its stderr and exit code."""
    while process.poll() is None:
        time.sleep(0.5)
        alive = [run for run in place.runs() if run["steps"] and run["step"] > run["steps"] / 2 + 1]
        if alive:
            process.send_signal(number)
            break
    _, err = process.communicate(timeout=300)
    return err, process.returncode


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(number: signal.Signals, place: Place) -> None:
    name = number.name.lower()
    err, code = stop_in_the_second_epoch(place, place.train(name), number)
    assert code == (-9 if number == signal.SIGKILL else 128 + number), err
    (run,) = place.runs()
    assert run["status"] == "interrupted"
    assert run["step"] > 0
    process = place.start("resume", name)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert f"resuming from checkpoint-{run['step']}" in err
    assert place.hash(name) == place.hash("whole")


def edit_a_word(place: Place) -> None:
    rows = Path(place.data)
    rows.write_text(rows.read_text(encoding="utf-8").replace(" the ", " that "), encoding="utf-8")


def alter_the_base(place: Place) -> None:
    change_weights(place.base / "model.safetensors", lambda found: found["embeddings.LayerNorm.bias"].add_(1))


CHANGES: dict[str, tuple[Callable[[Place], object], list[str], str]] = {
    "threads": (lambda place: None, ["--threads", "2"], "threads was 1, and is 2"),
    "data": (edit_a_word, [], "the data has other rows than"),
    "base": (alter_the_base, [], "the base has other weights (model.safetensors)"),
}


@pytest.mark.parametrize(("change", "more", "said"), CHANGES.values(), ids=CHANGES)
def test_what_was_changed_meanwhile_is_refused_by_name(
    change: Callable[[Place], object], more: list[str], said: str, base: Path, tmp_path: Path
) -> None:
    reviews = pd.read_csv(source.resolve(DATA, (), "data", Report()).folder)
    reviews[["text", "label"]].sample(2000, random_state=1).to_csv(tmp_path / "rows.csv", index=False)
    place = Place(tmp_path, Path(shutil.copytree(base, tmp_path / "base")), str(tmp_path / "rows.csv"))
    err, code = stop_in_the_second_epoch(place, place.train("mine"), signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, err
    change(place)
    process = place.start("resume", "mine", *more)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 5, err
    assert said in err


@pytest.mark.parametrize("megabytes", [1500, 900, 700])
def test_too_little_memory_is_told_before_the_training(megabytes: int, place: Place) -> None:
    group = GROUPS / f"zoo-{os.getpid()}-{megabytes}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(f"{megabytes}M", encoding="ascii")
    except OSError as error:
        pytest.skip(f"needs a control group of its own: {error}")
    try:
        process = place.train(f"in-{megabytes}", group=group)
        _, err = process.communicate(timeout=1800)
        print(megabytes, process.returncode, err[-1500:])
        assert "Warning: the training is estimated to take" in err
        assert "the control group of this process has" in err
        if process.returncode == 0:
            assert place.registry.get(f"in-{megabytes}").training is not None
    finally:
        time.sleep(1)
        group.rmdir()
