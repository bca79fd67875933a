"""Parses arguments, times commands in turn, prints tables, and saves JSON with the machine that ran it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.runtime.device import cpu_name

PEER = 'python -c "import click"'
ZOO = str(Path(sys.executable).with_name("zoo"))
BASE = "pip:sentence-transformers/all-MiniLM-L6-v2"
DATA = "pip:stanfordnlp/imdb"
"""Named, so that a machine which reaches the Hub measures the same model and rows."""
_LIBRARIES = ("adapter-zoo", "peft", "torch", "transformers")
_PATHS = ("--json", "--adapterhub-venv")


def parser(doc: str | None, rounds: int | None = 3) -> argparse.ArgumentParser:
    """`--json FILE`, and unless `rounds` is None `--rounds` with that default."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help="each times everything once, in turn")
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def measure(
    commands: Mapping[str, Sequence[str]],
    rounds: int,
    env: Mapping[str, str],
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, float]:
    """Median wall seconds of each command over `rounds`, after one round that is not counted.

    The commands are run in turn, so that a machine whose speed drifts drifts for all. `before` is what to do
    first, not timed, each time that a command runs.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            if before and name in before:
                before[name]()
            start = time.perf_counter()
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def measure_beside_click(
    commands: Mapping[str, Sequence[str]],
    rounds: int,
    env: Mapping[str, str],
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, float]:
    """As `measure`, in turn with `python -c "import click"`; prints the medians beside its own."""
    medians = measure({PEER: [sys.executable, "-c", "import click"], **commands}, rounds, env, before)
    print_table(
        ("command", "seconds", "ratio", "more"),
        [
            (name, f"{seconds:.3f}", f"{seconds / medians[PEER]:.2f}", f"{seconds - medians[PEER]:+.3f}")
            for name, seconds in medians.items()
        ],
    )
    return medians


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns: the first to the left, the numbers to the right."""
    lines = [[str(value) for value in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *values in lines:
        cells = [f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True)]
        print("  ".join([f"{name:{widths[0]}}", *cells]), flush=True)


def save(path: Path | None, **results: Any) -> None:
    """Write the results with the command, the machine and the versions; paths are left out."""
    if path is None:
        return
    arguments = [
        argument
        for before, argument in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False)
        if before not in _PATHS and argument not in _PATHS
    ]
    content = {
        "command": shlex.join(["python", f"tests/benchmarks/{Path(sys.argv[0]).name}", *arguments]),
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
        "versions": {name: version(name) for name in _LIBRARIES},
        **results,
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
