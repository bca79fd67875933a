"""Does LoRA without the base's dropout cost accuracy? `--base-dropout off` beside `keep`, row by row.

    python tests/benchmarks/dropout.py [--seeds 42 43 44] [--json FILE]

Both adapters of a seed answer the same held-out rows (the data fixes them, not the seed, which is checked).
The difference is of correctness, off minus keep, averaged over the seeds for each row; its 95% interval is a
percentile bootstrap over the rows. It speaks of these seeds: how much a seed matters is seen in their rows of
the table.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import parser, print_table, save
from runs import zoo_train

if TYPE_CHECKING:
    import numpy as np

KINDS = ("off", "keep")


def correctness(name: str, folder: Path) -> tuple[list[str], np.ndarray]:
    """The held-out texts of an adapter's record, and which of them it gives their label (1.0 or 0.0)."""
    from zoo.adapters.load import load
    from zoo.data.dataset import open_dataset
    from zoo.plugins import source
    from zoo.registry.store import Registry
    from zoo.runtime.console import Report

    loaded = load(name, Registry(folder / "registry.json"))
    record = loaded.record
    assert record.data is not None
    data = source.resolve(record.data.location, (), "data", Report())
    rows = open_dataset(loaded.task, data, record.spec, Report()).held_out
    outputs = loaded.outputs(
        loaded.task.encode(rows, loaded.processor, loaded.max_length),
        record.precision,
        Report(),
        "predicting",
    )
    right = (outputs.argmax(-1) == [row["label"] for row in rows]).astype("float64")
    measured = record.metric("accuracy")
    if measured is None or abs(right.mean() - measured.value) > 0.005:
        raise SystemExit(f"{name} has accuracy {right.mean():.4f} here; its record says {measured}")
    return [loaded.task.key(row) for row in rows], right


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95%, percentile bootstrap of the mean over rows."""
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (differences,), np.mean, n_resamples=10_000, batch=100, method="percentile", random_state=0
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def main() -> None:
    arguments = parser(__doc__, rounds=None)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    arguments.add_argument("--rows", type=int, default=1000)
    arguments.add_argument("--epochs", type=float, default=2)
    arguments.add_argument("--eval-rows", type=int, default=2000)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records: dict[int, dict[str, Any]] = {}
        for seed in asked.seeds:
            records[seed] = {
                kind: zoo_train(
                    *("lora", asked.rows, "--seed", seed, "--base-dropout", kind, "--name", f"{kind}-{seed}"),
                    epochs=asked.epochs,
                    eval_rows=asked.eval_rows,
                    registry=folder,
                )
                for kind in KINDS
            }
        import numpy as np

        right: dict[int, dict[str, np.ndarray]] = {}
        texts: list[str] | None = None
        for seed in asked.seeds:
            right[seed] = {}
            for kind in KINDS:
                found, right[seed][kind] = correctness(f"{kind}-{seed}", folder)
                texts = texts or found
                if found != texts:
                    raise SystemExit(f"seed {seed}, {kind}: evaluated on other rows")

    rounds = [
        {
            "seed": seed,
            **{f"accuracy_{kind}": float(right[seed][kind].mean()) for kind in KINDS},
            "difference": float((right[seed]["off"] - right[seed]["keep"]).mean()),
            **{f"seconds_{kind}": records[seed][kind]["cost"]["train_seconds"] for kind in KINDS},
        }
        for seed in asked.seeds
    ]
    difference = np.mean([right[seed]["off"] - right[seed]["keep"] for seed in asked.seeds], axis=0)
    low, high = interval(difference)
    mean = {key: statistics.mean(one[key] for one in rounds) for key in rounds[0] if key != "seed"}
    middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0] if key != "seed"}
    print(f"LoRA on {asked.rows} reviews, {asked.epochs:g} epochs, evaluated on {len(difference)} others")
    print_table(
        ("seed", "off", "keep", "off - keep", "seconds off", "seconds keep"),
        [
            (
                *(one["seed"], f"{one['accuracy_off']:.4f}", f"{one['accuracy_keep']:.4f}"),
                *(f"{one['difference']:+.4f}", f"{one['seconds_off']:.1f}", f"{one['seconds_keep']:.1f}"),
            )
            for one in [*rounds, {"seed": "mean", **mean}]
        ],
    )
    print(f"off - keep: {mean['difference']:+.4f}, 95% from {low:+.4f} to {high:+.4f}")
    paired = {"mean": mean["difference"], "low": low, "high": high, "level": 0.95, "rows": len(difference)}
    save(asked.json, rounds=rounds, means=mean, medians=middle, off_minus_keep=paired)


if __name__ == "__main__":
    main()
