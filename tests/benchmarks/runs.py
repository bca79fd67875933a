"""Runs `zoo train` for the benchmarks: in a process of its own, or in this one up to the training."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import BASE, DATA, ZOO

if TYPE_CHECKING:
    from zoo.plugins.run import Run

Figures = dict[str, float]


class ProcessError(Exception):
    """A contender failed; the message is the last line that it printed."""


def zoo_train(
    method: str, rows: int, *options: object, epochs: float = 1, eval_rows: int, registry: Path | None = None
) -> dict[str, Any]:
    """The record of `zoo train METHOD bert-imdb` in its own process, by default with a registry of its own.

    Raises:
        ProcessError: it failed.
    """
    command = [ZOO, "train", method, "bert-imdb", "--base", BASE, "--data", DATA, "--json"]
    limits = ("--limit", rows, "--eval-limit", eval_rows, "--epochs", epochs)
    with tempfile.TemporaryDirectory() as fresh:
        env = {"ZOO_REGISTRY": str(registry or fresh)}
        record: dict[str, Any] = json.loads(output([*command, *map(str, (*limits, *options))], env))
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
        printed = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise ProcessError(f"exit {done.returncode}: {printed[-1][:300]}")
    return done.stdout


def in_turn(
    contenders: Mapping[str, Callable[[], Figures]], rounds: int
) -> tuple[dict[str, list[Figures]], dict[str, Figures]]:
    """Every contender's figures, round after round, so that a machine whose speed drifts drifts for all.

    Returns:
        the figures of each round, and their medians, by contender.
    """
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            figures = run()
            found[name].append(figures)
            shown = ", ".join(f"{key} {value:,.2f}" for key, value in figures.items())
            print(f"round {number + 1}/{rounds} {name}: {shown}", file=sys.stderr, flush=True)
    return found, {name: medians(figures) for name, figures in found.items()}


def medians(rounds: Sequence[Figures]) -> Figures:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def captured(registry: Path, *, method: str = "lora", limit: int = 400) -> tuple[Run, Any]:
    """The Run that `zoo train` hands to `zoo_train`, and the hooks that would take it from there.

    Asked of the real pipeline, so that whatever it does to a model before training is done here too; its
    files go to `registry`, a folder that must outlive the run.
    """
    from unittest.mock import patch

    import zoo
    from zoo.adapters import forward
    from zoo.plugins import manager
    from zoo.training import trainer

    class Captured(Exception):  # noqa: N818
        pass

    @zoo.hookimpl
    def zoo_train(run: Run) -> None:
        raise Captured(run)

    spec = zoo.AdapterSpec(
        method=method, task="bert-imdb", base=BASE, data=DATA, limit=limit, epochs=1.0, eval_limit=20
    )
    try:
        with patch.object(trainer, "zoo_train", zoo_train):
            zoo.train(spec, zoo.Registry(registry / "registry.json"))
    except Captured as found:
        run: Run = found.args[0]
        return run, manager.hooks(run.method, run.task, trainer, forward)
    raise RuntimeError("the pipeline did not come to its training")
