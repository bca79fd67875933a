"""How long the command line takes to answer, with small and large registries.

    python tests/benchmarks/startup.py [--adapters 200 10000 100000] [--rounds 5] [--json FILE]

A fifth of the adapters is of the base that is asked for. The commands are run in turn with
`python -c "import click"`; the table gives medians, ratios to it, and seconds more than it: for `zoo list` of
10,000 adapters at most 0.3 on a quiet machine. `hf` (of huggingface_hub) and `llm` are timed too where they
are on PATH or beside this Python.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from common import ZOO, measure_beside_click, parser, save

from tests.records import make_base, make_metric, make_record
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import dump

OTHERS = ("hf", "llm")
TYPED = (
    *(
        "zoo tr",
        "zoo train --ba",
        "zoo publish --p",
        "zoo show adapter-00010",
        "zoo train lo",
        "zoo train lora b",
    ),
    *("zoo train lora bert-imdb --base ", "zoo train lora bert-imdb --data ", "zoo train lora bert-imdb -s "),
)
"""Lines that are completed: a command, options, an adapter, a method, a task, bases, data, parameters."""
IDS = (
    "google-bert/bert-base-cased",
    "FacebookAI/roberta-base",
    "distilbert/distilbert-base-uncased",
    "microsoft/deberta-v3-base",
    "sentence-transformers/all-MiniLM-L6-v2",
)
METHODS = ("lora", "head", "full")
TASKS = ("bert-imdb", "sst2")


def varied(number: int) -> AdapterRecord:
    """A record whose base, method, task and metrics depend on its number."""
    made = make_record(f"adapter-{number:06}")
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


def write_registry(path: Path, adapters: int) -> None:
    """A registry.json of that many records, as `zoo registry rebuild` would write it."""
    records = [varied(number) for number in range(adapters)]
    path.write_bytes(dump({"schema": 1, "adapters": {record.name: record for record in records}}))


def others() -> dict[str, list[str]]:
    """`--help` of the command lines that are installed here."""
    commands = {}
    for name in OTHERS:
        beside = Path(sys.executable).with_name(name)
        found = str(beside) if beside.is_file() else shutil.which(name)
        if found:
            commands[f"{name} --help"] = [found, "--help"]
        else:
            print(f"not timed: {name} is not installed", file=sys.stderr)
    return commands


def asking(line: str) -> tuple[str, str]:
    """What the script of zsh sets to ask for the words after a line."""
    return "_ZOO_COMPLETE=zsh_complete", f"_ZOO_LINE={line}"


def main() -> None:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--adapters", type=int, nargs="+", default=[200, 10_000, 100_000])
    asked = arguments.parse_args()
    peers = others()
    medians = {}
    for adapters in asked.adapters:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "registry.json"
            write_registry(path, adapters)
            commands = {
                "zoo --help": [ZOO, "--help"],
                "zoo list": [ZOO, "list"],
                "zoo list --base X": [ZOO, "list", "--base", "bert-base-cased"],
                "zoo show NAME": [ZOO, "show", f"adapter-{adapters // 2:06}"],
                "zoo methods": [ZOO, "methods"],
                **{f"{line}<TAB>": ["env", *asking(line), ZOO] for line in TYPED},
                **peers,
            }
            print(f"\n{adapters:,} adapters, median of {asked.rounds} rounds")
            env = {**os.environ, "ZOO_REGISTRY": str(path), "ZOO_CACHE": str(Path(folder) / "cache")}
            medians[str(adapters)] = measure_beside_click(commands, asked.rounds, env)
    save(asked.json, seconds=medians)


if __name__ == "__main__":
    main()
