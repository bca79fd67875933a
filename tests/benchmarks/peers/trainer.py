"""LoRA with plain transformers and peft, for training.py to run beside the zoo. Prints one JSON line.

`notebook` is the recipe of the common notebook: every text padded to 512 tokens, batches of 8, fp32.
`careful` is what someone writes who knows the Trainer's options: dynamic padding, grouped by length, bf16
where the hardware has it, batches of 32.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import shared
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)


def recipe(name: str) -> dict[str, Any]:
    if name == "notebook":
        return {"per_device_train_batch_size": 8}
    return {
        "per_device_train_batch_size": 32,
        "train_sampling_strategy": "group_by_length",
        "bf16": shared.has_bf16(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=("notebook", "careful"), required=True)
    parser.add_argument("--data", type=Path, required=True, help='JSON: {"base": FOLDER, "rows": [...]}')
    parser.add_argument("--rows", type=int, required=True)
    asked = parser.parse_args()
    base, rows = shared.read(asked.data, asked.rows)

    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                learning_rate=1e-3,
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **recipe(asked.recipe),
            ),
            train_dataset=shared.encode(
                tokenizer, rows, padding="max_length" if asked.recipe == "notebook" else False
            ),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        shared.train(trainer, len(rows))


if __name__ == "__main__":
    main()
