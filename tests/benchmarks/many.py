"""`zoo evaluate A` beside `zoo evaluate A B ... H`: what eight adapters on one base cost together.

    python tests/benchmarks/many.py --rows 64 500 --json many.json

Eight LoRA adapters of the packaged base are made once, on 16 reviews each: how good they are does not matter.
Then whole processes are timed in turn, at several numbers of held-out rows. What eight separate processes
would pay eight times and one process pays once is (8 x one - eight) / 7.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import msgspec
from common import BASE, DATA, ZOO, measure, parser, print_table, save

from zoo import AdapterSpec, Registry, train
from zoo.registry.store import dump

NAMES = "ABCDEFGH"


def make(registry: Registry, length: int) -> None:
    for seed, name in enumerate(NAMES):
        print(f"making {name}", file=sys.stderr, flush=True)
        spec = AdapterSpec(
            name=name,
            method="lora",
            task="bert-imdb",
            base=BASE,
            data=DATA,
            limit=16,
            eval_limit=8,
            epochs=1.0,
            max_length=length,
            seed=seed,
        )
        train(spec, registry)


def evaluate_on(registry: Registry, rows: int) -> None:
    """Have the records ask for that many held-out rows, without training anew."""
    content = msgspec.json.decode(registry.path.read_bytes())
    for record in content["adapters"].values():
        record["spec"]["eval_limit"] = rows
    registry.path.write_bytes(dump(content))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, nargs="+", default=[64, 500])
    arguments.add_argument("--max-length", type=int, default=128, help="tokens of a review; the rest is cut")
    asked = arguments.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_CACHE"] = str(Path(folder) / "cache")
        registry = Registry(Path(folder) / "registry.json")
        make(registry, asked.max_length)
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "ZOO_REGISTRY": str(registry.path)}
        commands = {
            "one": [ZOO, "evaluate", NAMES[0]],
            "eight": [ZOO, "evaluate", *NAMES],
        }
        for rows in asked.rows:
            print(f"measuring {rows} rows", file=sys.stderr, flush=True)
            evaluate_on(registry, rows)
            found[str(rows)] = measure(commands, asked.rounds, env)
    print(f"{asked.max_length} tokens, median of {asked.rounds} rounds")
    print_table(
        ("held-out rows", "one", "eight", "eight processes", "paid once", "saved"),
        [
            (
                rows,
                f"{seconds['one']:.1f} s",
                f"{seconds['eight']:.1f} s",
                f"{8 * seconds['one']:.1f} s",
                f"{(8 * seconds['one'] - seconds['eight']) / 7:.1f} s",
                f"{1 - seconds['eight'] / (8 * seconds['one']):.0%}",
            )
            for rows, seconds in found.items()
        ],
    )
    save(asked.json, seconds=found)


if __name__ == "__main__":
    main()
