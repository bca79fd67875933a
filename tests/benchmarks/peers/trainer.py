"""LoRA with plain transformers and peft, for training.py to run beside the zoo. Prints one JSON line.

`notebook` is the recipe of the common notebook: every text padded to 512 tokens, batches of 8, fp32.
`careful` is what someone writes who knows the Trainer's options: dynamic padding, grouped by length, bf16
where the hardware has it, batches of 32.
"""

from __future__ import annotations

from typing import Any

import shared
from peft import LoraConfig, get_peft_model
from transformers import Trainer

RECIPES: dict[str, dict[str, Any]] = {
    "notebook": {"padding": "max_length", "per_device_train_batch_size": 8},
    "careful": {
        "per_device_train_batch_size": 32,
        "train_sampling_strategy": "group_by_length",
        "bf16": shared.has_bf16(),
    },
}


def main() -> None:
    parser = shared.parser(__doc__)
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    asked = parser.parse_args()
    model, tokenizer, rows = shared.load(asked.data, asked.rows)
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1))
    shared.train(Trainer, model, tokenizer, rows, **RECIPES[asked.recipe])


if __name__ == "__main__":
    main()
