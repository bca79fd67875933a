"""What the benchmarks share: the machine in words, timing in turn, tables and JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.runtime.device import cpu_name


def describe_machine(torch_version: str | None = None) -> dict[str, Any]:
    """What a number means nothing without. Torch's version is asked for, not imported."""
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return {**found, "torch": torch_version} if torch_version else found


def measure(
    commands: Mapping[str, Sequence[str]],
    runs: int,
    env: Mapping[str, str],
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, float]:
    """Median wall seconds of each command over `runs` rounds, after one that is not counted.

    The commands are run in turn, so that a machine whose speed drifts drifts for all. `before` is what to do
    first, not timed, each time that a command runs.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, words in commands.items():
            if before and name in before:
                before[name]()
            seconds = time_once(words, env)
            if number:
                times[name].append(seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def time_once(words: Sequence[str], env: Mapping[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns: the first to the left, the numbers to the right."""
    lines = [[str(value) for value in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *values in lines:
        cells = [f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True)]
        print("  ".join([f"{name:{widths[0]}}", *cells]))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
