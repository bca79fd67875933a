"""Peak memory of each method: `zoo train METHOD` in a process of its own, beside full fine-tuning.

    python tests/benchmarks/memory.py [--rounds 3] [--json FILE]

The figure is the record's: the highest resident set of the whole process, measuring included, or the highest
allocation of the GPU.
"""

from __future__ import annotations

import json
from functools import partial

from common import ZOO, parser, print_table, save
from runs import Figures, in_turn, output, zoo_train

METHODS = ("full", "lora", "head", "qlora")


def figures(method: str, rows: int, eval_rows: int) -> Figures:
    cost = zoo_train(method, rows, eval_rows=eval_rows)["cost"]
    shown = ("peak_memory_bytes", "trainable_parameters", "adapter_bytes", "train_seconds")
    return {name: cost[name] for name in shown}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=100)
    arguments.add_argument("--eval-rows", type=int, default=100)
    asked = arguments.parse_args()
    installed = {one["name"] for one in json.loads(output([ZOO, "methods", "--json"]))}
    contenders = {
        method: partial(figures, method, asked.rows, asked.eval_rows)
        for method in METHODS
        if method in installed
    }
    found, middle = in_turn(contenders, asked.rounds)
    peaks = {name: one["peak_memory_bytes"] for name, one in middle.items()}
    print(f"MiniLM on {asked.rows} IMDB reviews, one epoch, median of {asked.rounds} rounds")
    print_table(
        ("method", "trained", "peak GB", "method / full", "saved MB"),
        [
            (
                name,
                f"{one['trainable_parameters']:,.0f}",
                f"{peaks[name] / 1e9:.3f}",
                f"{peaks[name] / peaks['full']:.2f}",
                f"{one['adapter_bytes'] / 1e6:.3f}",
            )
            for name, one in middle.items()
        ],
    )
    skipped = [method for method in METHODS if method not in installed]
    for method in skipped:
        print(f"{method}: skipped, no such method is installed")
    save(
        asked.json,
        rounds=found,
        medians=middle,
        over_full={name: peak / peaks["full"] for name, peak in peaks.items()},
        skipped=skipped,
    )


if __name__ == "__main__":
    main()
