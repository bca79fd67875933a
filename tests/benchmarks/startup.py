"""How long the command line takes to answer, beside `python -c "import click"` in the same run.

    python tests/benchmarks/startup.py [--adapters 200] [--runs 15] [--json FILE]

The commands are run in turn, one round after another, so that a machine whose speed drifts drifts for all;
the table gives medians and ratios to the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from records import make_record

from zoo.registry import dump

PEER = 'python -c "import click"'


def write_registry(folder: Path, adapters: int) -> Path:
    """A registry.json of that many records, as `zoo registry rebuild` would write it."""
    names = [f"adapter-{number:06}" for number in range(adapters)]
    path = folder / "registry.json"
    path.write_bytes(dump({"schema": 1, "adapters": {name: make_record(name) for name in names}}))
    return path


def measure(commands: dict[str, list[str]], runs: int, env: dict[str, str]) -> dict[str, float]:
    """Median wall seconds of each command over `runs` rounds, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, words in commands.items():
            start = time.perf_counter()
            subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapters", type=int, default=200)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    zoo = str(Path(sys.executable).with_name("zoo"))
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "ZOO_REGISTRY": str(write_registry(Path(folder), asked.adapters))}
        commands = {
            PEER: [sys.executable, "-c", "import click"],
            "zoo --help": [zoo, "--help"],
            "zoo list": [zoo, "list"],
            "zoo list --base X": [zoo, "list", "--base", "bert-base-cased"],
            "zoo show NAME": [zoo, "show", "adapter-000000"],
            "zoo methods": [zoo, "methods"],
        }
        medians = measure(commands, asked.runs, env)
    print(f"{asked.adapters} adapters, median of {asked.runs} runs")
    for name, seconds in medians.items():
        print(f"{name:28} {seconds:7.3f} s  {seconds / medians[PEER]:5.2f} x")
    if asked.json:
        asked.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
