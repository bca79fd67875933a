"""How long `zoo check` takes for every adapter of a registry, each with files of its own, on a packaged base.

    python tests/benchmarks/checking.py [--adapters 1000] [--rounds 5] [--json FILE]

The commands are run in turn with `python -c "import click"`; the table gives medians and ratios to it. Where
there are "no hashes yet", the base's are computed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec
from common import BASE, DATA, ZOO, measure_beside_click, parser, save

from zoo.registry.store import Registry

COLD = "zoo check, no hashes yet"
ON = ("--base", BASE, "--data", DATA, "--limit", "64", "--eval-limit", "64", "--epochs", "1")


def fill(registry: Registry, adapters: int, env: dict[str, str]) -> None:
    """One adapter is trained; the others are copies under names of their own."""
    subprocess.run([ZOO, "train", "lora", "bert-imdb", "--name", "first", *ON], env=env, check=True)
    first = registry.get("first")
    for number in range(1, adapters):
        name = f"adapter-{number:05}"
        made = registry.work_folder(name) / "made"
        shutil.copytree(registry.adapter_folder("first"), made)
        registry.add(msgspec.structs.replace(first, name=name), made)


def main() -> None:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--adapters", type=int, default=1000)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        registry = Registry(Path(folder) / "registry.json")
        env = {**os.environ, "ZOO_REGISTRY": str(registry.path), "ZOO_CACHE": str(cache)}
        fill(registry, asked.adapters, env)
        commands = {
            COLD: [ZOO, "check"],
            "zoo check": [ZOO, "check"],
            "zoo check first": [ZOO, "check", "first"],
            "zoo show first": [ZOO, "show", "first"],
        }
        print(f"{asked.adapters:,} adapters, median of {asked.rounds} rounds")
        forget = {COLD: lambda: shutil.rmtree(cache, ignore_errors=True)}
        medians = measure_beside_click(commands, asked.rounds, env, forget)
    save(asked.json, seconds=medians)


if __name__ == "__main__":
    main()
