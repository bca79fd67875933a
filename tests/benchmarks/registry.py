"""How long `zoo list` and `zoo show` take over small and large registries.

    python tests/benchmarks/registry.py [--adapters 200 10000 100000] [--runs 5] [--json FILE]

A fifth of the adapters is of the base that is asked for. The commands are run in turn with
`python -c "import click"`; the table gives medians, ratios to it, and seconds more than it: for `zoo list` of
10,000 adapters at most 0.3 on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from common import describe_machine, measure, print_table, write_json
from startup import PEER, write_registry

from tests.records import make_base, make_metric, make_record
from zoo.registry.schema import AdapterRecord

IDS = (
    "google-bert/bert-base-cased",
    "FacebookAI/roberta-base",
    "distilbert/distilbert-base-uncased",
    "microsoft/deberta-v3-base",
    "sentence-transformers/all-MiniLM-L6-v2",
)
METHODS = ("lora", "head", "full")
TASKS = ("bert-imdb", "sst2")


def varied(name: str) -> AdapterRecord:
    """A record whose base, method, task and metrics depend on its number."""
    number = int(name.rpartition("-")[2])
    made = make_record(name)
    base = number % len(IDS)
    value = 0.5 + number % 997 / 2000
    return msgspec.structs.replace(
        made,
        base=make_base(id=IDS[base], weights={"model.safetensors": f"{base:064}"}),
        spec=msgspec.structs.replace(
            made.spec, method=METHODS[number % len(METHODS)], task=TASKS[number % len(TASKS)]
        ),
        metrics=[make_metric(metric, value) for metric in ("accuracy", "f1", "mcc")],
    )


def measure_registry(adapters: int, runs: int) -> dict[str, float]:
    """Median wall seconds of each command over a registry of that many adapters."""
    zoo = str(Path(sys.executable).with_name("zoo"))
    with tempfile.TemporaryDirectory() as folder:
        path = write_registry(Path(folder), adapters, varied)
        env = {**os.environ, "ZOO_REGISTRY": str(path), "ZOO_CACHE": str(Path(folder) / "cache")}
        commands = {
            PEER: [sys.executable, "-c", "import click"],
            "zoo list --base X": [zoo, "list", "--base", "bert-base-cased"],
            "zoo list": [zoo, "list"],
            "zoo show NAME": [zoo, "show", f"adapter-{adapters // 2:06}"],
        }
        return measure(commands, runs, env)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapters", type=int, nargs="+", default=[200, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = {}
    for adapters in asked.adapters:
        medians = found[str(adapters)] = measure_registry(adapters, asked.runs)
        print(f"{adapters:,} adapters, median of {asked.runs} runs")
        print_table(
            ("command", "seconds", "ratio", "more"),
            [
                (name, f"{seconds:.3f}", f"{seconds / medians[PEER]:.2f}", f"{seconds - medians[PEER]:+.3f}")
                for name, seconds in medians.items()
            ],
        )
        print(flush=True)
    if asked.json:
        write_json(asked.json, {"machine": describe_machine(), "runs": asked.runs, "seconds": found})


if __name__ == "__main__":
    main()
