"""LoRA with AdapterHub's `adapters`, for training.py to run beside the zoo. Prints one JSON line.

Runs in an environment of its own: `adapters` pins an older transformers, hence the argument names of that.
Dynamic padding, grouped by length, batches of 32, bf16 where the hardware has it: the `careful` recipe.
"""

from __future__ import annotations

import importlib
from typing import Any

import shared


def main() -> None:
    asked = shared.parser(__doc__).parse_args()
    adapters: Any = importlib.import_module("adapters")  # not installed where mypy looks
    model, tokenizer, rows = shared.load(asked.data, asked.rows)
    adapters.init(model)
    model.add_adapter("imdb", config=adapters.LoRAConfig(r=8, alpha=16, dropout=0.1))
    model.train_adapter("imdb")
    shared.train(
        adapters.AdapterTrainer,
        model,
        tokenizer,
        rows,
        per_device_train_batch_size=32,
        group_by_length=True,
        bf16=shared.has_bf16(),
    )


if __name__ == "__main__":
    main()
