"""A dry run and the run refuse the same with the same sentence, and cheaply: before torch is imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.records import add_record
from zoo.registry.store import Registry

_BOTH = """
import contextlib, io, json, sys, time
from zoo.cli import main

found = []
for more in json.loads(sys.argv[1]):
    start, err, sys.argv = time.process_time(), io.StringIO(), ["zoo", *more]
    code = 0
    with contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    found.append((code, err.getvalue(), time.process_time() - start))
print(json.dumps([found, "torch" in sys.modules]))
"""
_SECONDS = 1.5


def both(*commands: list[str], **options: Any) -> list[tuple[int, str, float]]:
    """(exit code, stderr, seconds of the processor) of each command, all in one process without torch."""
    done = subprocess.run(
        [sys.executable, "-c", _BOTH, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        **options,
    )
    assert done.returncode == 0, done.stderr
    found, torch = json.loads(done.stdout.splitlines()[-1])
    assert not torch, "torch was imported"
    return [(code, err, seconds) for code, err, seconds in found]


class Place:
    """Bases, rows and a registry with the adapter `mine`."""

    def __init__(self, models: dict[str, Path], rows: Path, folder: Path):
        self.models, self.rows, self.folder = models, rows, folder
        self.registry = Registry(folder / "registry" / "registry.json")
        add_record(self.registry, "mine")

    def changed(self, family: str, *without: str, **config: object) -> Path:
        base = shutil.copytree(self.models[family], self.folder / "changed")
        for name in without:
            (base / name).unlink(missing_ok=True)
        told = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(told | config))
        return base

    def empty(self) -> Path:
        folder = self.folder / "empty"
        folder.mkdir()
        return folder


def _no_template(place: Place) -> Path:
    base = place.changed("llama", "chat_template.jinja")
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    return base


CASES: dict[str, tuple[int, str, Callable[[Place], list[object]]]] = {
    "a name already taken": (2, "already called 'mine'", lambda _: ["--name", "mine"]),
    "a name with ../": (2, "'../evil' cannot name an adapter", lambda _: ["--name", "../evil"]),
    "a missing data file": (3, "nope.csv' not found", lambda at: ["--data", at.folder / "nope.csv"]),
    "a missing data file, and a missing base": (
        3,
        "nope.csv' not found",
        lambda at: ["--data", at.folder / "nope.csv", "--base", at.folder / "nowhere"],
    ),
    "missing held-out rows": (3, "nope.csv' not found", lambda at: ["--eval-data", at.folder / "nope.csv"]),
    "a folder without tables": (3, "holds no data file", lambda at: ["--data", at.empty()]),
    "a column that is not there": (2, "no column 'review'", lambda _: ["--text-column", "review"]),
    "resume without a checkpoint": (3, "no interrupted run of", lambda _: ["--name", "new", "--resume"]),
    "more tokens than positions": (2, "--max-length 4096 is more than", lambda _: ["--max-length", "4096"]),
    "a CLIP base for a text": (
        5,
        "is a clip model, and bert-imdb needs a text encoder",
        lambda at: ["--base", at.models["clip"]],
    ),
    "a base without weights": (
        3,
        "no *.safetensors weights",
        lambda at: ["--base", at.changed("bert", "model.safetensors")],
    ),
    "an unknown parameter": (2, "Did you mean 'alpha'?", lambda _: ["-s", "alfa=1"]),
    "a rank above the matrix": (5, "rank 4096 is above the ", lambda _: ["-s", "r=4096"]),
    "a BERT base for chat": (
        5,
        "is a bert model, and tinyllama-chat needs a language model",
        lambda at: ["tinyllama-chat", "--base", at.models["bert"]],
    ),
    "a chat base without a template": (
        5,
        "has no chat template",
        lambda at: ["tinyllama-chat", "--base", _no_template(at)],
    ),
}  # fmt: skip
"""What is refused -> (exit code, part of the sentence, what is added to a good command)."""


@pytest.fixture
def place(
    tiny_models: dict[str, Path], reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    made = Place(tiny_models, reviews_csv, tmp_path)
    monkeypatch.setenv("ZOO_REGISTRY", str(made.registry.path))
    return made


def command(place: Place, more: list[object]) -> list[str]:
    task = "tinyllama-chat" if "tinyllama-chat" in more else "bert-imdb"
    words: list[object] = ["train", "lora", task, "--base", place.models["bert"], "--data", place.rows]
    return [str(word) for word in words + [word for word in more if word != task]]


@pytest.mark.parametrize(("code", "sentence", "more"), CASES.values(), ids=CASES)
def test_a_dry_run_and_the_run_refuse_alike_and_without_torch(
    code: int, sentence: str, more: Callable[[Place], list[object]], place: Place
) -> None:
    words = command(place, more(place))
    dry, run = both([*words, "--dry-run"], words)
    assert dry[0] == run[0] == code, (dry, run)
    assert sentence in run[1]
    assert dry[1].replace(" --dry-run", "") == run[1]
    assert dry[2] < _SECONDS


def without_override() -> None:
    """Root writes anywhere by one capability: a child that gives it up is held to permissions like others."""
    import ctypes

    drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(drop, override, 0, 0, 0)


def unprivileged() -> dict[str, Any]:
    """Options of `subprocess.run` under which a read-only folder is read-only."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions of POSIX")
    if os.geteuid() != 0:
        return {}
    if sys.platform != "linux":
        pytest.skip("root writes anywhere, and only Linux lets it give that up")
    return {"preexec_fn": without_override}


def test_a_read_only_registry_is_refused_alike_without_torch_and_still_read(place: Place) -> None:
    options = unprivileged()
    words = command(place, ["--name", "new"])
    below = [place.registry.path.parent, *place.registry.path.parent.rglob("*")]
    try:
        for path in below:
            path.chmod(0o555 if path.is_dir() else 0o444)
        probe = [sys.executable, "-c", f"open({str(below[0] / 'probe')!r}, 'w')"]
        if subprocess.run(probe, capture_output=True, check=False, **options).returncode == 0:
            pytest.skip("root writes anywhere here and cannot give that up")
        others = (["rm", "mine", "--yes"], ["list"])
        dry, run, removed, listed = both([*words, "--dry-run"], words, *others, **options)
    finally:
        for path in below:
            path.chmod(0o755)
    assert (dry[0], dry[1].replace(" --dry-run", "")) == run[:2]
    assert run[0] == 1
    assert "cannot be written" in run[1]
    assert "base:" not in run[1]
    assert (removed[0], "cannot be written" in removed[1], listed[0]) == (1, True, 0)


def test_a_missing_gallery_is_refused_before_anything_is_loaded(place: Place) -> None:
    ((code, err, seconds),) = both(["predict", "mine", "a red square", "--gallery", "nowhere"])
    assert (code, seconds < _SECONDS) == (3, True)
    assert "there is no folder 'nowhere'" in err


def test_a_base_of_a_kind_that_transformers_does_not_know_for_the_task_is_no_unexpected_error(
    zoo: Callable[..., Any], place: Place
) -> None:
    base = place.changed("bert", model_type="whisper", architectures=["WhisperModel"])
    done = zoo(*command(place, ["--base", base]), "--precision", "fp32")
    assert done.code == 5, done.err
    assert "transformers has no such model of type 'whisper'" in done.error
