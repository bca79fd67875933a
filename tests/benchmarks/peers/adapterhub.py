"""LoRA with AdapterHub's `adapters`, for training.py to run beside the zoo. Prints one JSON line.

Runs in an environment of its own: `adapters` pins an older transformers, hence the argument names of that.
Dynamic padding, grouped by length, batches of 32, bf16 where the hardware has it: the `careful` recipe.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

import shared
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
    set_seed,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help='JSON: {"base": FOLDER, "rows": [...]}')
    parser.add_argument("--rows", type=int, required=True)
    asked = parser.parse_args()
    base, rows = shared.read(asked.data, asked.rows)
    adapters: Any = importlib.import_module("adapters")  # not installed where mypy looks

    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    adapters.init(model)
    model.add_adapter("imdb", config=adapters.LoRAConfig(r=8, alpha=16, dropout=0.1))
    model.train_adapter("imdb")
    older: dict[str, Any] = {"group_by_length": True}
    with tempfile.TemporaryDirectory() as folder:
        trainer = adapters.AdapterTrainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                learning_rate=1e-3,
                per_device_train_batch_size=32,
                bf16=shared.has_bf16(),
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **older,
            ),
            train_dataset=shared.encode(tokenizer, rows),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        shared.train(trainer, len(rows))


if __name__ == "__main__":
    main()
