"""How much of the machine LoRA training uses: its arithmetic beside the measured peak, and where time goes.

    python tests/benchmarks/roofline.py [--rows 400] [--rounds 3] [--json FILE]

The peak is the best of several square and tall matrix products with all threads, in fp32 and in bf16. The
training is the zoo's own (`zoo_train` on the Run that `zoo train lora bert-imdb` makes), timed as its record
is: first step to last. The arithmetic is what the model needs for the real tokens after cutting at 512,
padding not counted; flops.py has the formula. For MiniLM, with L layers of width h and inner width f, and
rank r on query and value, a text of n tokens comes to about

    forward            n L (8 h h + 4 h f + 8 r h) + 4 n n L h
    frozen backward    n L (8 h h + 4 h f) - 6 n h h     (no gradient below the first query, key, value)
    adapter backward   n L 16 r h - 4 n r h              (of A, B, and of the inputs of both)
    attention backward 8 n n L h - 2 n n h               (the first key needs none)

The profile is of ten steps more. Shares are of the time inside operators; Python between them is in none.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import BASE, parser, print_table, save
from flops import count, matmul_peak
from runs import Figures, captured, in_turn

if TYPE_CHECKING:
    from zoo.plugins.run import Run

SIZES = [
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (2048, 384, 384),
    (2048, 384, 1536),
    (2048, 1536, 384),
    (8192, 1024, 1024),
]
"""Rows, inner, columns. The tall ones are MiniLM's layers at a training batch of 2,048 tokens."""
_GROUPS = (
    ("attention", ("scaled_dot_product", "flash_attention", "bmm", "baddbmm", "efficient_attention")),
    ("softmax", ("softmax",)),
    ("dropout and random", ("dropout", "bernoulli", "random", "rand", "uniform_", "normal_")),
    ("casts and copies", ("copy_", "_to_copy", "clone", "contiguous", "cat", "fill_", "zero_", "reorder")),
    ("norms", ("layer_norm",)),
    ("elementwise", ("gelu", "add", "mul", "div", "sub", "tanh", "sum", "neg", "where", "threshold")),
    ("optimizer", ("adam", "foreach", "Optimizer")),
)
"""Operators by parts of their names: the first group that matches has them."""
_MATMULS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::linear", "mkldnn_linear", "mkldnn_matmul")


def untouched(run: Run) -> Any:
    """The run's model as its method makes it, before anything is done for speed; shapes without weights."""
    import torch

    from zoo.plugins import source
    from zoo.runtime.console import Report

    base = source.resolve(BASE, (), "base", Report()).folder
    model, head = run.task.empty_model(base, run.labels)
    with torch.device("meta"):
        return run.method.attach(model, run.params, run.task, head)


def group_of(name: str, shapes: Any, rank: int) -> str:
    if name in _MATMULS or name.endswith(("_linear", "::mm", "::addmm")):
        trained = any(rank in shape for shape in shapes if isinstance(shape, (list, tuple)))
        return "matmul of the adapter" if trained else "matmul of frozen weights"
    return next((group for group, parts in _GROUPS if any(part in name for part in parts)), "rest")


def profile(run: Run, hooks: Any, steps: int) -> tuple[dict[str, float], list[tuple[str, float]]]:
    """Share of operator time by group, and the ten dearest operators with theirs."""
    import torch
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    batch = itertools.accumulate(sorted((one["length"] for one in run.train), reverse=True))
    budget = steps * run.budget
    rows = sum(total <= budget for total in batch)
    stride = max(1, len(run.train) // max(1, rows))
    some = dataclasses.replace(run, train=run.train[::stride])
    with torch.profiler.profile(activities=activities, record_shapes=True) as found:
        hooks.zoo_train(run=some)
    by_group: dict[str, float] = defaultdict(float)
    by_name: dict[str, float] = defaultdict(float)
    for event in found.key_averages(group_by_input_shape=True):
        spent = event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total
        by_group[group_of(event.key, event.input_shapes, run.params.r)] += spent
        by_name[event.key] += spent
    whole = sum(by_group.values())
    dearest = sorted(by_name.items(), key=lambda one: -one[1])[:10]
    shares = {group: spent / whole for group, spent in sorted(by_group.items(), key=lambda one: -one[1])}
    return shares, [(name, spent / whole) for name, spent in dearest]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=400)
    arguments.add_argument("--repeats", type=int, default=7, help="of each matrix product")
    arguments.add_argument("--profile-steps", type=int, default=10)
    asked = arguments.parse_args()

    import torch

    from zoo.data.batching import TokenBudgetBatches

    with tempfile.TemporaryDirectory() as folder:
        run, hooks = captured(Path(folder), limit=asked.rows)
        lengths = [one["length"] for one in run.train]
        needed = count(untouched(run))
        work = needed.of(lengths) * run.spec.epochs
        batches = TokenBudgetBatches(lengths, run.budget, run.spec.seed)
        padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
        precision = run.precision

        def one_training() -> Figures:
            result = hooks.zoo_train(run=run)
            return {
                "seconds": result.seconds,
                "examples_per_second": result.examples_per_second,
                "tokens_per_second": sum(lengths) / result.seconds,
                "flops_per_second": work / result.seconds,
            }

        def peaks(dtype: Any) -> Figures:
            return matmul_peak(dtype, SIZES, asked.repeats)

        found, middle = in_turn(
            {
                "fp32 peak": lambda: peaks(torch.float32),
                "bf16 peak": lambda: peaks(torch.bfloat16),
                "training": one_training,
            },
            asked.rounds,
        )
        shares, dearest = profile(run, hooks, asked.profile_steps)

    best = {kind: max(middle[f"{kind} peak"].values()) for kind in ("fp32", "bf16")}
    trained = middle["training"]
    print(f"LoRA on MiniLM, {len(lengths)} reviews in {precision}, median of {asked.rounds} rounds")
    print_table(
        ("matrix product", "fp32 GFLOP/s", "bf16 GFLOP/s"),
        [
            (size, *(f"{middle[f'{kind} peak'][size] / 1e9:,.0f}" for kind in best))
            for size in middle["fp32 peak"]
        ],
    )
    print()
    print_table(
        ("training", ""),
        [
            ("model GFLOP a token", f"{work / sum(lengths) / 1e9:.4f}"),
            ("tokens a text", f"{sum(lengths) / len(lengths):.0f}"),
            ("padding, share of the batches", f"{1 - sum(lengths) / padded:.1%}"),
            ("examples/s", f"{trained['examples_per_second']:.2f}"),
            ("tokens/s", f"{trained['tokens_per_second']:,.0f}"),
            ("GFLOP/s", f"{trained['flops_per_second'] / 1e9:,.1f}"),
            *(
                (f"share of the {kind} peak", f"{trained['flops_per_second'] / peak:.1%}")
                for kind, peak in best.items()
            ),
        ],
    )
    print()
    print_table(("operators", "share of time"), [(name, f"{share:.1%}") for name, share in shares.items()])
    print()
    print_table(("dearest", "share of time"), [(name, f"{share:.1%}") for name, share in dearest])
    save(
        asked.json,
        precision=precision,
        rounds=found,
        medians=middle,
        peak_flops_per_second=best,
        model_flops=dataclasses.asdict(needed),
        model_flops_trained=work,
        tokens=sum(lengths),
        padded_tokens=padded,
        share_of_peak={kind: trained["flops_per_second"] / peak for kind, peak in best.items()},
        profile=shares,
        dearest=dict(dearest),
    )


if __name__ == "__main__":
    main()
