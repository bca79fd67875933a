"""What the peers share: the rows given, what the hardware has, and the one JSON line. No zoo, no peft."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

Rows = list[dict[str, Any]]


def read(path: Path, count: int) -> tuple[str, Rows]:
    """The base's folder, and the first so many of the rows."""
    given = json.loads(path.read_text(encoding="utf-8"))
    return given["base"], given["rows"][:count]


def encode(tokenizer: Any, rows: Rows, padding: str | bool = False) -> Rows:
    encoded = tokenizer([row["text"] for row in rows], padding=padding, truncation=True, max_length=512)
    return [
        {**{name: values[index] for name, values in encoded.items()}, "label": row["label"]}
        for index, row in enumerate(rows)
    ]


def has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def peak_memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def warm_up(trainer: Any) -> None:
    place, model = trainer.args.device, trainer.model
    batch = trainer.data_collator(trainer.train_dataset[:8])
    model.eval()
    with torch.no_grad(), torch.autocast(place.type, torch.bfloat16, enabled=trainer.args.bf16):
        model(**{name: value.to(place) for name, value in batch.items()})


def train(trainer: Any, rows: int) -> None:
    """Train, and print what it took; not from cold, since the zoo has measured its untrained base by then."""
    warm_up(trainer)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    found = {
        "examples_per_second": rows / seconds,
        "peak_memory_bytes": peak_memory(),
        "seconds": seconds,
        "rows": rows,
    }
    print(json.dumps(found))
