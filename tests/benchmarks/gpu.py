"""LoRA on a GPU: the zoo's training beside plain transformers and peft, and beside the card's peak.

    python tests/benchmarks/gpu.py [--models bert-base roberta-large tinyllama] [--rounds 3] [--json FILE]

The models have the published shapes and random weights, and the texts are random tokens whose lengths are
spread like those of film reviews (log-normal, median 230, cut at 512), so nothing is downloaded. `zoo` is
`zoo_train` with the task's own batches and with larger ones, `careful` a plain Trainer with dynamic padding,
grouped by length, bf16 and batches of 32, as in peers/trainer.py. Each is a process of its own, trains a few
rows that are not counted, and then all of them once. Utilisation is the arithmetic that the model needs for
the real tokens (flops.py), over that of the card's best bf16 matrix product, measured in the same run; memory
is the highest allocation.

Without CUDA this says so and ends. `--cpu-smoke` runs all of it on tiny shapes, to see that it runs.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import parser, print_table, save
from flops import count, matmul_peak
from runs import Figures, in_turn, json_line

PEAK_SIZES = [(4096, 4096, 4096), (8192, 8192, 8192), (16384, 4096, 4096), (16384, 1024, 4096)]
LARGE_BATCH = 16384
"""Tokens: the padded size of 32 texts of 512."""
MODELS: dict[str, tuple[str, dict[str, int]]] = {
    "bert-base": ("bert", {}),
    "roberta-large": (
        "roberta",
        {
            "vocab_size": 50265,
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "max_position_embeddings": 514,
        },
    ),
    "tinyllama": (
        "llama",
        {
            "vocab_size": 32000,
            "hidden_size": 2048,
            "num_hidden_layers": 22,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "intermediate_size": 5632,
            "max_position_embeddings": 2048,
        },
    ),
}
TINY = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
}
MEDIAN, SPREAD = 230, 0.6
"""Tokens of a review, of which the logarithm is normal."""
WARM_UP_ROWS = 64


def config_of(name: str, smoke: bool) -> Any:
    from transformers import AutoConfig

    kind, shape = MODELS[name]
    changed = {key: value for key, value in TINY.items() if key != "num_key_value_heads" or kind == "llama"}
    return AutoConfig.for_model(kind, **{**shape, **(changed if smoke else {})}, pad_token_id=0, num_labels=2)


def make_model(config: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_config(config)


def make_rows(rows: int, vocabulary: int, longest: int) -> list[dict[str, Any]]:
    draw = random.Random(42)
    scale = longest / 512 * MEDIAN
    lengths = [max(8, min(longest, round(scale * draw.lognormvariate(0, SPREAD)))) for _ in range(rows)]
    return [
        {
            "input_ids": [draw.randrange(5, vocabulary) for _ in range(length)],
            "attention_mask": [1] * length,
            "labels": draw.randrange(2),
            "length": length,
        }
        for length in lengths
    ]


def make_padder() -> Any:
    """A tokenizer that is only ever asked to pad."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")


def head_of(model: Any) -> list[str]:
    return [name for name, _ in model.named_children() if name in ("classifier", "score")]


def train_zoo(
    model: Any, rows: list[dict[str, Any]], budget: int | None, folder: Path
) -> Callable[[int], None]:
    from zoo.adapters import forward
    from zoo.models.precision import silence_dropout
    from zoo.plugins import manager
    from zoo.plugins.run import Run, RunConfig
    from zoo.runtime.console import Report
    from zoo.runtime.device import choose_precision
    from zoo.training import trainer

    method, task = manager.load_method("lora"), manager.load_task("bert-imdb")
    params: Any = method.Params()
    silence_dropout(task.backbone(model))
    run = Run(
        spec=RunConfig(
            method="lora",
            task="bert-imdb",
            name="benchmark",
            epochs=1.0,
            learning_rate=method.learning_rate,
            batch_tokens=budget or task.batch_tokens,
            max_length=512,
            eval_limit=0,
        ),
        method=method,
        task=task,
        params=params,
        model=method.attach(model, params, task, head_of(model)),
        processor=make_padder(),
        labels=("negative", "positive"),
        train=rows,
        held_out=[],
        folder=folder,
        report=Report(),
        precision=choose_precision("auto"),
    )
    hooks = manager.manager(trainer, forward).hook

    def train(count: int) -> None:
        run.train = rows[:count]
        hooks.zoo_train(run=run)

    return train


def train_careful(model: Any, rows: list[dict[str, Any]], folder: Path) -> Callable[[int], None]:
    from peft import LoraConfig, get_peft_model
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    from zoo.runtime.device import device, has_bf16

    adapted = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1))
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        learning_rate=1e-3,
        per_device_train_batch_size=32,
        train_sampling_strategy="group_by_length",
        bf16=has_bf16(),
        use_cpu=device().type == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )

    def train(count: int) -> None:
        examples = [{key: one[key] for key in one if key != "length"} for one in rows[:count]]
        Trainer(
            model=adapted,
            args=arguments,
            train_dataset=examples,
            data_collator=DataCollatorWithPadding(make_padder()),
        ).train()

    return train


def measure_one(contender: str, name: str, rows_wanted: int, smoke: bool) -> Figures:
    """What one process measures."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    from zoo.runtime.device import device, peak_memory

    if contender == "peak":
        sizes = [(256, 256, 256)] if smoke else PEAK_SIZES
        return {"flops_per_second": max(matmul_peak(torch.bfloat16, sizes, repeats=20).values())}
    set_seed(42)
    config = config_of(name, smoke)
    rows = make_rows(rows_wanted, config.vocab_size, 64 if smoke else 512)
    lengths = [row["length"] for row in rows]
    with torch.device("meta"):
        shape = get_peft_model(make_model(config), LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16))
    needed = count(shape, causal=config.model_type == "llama")
    model = make_model(config)
    with tempfile.TemporaryDirectory() as folder:
        if contender == "careful":
            train = train_careful(model, rows, Path(folder))
        else:
            budget = LARGE_BATCH if contender == "zoo, large batches" else None
            train = train_zoo(model, rows, budget, Path(folder) / "checkpoints")
        train(WARM_UP_ROWS)
        on_gpu = device().type == "cuda"
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        train(len(rows))
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "examples_per_second": len(rows) / seconds,
        "tokens_per_second": sum(lengths) / seconds,
        "flops_per_second": needed.of(lengths) / seconds,
        "peak_memory_bytes": peak_memory(),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    arguments.add_argument("--rows", type=int, default=2000)
    arguments.add_argument("--cpu-smoke", action="store_true", help="tiny shapes, to see that it runs")
    arguments.add_argument(
        "--one", nargs=2, metavar=("CONTENDER", "MODEL"), help="what each process is asked for"
    )
    asked = arguments.parse_args()

    from zoo.runtime.device import describe, device

    if device().type != "cuda" and not asked.cpu_smoke:
        print("no CUDA device: skipped")
        return
    if asked.one:
        contender, name = asked.one
        print(json.dumps(measure_one(contender, name, asked.rows, asked.cpu_smoke)))
        return

    def process(contender: str, name: str) -> Callable[[], Figures]:
        command = [sys.executable, __file__, "--rows", str(asked.rows), "--one", contender, name]
        return lambda: json_line([*command, *(["--cpu-smoke"] if asked.cpu_smoke else [])])

    contenders = {"peak": process("peak", "bert-base")}
    for name in asked.models:
        for contender in ("zoo", "zoo, large batches", "careful"):
            contenders[f"{name}: {contender}"] = process(contender, name)
    found, middle = in_turn(contenders, asked.rounds)
    peak = middle.pop("peak")["flops_per_second"]
    print(f"{describe()}: bf16 peak {peak / 1e12:.3g} TFLOP/s; median of {asked.rounds} rounds")
    ratios = {
        name: {
            key: figures[key] / middle[f"{name.partition(':')[0]}: careful"][key]
            for key in ("tokens_per_second", "peak_memory_bytes")
        }
        for name, figures in middle.items()
    }
    print_table(
        ("", "examples/s", "tokens/s", "/ careful", "utilisation", "peak GB", "/ careful"),
        [
            (
                name,
                f"{figures['examples_per_second']:.1f}",
                f"{figures['tokens_per_second']:,.0f}",
                f"{ratios[name]['tokens_per_second']:.2f}",
                f"{figures['flops_per_second'] / peak:.1%}",
                f"{figures['peak_memory_bytes'] / 1e9:.2f}",
                f"{ratios[name]['peak_memory_bytes']:.2f}",
            )
            for name, figures in middle.items()
        ],
    )
    save(
        asked.json,
        device=describe(),
        peak_flops_per_second=peak,
        rounds=found,
        medians=middle,
        over_careful=ratios,
        utilisation={name: figures["flops_per_second"] / peak for name, figures in middle.items()},
    )


if __name__ == "__main__":
    main()
