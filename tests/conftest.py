"""What the tests share, beside the fixtures that the zoo gives everybody (zoo/testing/fixtures.py)."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["COLUMNS"] = "200"
if "PYTEST_XDIST_WORKER" in os.environ:  # a thread a worker: tiny models have no use for more
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests import warm_process
from tests.json_schemas import check_json
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry
from zoo.testing import ENCODERS
from zoo.testing import reviews as reviews
from zoo.testing import write_csv as write_csv

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
"""Data and models that are not part of the project: a test that needs them skips without."""
FAMILIES = ENCODERS
"""The families that every text task knows."""


_seen_modules = 0


def pytest_runtest_setup() -> None:
    """Keep the garbage collector off what imports hold: each training asks for a collection, of .4 s."""
    global _seen_modules
    if len(sys.modules) > _seen_modules + 100:
        _seen_modules = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry" / "registry.json")


def tiny_spec(
    method: str, base: Path, data: Path, *, task: str = "bert-imdb", **settings: Any
) -> AdapterSpec:
    """A run of a second that learns something."""
    quick = {"epochs": 1.0, "batch_tokens": 128, "precision": "fp32"}
    return AdapterSpec(method=method, task=task, base=str(base), data=str(data), **{**quick, **settings})


@pytest.fixture(scope="session")
def trained_bert(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """`lora`, `head` and `full` on `base/` in the registry's folder. A test that changes them copies it."""
    from zoo.training import pipeline

    folder = tmp_path_factory.mktemp("trained")
    base = shutil.copytree(tiny_models["bert"], folder / "base")
    data = write_csv(folder / "reviews.csv", reviews())
    registry = Registry(folder / "registry.json")
    for method in ("lora", "head", "full"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ZOO_CACHE", str(folder / "cache"))
            pipeline.train(tiny_spec(method, base, data, name=method, learning_rate=0.01), registry)
    return registry


@pytest.fixture
def tiny_bert(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["bert"]


@pytest.fixture
def still_bert(tiny_bert: Path, tmp_path: Path) -> Path:
    """A BERT without any dropout, not even in the head: what is left to differ is the order of sums."""
    folder = shutil.copytree(tiny_bert, tmp_path / "still-bert")
    path = folder / "config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "hidden_dropout_prob": 0.0}
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where indexes go: never the cache folder of who runs the tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def config_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where defaults are read from: never what who runs the tests has set."""
    from zoo.runtime import config

    for key in set(config.SETTINGS) - {"registry"}:
        monkeypatch.delenv(config.variable(key), raising=False)
    file = tmp_path / "config" / "config.toml"
    monkeypatch.setenv("ZOO_CONFIG", str(file))
    return file


class Result:
    """What a command did, as a person sees it."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """The `Error:` line, or nothing."""
        return next((line for line in self.err.splitlines() if line.startswith("Error:")), "")

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def zoo(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """Run `zoo ARGS...` in this process with its own registry: quick, once torch is imported.

    What it prints with --json must be what its schema says, whatever the test is about.
    """
    from zoo.cli import main

    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry" / "registry.json"))

    def run(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, args)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # main has stopped listening
        out, err = capfd.readouterr()
        check_json(sys.argv[1:], out)
        return Result(code, out, err)

    return run


def run_process(
    *args: object,
    env: Mapping[str, str | None] | None = None,
    cwd: object = None,
    fresh: bool = False,
    **options: Any,
) -> Result:
    """Run `python -m zoo ARGS...` as a process of its own, without the variables that `env` has as None.

    `fresh` starts a new interpreter, which is slow: for tests of what is imported.
    """
    settings = {name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None}
    words, folder = list(map(str, args)), str(cwd or Path.cwd())
    if not fresh and not options:
        result = Result(*warm_process.run(words, settings, folder))
    else:
        command = [sys.executable, "-m", "zoo", *words]
        more = {"capture_output": True, "text": True, "timeout": 300, "check": False, **options}
        done = subprocess.run(command, env=settings, cwd=folder, **more)
        result = Result(done.returncode, done.stdout, done.stderr)
    check_json(words, result.out)
    return result
