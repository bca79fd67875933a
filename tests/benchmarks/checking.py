"""How long `zoo check` takes for every adapter of a registry, each with files of its own, on a packaged base.

    python tests/benchmarks/checking.py [--adapters 1000] [--runs 5] [--json FILE]

The commands are run in turn with `python -c "import click"`; the table gives medians and ratios to it. Where
there are "no hashes yet", the base's are computed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from common import describe_machine, measure, print_table, write_json
from startup import PEER

from zoo.registry.store import Registry

BASE = "pip:sentence-transformers/all-MiniLM-L6-v2"
COLD = "zoo check, no hashes yet"
ON = ("--base", BASE, "--data", "pip:stanfordnlp/imdb")
FEW = ("--limit", "64", "--eval-limit", "64", "--epochs", "1")


def fill(zoo: str, registry: Registry, adapters: int, env: dict[str, str]) -> None:
    """One adapter is trained; the others are copies under names of their own."""
    words = [zoo, "train", "lora", "bert-imdb", "--name", "first", *ON, *FEW]
    subprocess.run(words, env=env, check=True)
    first = registry.get("first")
    for number in range(1, adapters):
        name = f"adapter-{number:05}"
        made = registry.work_folder(name) / "made"
        shutil.copytree(registry.adapter_folder("first"), made)
        registry.add(msgspec.structs.replace(first, name=name), made)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    zoo = str(Path(sys.executable).with_name("zoo"))
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        registry = Registry(Path(folder) / "registry.json")
        env = {**os.environ, "ZOO_REGISTRY": str(registry.path), "ZOO_CACHE": str(cache)}
        fill(zoo, registry, asked.adapters, env)
        commands = {
            PEER: [sys.executable, "-c", "import click"],
            COLD: [zoo, "check"],
            "zoo check": [zoo, "check"],
            "zoo check first": [zoo, "check", "first"],
            "zoo show first": [zoo, "show", "first"],
        }
        found = measure(commands, asked.runs, env, {COLD: lambda: shutil.rmtree(cache, ignore_errors=True)})
    print_table(
        (f"{asked.adapters:,} adapters", "seconds", "ratio"),
        [(name, f"{seconds:.3f}", f"{seconds / found[PEER]:.2f}") for name, seconds in found.items()],
    )
    if asked.json:
        write_json(asked.json, {"machine": describe_machine(), "adapters": asked.adapters, "seconds": found})


if __name__ == "__main__":
    main()
