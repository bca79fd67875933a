"""Reads, encodes and trains for the peers of training.py, and prints the one JSON line. No zoo, no peft."""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
    set_seed,
)

Rows = list[dict[str, Any]]


def parser(doc: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--data", type=Path, required=True, help='JSON: {"base": FOLDER, "rows": [...]}')
    made.add_argument("--rows", type=int, required=True)
    return made


def load(data: Path, count: int) -> tuple[Any, Any, Rows]:
    """The base with a fresh head of two labels, its tokenizer, and the first `count` rows."""
    given = json.loads(data.read_text(encoding="utf-8"))
    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(given["base"])
    model = AutoModelForSequenceClassification.from_pretrained(given["base"], num_labels=2)
    return model, tokenizer, given["rows"][:count]


def train(
    trainer_class: Any, model: Any, tokenizer: Any, rows: Rows, padding: str | bool = False, **recipe: Any
) -> None:
    """Train for one epoch, and print what it took; `recipe` is more TrainingArguments."""
    encoded = tokenizer([row["text"] for row in rows], padding=padding, truncation=True, max_length=512)
    examples = [
        {**{name: values[index] for name, values in encoded.items()}, "label": row["label"]}
        for index, row in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                learning_rate=1e-3,
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **recipe,
            ),
            train_dataset=examples,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        _warm_up(trainer)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    figures = {
        "examples_per_second": len(rows) / seconds,
        "peak_memory_bytes": _peak_memory(),
        "seconds": seconds,
        "rows": len(rows),
    }
    print(json.dumps(figures))


def has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _warm_up(trainer: Any) -> None:
    """One forward pass: the zoo has measured its untrained base before it trains."""
    place, model = trainer.args.device, trainer.model
    batch = trainer.data_collator(trainer.train_dataset[:8])
    model.eval()
    with torch.no_grad(), torch.autocast(place.type, torch.bfloat16, enabled=trainer.args.bf16):
        model(**{name: value.to(place) for name, value in batch.items()})
