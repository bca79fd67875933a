"""How long the command line takes to answer, beside `python -c "import click"` and others' in the same run.

    python tests/benchmarks/startup.py [--adapters 200] [--runs 15] [--json FILE]

The commands are run in turn, one round after another, so that a machine whose speed drifts drifts for all;
the table gives medians and ratios to the peer. `hf` (of huggingface_hub) and `llm` are timed where they are
on PATH or beside this Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from common import describe_machine, measure, print_table, write_json

from tests.records import make_record
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import dump

PEER = 'python -c "import click"'
OTHERS = ("hf", "llm")


def write_registry(folder: Path, adapters: int, make: Callable[[str], AdapterRecord] = make_record) -> Path:
    """A registry.json of that many records, as `zoo registry rebuild` would have written it an hour ago."""
    names = [f"adapter-{number:06}" for number in range(adapters)]
    path = folder / "registry.json"
    path.write_bytes(dump({"schema": 1, "adapters": {name: make(name) for name in names}}))
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))  # what was written just now is not indexed
    return path


def others() -> Iterator[tuple[str, list[str]]]:
    """`--help` of the command lines that are installed here."""
    for name in OTHERS:
        beside = Path(sys.executable).with_name(name)
        found = str(beside) if beside.is_file() else shutil.which(name)
        if found:
            yield f"{name} --help", [found, "--help"]
        else:
            print(f"not timed: {name} is not installed", file=sys.stderr)


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
        path = write_registry(Path(folder), asked.adapters)
        env = {**os.environ, "ZOO_REGISTRY": str(path), "ZOO_CACHE": str(Path(folder) / "cache")}
        commands = {
            PEER: [sys.executable, "-c", "import click"],
            "zoo --help": [zoo, "--help"],
            "zoo list": [zoo, "list"],
            "zoo list --base X": [zoo, "list", "--base", "bert-base-cased"],
            "zoo show NAME": [zoo, "show", "adapter-000000"],
            "zoo methods": [zoo, "methods"],
            **dict(others()),
        }
        medians = measure(commands, asked.runs, env)
    print(f"{asked.adapters} adapters, median of {asked.runs} runs")
    print_table(
        ("command", "seconds", "ratio"),
        [(name, f"{seconds:.3f}", f"{seconds / medians[PEER]:.2f}") for name, seconds in medians.items()],
    )
    if asked.json:
        write_json(
            asked.json,
            {
                "machine": describe_machine(),
                "adapters": asked.adapters,
                "runs": asked.runs,
                "seconds": medians,
            },
        )


if __name__ == "__main__":
    main()
