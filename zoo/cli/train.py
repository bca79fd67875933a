"""`zoo train METHOD TASK`, and `zoo data check`: what a task makes of your rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import (
    DATA_HELP,
    column_options,
    json_option,
    new_registry_option,
    print_json,
)
from zoo.cli.help import Command, Group
from zoo.cli.outputs import DryRun, checked_rows
from zoo.cli.tables import page, print_checks, print_facts, print_metrics, wide_option, with_whole_fixes
from zoo.errors import DataError, NotFoundError
from zoo.plugins.params import split_pairs
from zoo.registry.schema import AdapterRecord, AdapterSpec
from zoo.registry.store import Registry
from zoo.runtime.checks import failures
from zoo.runtime.config import setting
from zoo.runtime.console import Report, StderrReport, clock
from zoo.runtime.trackers import check_installed

if TYPE_CHECKING:
    from zoo.data.inspect import Checked, Lengths
    from zoo.training.prepare import Prepared


@click.command(
    name="train",
    cls=Command,
    examples=[
        "zoo train lora bert-imdb --limit 2000",
        "zoo train lora bert-imdb --data reviews.csv --label-column stars -s r=16",
        "zoo train lora bert-mrpc --data questions.csv --eval-data more.csv",
        "zoo train full bert-imdb --base FacebookAI/roberta-base --epochs 3 --dry-run",
    ],
)
@click.argument("method")
@click.argument("task")
@click.option("--base", metavar="ID|PATH", help="Base model: a Hub id, pip:ID, hub:ID@REVISION, or a folder.")
@click.option("--data", metavar="ID|PATH", help=DATA_HELP)
@click.option("--split", metavar="NAME", help="The split to train on. Default: train.")
@click.option(
    "--eval-data",
    metavar="ID|PATH",
    help="Held-out rows from elsewhere. Default: the data's own, or a fifth.",
)
@column_options
@click.option("--name", help="Name of the adapter. Default: METHOD-TASK, numbered if it is taken.")
@click.option("--limit", type=int, metavar="N", help="Train on N rows, stratified by label.")
@click.option(
    "--eval-limit",
    type=int,
    metavar="N",
    help="Use at most N held-out rows. Default: the task's, 5000.",
)
@click.option("--epochs", type=float, metavar="X", help="Passes over the rows. Default: the task's.")
@click.option(
    "--lr", "learning_rate", type=float, metavar="X", help="Peak learning rate. Default: the method's."
)
@click.option("--batch-tokens", type=int, metavar="N", help="Tokens in a batch, padding included.")
@click.option(
    "--gradient-accumulation",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Batches in one step.",
)
@click.option(
    "--packing",
    is_flag=True,
    help="Conversations of a batch in one row, none seeing another: worth it with flash attention only.",
)
@click.option(
    "--gradient-checkpointing", is_flag=True, help="Compute activations twice instead of keeping them."
)
@click.option(
    "--compile", is_flag=True, help="Train through torch.compile: a minute first, and no gain on a CPU."
)
@click.option("--max-length", type=int, metavar="N", help="Cut texts at N tokens.")
@click.option("--seed", type=int, default=42, show_default=True)
@click.option(
    "--precision",
    metavar="auto|bf16|fp32",
    default=partial(setting, "precision"),
    show_default="auto, or as zoo config says",
)
@click.option(
    "--base-dropout", default="off", show_default=True, metavar="off|keep", help="Dropout in a frozen base."
)
@click.option(
    "-s", "--set", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the method: r=16."
)
@click.option(
    "--threads", type=int, metavar="N", help="Of the CPU. They are part of what makes a result repeatable."
)
@click.option(
    "--portable",
    is_flag=True,
    help="Compute so that every x86-64 processor with AVX2 gives the same weights: slower, and on 1 thread "
    "unless --threads says more.",
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run of that name: it must be there.")
@click.option("--fresh", is_flag=True, help="Start over where an interrupted run could be gone on with.")
@click.option(
    "--allow-changes", is_flag=True, help="Go on though settings, base, data or versions have changed."
)
@click.option("--strict", is_flag=True, help="Rows that cannot be used are an error, not left out.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, from the config alone.")
@click.option(
    "--tracker",
    metavar="NAME",
    default=partial(setting, "tracker"),
    show_default="none, or as zoo config says",
    help="Report the training to tensorboard, trackio, wandb, mlflow...",
)
@new_registry_option
@wide_option
@json_option(AdapterRecord, DryRun)
def train_command(
    registry: Registry,
    as_json: bool,
    dry_run: bool,
    resume: bool,
    fresh: bool,
    allow_changes: bool,
    strict: bool,
    params: tuple[str, ...],
    tracker: str,
    **settings: Any,
) -> None:
    """Train METHOD on TASK, evaluate it, write its card, and register it.

    A training that was stopped is gone on with when the same command is given again.
    """
    from zoo.training import pipeline
    from zoo.training.prepare import prepare

    check_installed(tracker)
    spec = AdapterSpec(params=split_pairs(params), **settings)
    report = StderrReport(strict)
    if dry_run:
        found = prepare(spec, registry, report, resume=resume, fresh=fresh, fetch=False)
        _print_dry_run(found, as_json)
        return
    record = pipeline.train(
        spec,
        registry,
        report,
        resume=resume,
        fresh=fresh,
        allow_changes=allow_changes,
        tracker=tracker,
    )
    print_trained(record, registry, report, as_json)


def print_trained(record: AdapterRecord, registry: Registry, report: Report, as_json: bool) -> None:
    """What came of a training, by the process that writes."""
    from zoo.runtime import distributed

    if not distributed.is_main():
        return
    if as_json:
        print_json(record)
        return
    cost = record.cost
    assert cost.train_seconds is not None, "measured just now"
    assert cost.peak_memory_bytes is not None, "measured just now"
    report.say(
        f"trained in {clock(cost.train_seconds)}, {cost.examples_per_second:.1f} examples/s, "
        f"peak memory {cost.peak_memory_bytes / 1e9:.2f} GB"
    )
    print_metrics([("trained", record.metrics, record.baselines)])
    for flag in record.flags:
        report.warn(f"{flag}.")
    folder = registry.adapter_folder(record.name)
    report.say(f"registered '{record.name}' in {registry.path}; its files are in {folder}")


def _print_dry_run(found: Prepared, as_json: bool) -> None:
    size = found.adapter_bytes  # first: the estimate of the memory changes the dtypes
    spec, count, memory = found.config, found.count, found.memory().peak
    dataset, rows = found.dataset, "none" if found.data is None else "not downloaded, so not counted"
    if dataset is not None:
        rows = f"{len(dataset.train):,} to train on, {len(dataset.held_out):,} held out"
    facts = DryRun(
        name=spec.name,
        method=spec.method,
        params=", ".join(f"{key}={value}" for key, value in spec.params.items()),
        task=spec.task,
        base=str(found.base),
        data=str(found.data) if found.data else f"none: {found.missing_data}",
        rows=rows,
        labels=", ".join(found.labels),
        epochs=spec.epochs,
        learning_rate=spec.learning_rate,
        precision=found.precision,
        trainable=count.trainable,
        parameters=count.total,
        adapter_bytes=size,
        memory=memory,
    )
    if as_json:
        print_json(facts)
    else:
        numbers = {name: f"{facts[name]:,}" for name in ("trainable", "parameters", "adapter_bytes")}
        print_facts({**facts, **numbers, "memory": f"about {memory / 1e9:.1f} GB"})
    if found.missing_data:
        raise found.missing_data


@click.group(name="data", cls=Group, examples=["zoo data check reviews.csv --task bert-imdb"])
def data_command() -> None:
    """Check data before training on it."""


@data_command.command(
    name="check",
    examples=[
        "zoo data check reviews.csv --task bert-imdb --label-column stars",
        "zoo data check mrpc/ --task bert-mrpc --max-length 128",
    ],
)
@click.argument("data", required=False, metavar="[ID|PATH]")
@click.option("--task", "task_name", required=True, metavar="TASK", help="The task to read them for.")
@click.option("--base", metavar="ID|PATH", help="Count tokens as this base does. Default: the task's.")
@click.option("--split", metavar="NAME", help="The split to train on. Default: train.")
@click.option("--eval-data", metavar="ID|PATH", help="Held-out rows from elsewhere.")
@click.option("--max-length", type=int, metavar="N", help="Count what would be cut at N tokens.")
@column_options
@wide_option
@json_option(checked_rows)
def check_command(data: str | None, task_name: str, as_json: bool, **settings: Any) -> None:
    """Say how a task understands rows: columns, lengths, labels, copies, leaks; and what is wrong with them.

    The rows are what --data of zoo train takes, or the task's own. Ends with 2 where nothing could be trained
    on them.
    """
    from zoo.data import inspect
    from zoo.plugins import manager, source

    task = manager.load_task(task_name)
    spec = AdapterSpec(method="", task=task_name, data=data, **settings)
    report = StderrReport()
    rows = source.resolve(data, task.data, "data", report)
    eval_data = source.resolve_eval_data(spec.eval_data, Report())
    base = None
    try:
        base = source.resolve(spec.base, task.bases, "base", Report(), weights=False)
    except NotFoundError as error:
        if spec.base is not None:
            raise
        report.say(f"tokens are not counted, because no base is available: {error}")
    found = inspect.check(task, spec, rows, eval_data, base)
    if as_json:
        print_json(replace(found, results=with_whole_fixes(found.results)))
    else:
        with page():
            print_facts(_facts(found))
            print_checks(found.results)
    if failed := failures(found.results):
        raise DataError(failed[0].detail, failed[0].fix)


def _facts(found: Checked) -> Iterator[tuple[str, object]]:
    yield from (("task", found.task), ("data", found.data))
    for line in found.understood:
        yield "understood", line
    for split in found.splits:
        yield f"{split.name} columns", ", ".join(split.columns)
        yield f"{split.name} rows", f"{split.rows:,}, of which {split.usable:,} can be used"
        if split.labels and split.usable:
            counts = split.labels.items()
            shares = (f"{name} {count:,} ({count / split.usable:.1%})" for name, count in counts)
            yield f"{split.name} labels", ", ".join(shares)
        if split.characters:
            yield f"{split.name} characters", _shown(split.characters)
        if split.tokens:
            yield f"{split.name} tokens", f"{_shown(split.tokens)}, for {found.base}"
    if found.rule:
        yield "a run", f"trains on {found.train:,} rows and evaluates on {found.held_out:,}: {found.rule}"


def _shown(lengths: Lengths) -> str:
    return f"median {lengths.median:,}, 95% up to {lengths.most:,}, longest {lengths.longest:,}"
