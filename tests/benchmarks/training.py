"""Training throughput and peak memory of `zoo train lora` beside its peers, each in a process of its own.

    python tests/benchmarks/training.py [--adapterhub] [--rounds 3] [--json FILE]

`notebook` and `careful` are plain transformers and peft (peers/trainer.py); `adapterhub`, asked for with its
flag, is AdapterHub's `adapters` in an environment of its own (peers/adapterhub.py). All train LoRA r=8
alpha=16 dropout=0.1 on the same base for one epoch, counted from the first step to the last: the whole of
`trainer.train()`, with the first steps. Before it all have run the model forward: the zoo to measure the
untrained base, the peers on eight rows. The rows are the zoo's own training rows in an order of which every
start has the same mix of lengths, so a slow peer may be given fewer of them; tokens are those of the texts,
padding not counted.

Memory is the highest resident set of the whole process, or the highest allocation of the GPU. For the zoo
that includes measuring the adapter and the untrained base, which the peers do not do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import BASE, DATA, parser, print_table, save
from runs import Figures, ProcessError, in_turn, json_line, medians, output, zoo_train

PEERS = Path(__file__).parent / "peers"
SHOWN = ("examples_per_second", "tokens_per_second", "peak_memory_bytes")


def write_rows(path: Path, count: int) -> list[int]:
    """Write the rows that `zoo train --limit COUNT` trains on, for the peers; the tokens of each."""
    from tokenizers import Tokenizer

    from zoo.data.dataset import open_dataset
    from zoo.plugins import manager, source
    from zoo.registry.schema import AdapterSpec
    from zoo.runtime.console import Report

    # torch stays out of this process: a child's highest resident set starts at that of its parent
    spec, task = AdapterSpec(method="lora", task="bert-imdb", limit=count), manager.load_task("bert-imdb")
    base = source.resolve(BASE, (), "base", Report()).folder
    rows = open_dataset(task, source.resolve(DATA, (), "data", Report()), spec, Report()).train
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(task.max_length)
    tokens = [len(one.ids) for one in tokenizer.encode_batch([row["text"] for row in rows])]
    order = evenly(sorted(range(len(rows)), key=lambda index: tokens[index]))
    path.write_text(
        json.dumps({"base": str(base), "rows": [rows[index] for index in order]}), encoding="utf-8"
    )
    return [tokens[index] for index in order]


def evenly(ordered: list[int]) -> list[int]:
    """In steps of the golden ratio, so that every start of the result is spread over the whole."""
    golden = (5**0.5 - 1) / 2
    places = sorted(range(len(ordered)), key=lambda place: (0.5 + golden * place) % 1)
    result = [0] * len(ordered)
    for item, place in zip(ordered, places, strict=True):
        result[place] = item
    return result


def adapterhub_python(folder: Path) -> str:
    """The Python of an environment with `adapters` and the torch of this one, made if it is not there.

    Raises:
        ProcessError: it cannot be made.
    """
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        output([sys.executable, "-m", "venv", str(folder)])
    try:
        output([str(python), "-c", "import accelerate, adapters, torch"])
    except ProcessError:
        print("installing adapters", file=sys.stderr, flush=True)
        torch = f"torch=={version('torch').partition('+')[0]}"
        output([str(python), "-m", "pip", "install", "--quiet", torch])
        output([str(python), "-m", "pip", "install", "--quiet", torch, "adapters", "accelerate"])
    return str(python)


def zoo_figures(rows: int, eval_rows: int) -> Figures:
    record = zoo_train("lora", rows, eval_rows=eval_rows)
    cost = record["cost"]
    return {
        "examples_per_second": cost["examples_per_second"],
        "peak_memory_bytes": cost["peak_memory_bytes"],
        "seconds": cost["train_seconds"],
        "rows": record["data"]["n_train"],
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--zoo-rows", type=int, default=400)
    arguments.add_argument("--notebook-rows", type=int, default=64)
    arguments.add_argument("--careful-rows", type=int, default=96)
    arguments.add_argument("--eval-rows", type=int, default=200, help="that the zoo measures its adapter on")
    arguments.add_argument("--adapterhub", action="store_true", help="with AdapterHub, installed if need be")
    arguments.add_argument(
        "--adapterhub-venv",
        type=Path,
        metavar="DIR",
        default=Path(tempfile.gettempdir()) / "zoo-benchmark-adapterhub",
        help="its environment, made or used again",
    )
    asked = arguments.parse_args()
    rows = {"zoo": asked.zoo_rows, "notebook": asked.notebook_rows, "careful": asked.careful_rows}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.json"
        tokens = write_rows(data, max(rows.values()))

        def peer(python: str, script: str, count: int, *recipe: str) -> Figures:
            command = [python, str(PEERS / script), "--data", str(data), "--rows", str(count), *recipe]
            return json_line(command)

        contenders: dict[str, Any] = {
            "zoo": lambda: zoo_figures(rows["zoo"], asked.eval_rows),
            "notebook": lambda: peer(sys.executable, "trainer.py", rows["notebook"], "--recipe", "notebook"),
            "careful": lambda: peer(sys.executable, "trainer.py", rows["careful"], "--recipe", "careful"),
        }
        if asked.adapterhub:
            rows["adapterhub"] = asked.careful_rows
            try:
                python = adapterhub_python(asked.adapterhub_venv)
                peer(python, "adapterhub.py", 2)
                contenders["adapterhub"] = lambda: peer(python, "adapterhub.py", rows["adapterhub"])
            except (ProcessError, subprocess.SubprocessError) as error:
                failed["adapterhub"] = str(error)
        found, _ = in_turn(contenders, asked.rounds)

    for name, figures in found.items():
        for one in figures:
            one["tokens_per_second"] = sum(tokens[: rows[name]]) / one["seconds"]
    middle = {name: medians(figures) for name, figures in found.items()}
    zoo = middle["zoo"]
    ratios = {name: {key: zoo[key] / one[key] for key in SHOWN} for name, one in middle.items()}
    print(f"LoRA on MiniLM and IMDB, median of {asked.rounds} rounds; above 1 the zoo has more")
    table: list[list[str]] = [
        [
            name,
            f"{one['rows']:.0f}",
            f"{one['examples_per_second']:.2f}",
            f"{one['tokens_per_second']:,.0f}",
            f"{ratios[name]['tokens_per_second']:.2f}",
            f"{one['peak_memory_bytes'] / 1e9:.2f}",
            f"{ratios[name]['peak_memory_bytes']:.2f}",
        ]
        for name, one in middle.items()
    ]
    print_table(("", "rows", "examples/s", "tokens/s", "zoo / peer", "peak GB", "zoo / peer"), table)
    for name, reason in failed.items():
        print(f"{name}: could not be run: {reason}")
    save(asked.json, rounds=found, medians=middle, zoo_over_peer=ratios, failed=failed)


if __name__ == "__main__":
    main()
