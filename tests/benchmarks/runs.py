"""What the training benchmarks share: `zoo train` in a process of its own, a Run built in this one, JSON."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import describe_machine, write_json

if TYPE_CHECKING:
    from zoo.plugins.run import Run

BASE = "pip:sentence-transformers/all-MiniLM-L6-v2"
DATA = "pip:stanfordnlp/imdb"
"""Named, so that a machine which reaches the Hub measures the same model and rows."""
_PATHS = ("--json", "--adapterhub-venv")

Figures = dict[str, float]


class ProcessError(Exception):
    """A contender failed; the message is the last thing it said."""


def parser(doc: str | None, rounds: int | None = 3) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        made.add_argument(
            "--rounds", type=int, default=rounds, help="each runs every contender once, in turn"
        )
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def zoo_command() -> str:
    return str(Path(sys.executable).with_name("zoo"))


def zoo_train(*words: str, registry: Path | None = None) -> dict[str, Any]:
    """The record of `zoo train WORDS` in its own process, by default with a fresh registry of its own.

    Raises:
        ProcessError: it failed.
    """
    command = [zoo_command(), "train", *words, "--base", BASE, "--data", DATA, "--json"]
    with tempfile.TemporaryDirectory() as fresh:
        record: dict[str, Any] = json.loads(output(command, {"ZOO_REGISTRY": str(registry or fresh)}))
    return record


def json_line(command: Sequence[str]) -> dict[str, Any]:
    """The last line that a process prints, which is JSON."""
    found: dict[str, Any] = json.loads(output(command).strip().splitlines()[-1])
    return found


def output(command: Sequence[str], extra: Mapping[str, str] | None = None) -> str:
    """
    Raises:
        ProcessError: it failed.
    """
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **(extra or {})}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ProcessError(str(error)) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise ProcessError(f"exit {done.returncode}: {said[-1][:300]}")
    return done.stdout


def in_turn(contenders: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Every contender's figures, round after round, so that a machine whose speed drifts drifts for all."""
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            figures = run()
            found[name].append(figures)
            said = ", ".join(f"{key} {value:,.2f}" for key, value in figures.items())
            print(f"round {number + 1}/{rounds} {name}: {said}", file=sys.stderr, flush=True)
    return found


def medians(rounds: Sequence[Figures]) -> Figures:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("adapter-zoo", "peft", "torch", "transformers")}


def save(path: Path | None, **found: Any) -> None:
    """Write what was found, with what it means nothing without. Paths of this machine are left out."""
    if path is None:
        return
    words: list[str] = []
    for before, word in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False):
        if before not in _PATHS and word not in _PATHS:
            words.append(word)
    command = shlex.join(["python", f"tests/benchmarks/{Path(sys.argv[0]).name}", *words])
    known = versions()
    write_json(
        path, {"command": command, "machine": describe_machine(known["torch"]), "versions": known, **found}
    )


def captured(
    registry: Path, *, method: str = "lora", limit: int = 400, epochs: float = 1.0
) -> tuple[Run, Any]:
    """The Run that `zoo train` hands to `zoo_train`, and the hooks that would take it from there.

    Asked of the real pipeline, so that whatever it does to a model before training is done here too; its
    files go to `registry`, a folder that must outlive the run.
    """
    from unittest.mock import patch

    from zoo.plugins import manager
    from zoo.registry.schema import AdapterSpec
    from zoo.registry.store import Registry
    from zoo.training.pipeline import train

    real_hooks = manager.hooks

    class Captured(Exception):  # noqa: N818
        pass

    class Hooks:
        def __init__(self, *made: Any):
            self._real = real_hooks(*made)

        def zoo_evaluate(self, *, run: Run) -> Any:
            return self._real.zoo_evaluate(run=run)

        def zoo_train(self, *, run: Run) -> Any:
            raise Captured(run, self._real)

    spec = AdapterSpec(
        method=method, task="bert-imdb", base=BASE, data=DATA, limit=limit, epochs=epochs, eval_limit=20
    )
    with patch.object(manager, "hooks", Hooks):
        try:
            train(spec, Registry(registry / "registry.json"))
        except Captured as found:
            run, hooks = found.args
            return run, hooks
    raise RuntimeError("the pipeline did not come to its training")
