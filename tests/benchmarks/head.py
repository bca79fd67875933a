"""Training `head` for many epochs beside one pass of the base over the same rows, which is all it needs.

    python tests/benchmarks/head.py [--rows 2000] [--epochs 20] [--rounds 3] [--json FILE]

The base is frozen, so its features of a row never change: with them kept, twenty epochs should cost little
more than one pass. The pass is `zoo.adapters.forward.forward` over the encoded training rows with the
untrained model, in the precision of the training; the training is the record's `train_seconds` of `zoo train
head`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from common import parser, print_table, save
from runs import Figures, captured, in_turn, zoo_train


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=2000)
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--eval-rows", type=int, default=200, help="that the zoo measures its head on")
    asked = arguments.parse_args()

    from zoo.adapters.forward import forward

    with tempfile.TemporaryDirectory() as folder:
        run, _ = captured(Path(folder), method="head", limit=asked.rows)

    def one_pass(rows: int | None = None) -> Figures:
        start = time.perf_counter()
        forward(
            run.model,
            run.train[:rows],
            run.task,
            run.processor,
            budget=run.budget,
            precision=run.precision,
            report=run.report,
            title="features",
        )
        return {"seconds": time.perf_counter() - start}

    def training() -> Figures:
        record = zoo_train("head", asked.rows, epochs=asked.epochs, eval_rows=asked.eval_rows)
        accuracy = next(one["value"] for one in record["metrics"] if one["name"] == "accuracy")
        return {"seconds": record["cost"]["train_seconds"], "accuracy": accuracy}

    one_pass(20)  # the first batches also start threads and pack weights
    found, middle = in_turn({"one pass": one_pass, "training": training}, asked.rounds)
    alone = middle["one pass"]["seconds"]
    print(f"head on {asked.rows} reviews, {asked.epochs} epochs, median of {asked.rounds} rounds")
    print_table(
        ("", "seconds", "/ one pass"),
        [(name, f"{one['seconds']:.1f}", f"{one['seconds'] / alone:.2f}") for name, one in middle.items()],
    )
    ratio = middle["training"]["seconds"] / alone
    save(asked.json, rounds=found, medians=middle, training_over_one_pass=ratio)


if __name__ == "__main__":
    main()
