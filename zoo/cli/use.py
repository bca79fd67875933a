"""`zoo predict`, `zoo chat`, `zoo evaluate` and `zoo merge`: put an adapter to work."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import (
    base_options,
    column_options,
    json_option,
    number,
    print_facts,
    print_json,
    print_metrics,
    print_table,
    printable,
    registry_option,
)
from zoo.errors import DataError, NotFoundError, UsageError
from zoo.plugins.params import split_pairs
from zoo.registry.store import Registry
from zoo.runtime.console import Report, StderrReport

if TYPE_CHECKING:
    from zoo.adapters.chat import Chat
    from zoo.tasks.base import Task

_WORTH_A_BAR = 100
"""Texts that take long enough for a progress bar."""
_CHAT_HELP = "/base turns the adapter off and on, /reset forgets the conversation, /quit leaves"


@click.command(name="predict")
@click.argument("name")
@click.argument("texts", nargs=-1, metavar="TEXT...")
@click.option("--pair", "pairs", nargs=2, multiple=True, metavar="TEXT TEXT", help="Two texts, compared.")
@click.option(
    "-f",
    "--file",
    metavar="FILE",
    help="A text, or two with a tab between, a line; or a csv, tsv, jsonl, json, parquet; or - for stdin.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="[ROLE=]NAME",
    help="A column of FILE under another name: review, or sentence1=question.",
)
@click.option(
    "--gallery",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Pictures to rank for each TEXT, with captions in metadata.csv to rank for each picture.",
)
@base_options
@registry_option
@json_option
def predict_command(
    registry: Registry,
    name: str,
    texts: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    file: str | None,
    columns: tuple[str, ...],
    gallery: Path | None,
    as_json: bool,
    **on_base: Any,
) -> None:
    """What the adapter NAME says of each TEXT, or of each pair of texts."""
    if sum(map(bool, (texts, pairs, file))) != 1:
        raise UsageError(
            "give texts, or pairs of them with --pair, or a file of them with -f, and not both.",
            f"zoo predict {name} 'A fine film.'",
        )
    if gallery is not None and not gallery.is_dir():
        raise NotFoundError(f"there is no folder '{gallery}'.")
    from zoo.adapters import load
    from zoo.adapters.integrity import task_of

    task = task_of(registry.locate(name)[0])
    inputs: list[Any] = list(texts or pairs) if file is None else _read_inputs(task, file, columns)
    if gallery is not None:
        loaded = load.load(name, registry, report=StderrReport(), **on_base)
        ranked = task.rank(loaded, inputs, gallery, StderrReport())
        if as_json:
            print_json(ranked)
            return
        matches = [
            {"query": one["query"], "rank": rank, **match}
            for one in ranked
            for rank, match in enumerate(one["matches"], 1)
        ]
        similarity = ("similarity", lambda match: number(match["similarity"]))
        print_table(matches, ("query", "rank", "match", similarity))
        return
    _check_inputs(task, inputs, name)
    report = StderrReport() if len(inputs) > _WORTH_A_BAR else Report()
    loaded = load.load(name, registry, report=StderrReport(), **on_base)
    roles = task.text_columns
    rows = [
        {**row, **dict(zip(roles, (one,) if isinstance(one, str) else one, strict=True))}
        for row, one in zip(load.predict(loaded, inputs, report=report), inputs, strict=True)
    ]
    if "answer" in rows[0]:
        if len(rows) == 1 and not as_json:
            click.echo(printable(rows[0]["answer"]))
            return
        shown: list[Any] = ["answer"]
    elif len(roles) == 1:
        shown = ["label", ("probability", lambda row: number(row["probability"]))]
    else:
        shown = ["label", *((one, partial(_share, one)) for one in rows[0]["probabilities"])]
    print_table(rows, [*shown, *roles], as_json)


def _share(label: str, row: dict[str, Any]) -> str:
    return f"{row['probabilities'][label]:.1%}"


@click.command(name="evaluate")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--data", metavar="ID|PATH", help="Other rows than the adapter's own held-out ones; all of them are used."
)
@column_options
@click.option("--precision", metavar="auto|bf16|fp32", help="Default: that of the training.")
@base_options
@registry_option
@json_option
def evaluate_command(registry: Registry, names: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Measure each adapter NAME again on its held-out rows, or on other data.

    What several NAMEs share is read once, and their --json is an object by name.
    """
    from zoo.adapters import evaluate

    report = StderrReport()
    found = dict(evaluate.evaluate_all(names, registry, report, **settings))
    if as_json:
        print_json(found if len(found) > 1 else found[names[0]])
        return
    print_metrics([(name, one.metrics, one.baselines) for name, one in found.items()])
    for name, one in found.items():
        for flag in one.flags:
            report.warn(f"{name}: {flag}." if len(found) > 1 else f"{flag}.")


def _check_inputs(task: Task, inputs: Sequence[Any], name: str) -> None:
    """Before the model is loaded, which takes seconds."""
    example = "--pair 'A.' 'B.'" if len(task.text_columns) == 2 else "'A fine film.'"
    try:
        task.example(inputs[0])
    except UsageError as error:
        raise UsageError(str(error), f"zoo predict {name} {example}") from None


def _read_inputs(task: Task, file: str, columns: Sequence[str]) -> list[Any]:
    """One input of `task.example` for each row of a table or line of a text."""
    from zoo.data.files import SUFFIXES, read_frames

    path = Path(file)
    roles = task.text_columns
    if file != "-" and path.suffix.lower() in SUFFIXES:
        if not path.is_file():
            raise NotFoundError(f"there is no file '{file}'.")
        named = split_pairs(one if "=" in one else f"{roles[0]}={one}" for one in columns)
        inputs = task.inputs_of(read_frames(path)["train"], named, file)
    else:
        try:
            content = sys.stdin.buffer.read() if file == "-" else path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"there is no file '{file}'.") from None
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not UTF-8 (byte {error.start}).") from None
        inputs = [line for line in lines if line.strip()]
        if len(roles) > 1:
            inputs = [tuple(text for text in line.split("\t") if text.strip()) for line in inputs]
            number = next((number for number, one in enumerate(inputs, 1) if len(one) != len(roles)), None)
            if number is not None:
                raise DataError(f"line {number} of {file} is not {len(roles)} texts with a tab between.")
    if not inputs:
        raise DataError(f"{file} holds no text.")
    return inputs


@click.command(name="merge")
@click.argument("name")
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Where the model goes: a new folder.")
@click.option(
    "--dtype", metavar="float32|float16|bfloat16", help="Type of the saved weights. Default: the base's own."
)
@base_options
@registry_option
@json_option
def merge_command(registry: Registry, name: str, output: str, as_json: bool, **settings: Any) -> None:
    """Write the adapter NAME and its base as one model that transformers loads by itself.

    It is read back and must give the adapter's own outputs on a few inputs, or it is not kept.
    """
    registry.locate(name)

    from zoo.adapters import merge

    merged = merge.merge(name, registry, Path(output), StderrReport(), **settings)
    facts: dict[str, object] = {"folder": str(merged.folder), "dtype": merged.dtype}
    differences = {"largest_difference": merged.difference, "largest_output": merged.scale}
    if as_json:
        print_json(facts | differences)
    else:
        print_facts([*facts.items(), *((name, f"{value:.3g}") for name, value in differences.items())])


@click.command(name="chat")
@click.argument("name")
@click.option("--prompt", metavar="TEXT", help="Answer this, and leave.")
@click.option("--system", metavar="TEXT", help="What the model is told before the conversation.")
@click.option("--max-new-tokens", type=int, default=256, show_default=True, metavar="N", help="Of an answer.")
@click.option(
    "--temperature", type=float, default=0.7, show_default=True, metavar="X", help="0: the likeliest token."
)
@click.option(
    "--top-p", type=float, default=0.95, show_default=True, metavar="X", help="Of the likeliest tokens."
)
@click.option("--seed", type=int, default=42, show_default=True)
@base_options
@registry_option
def chat_command(
    registry: Registry,
    name: str,
    prompt: str | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    **settings: Any,
) -> None:
    """Talk to the adapter NAME.

    \b
    /base   turn the adapter off, and on again
    /reset  forget the conversation
    /quit   leave; so does the end of the input. Ctrl-C stops an answer.
    """
    if prompt is not None and not prompt.strip():
        raise UsageError("--prompt is empty.", f"zoo chat {name} --prompt 'What is an adapter?'")

    from zoo.tasks.causal_lm.generation import Sampling

    sampling = Sampling(max_new_tokens, temperature, top_p)  # refused before anything heavy is imported

    from zoo.adapters.chat import Chat

    chat = Chat(name, registry, sampling, report=StderrReport(), **settings)
    if prompt is not None:
        _answer(chat, prompt)
        return
    if sys.stdin.isatty():
        click.echo(f"{name} on its base. {_CHAT_HELP}.", err=True)
    for line in _typed_lines(name):
        if line == "/quit":
            return
        if line == "/reset":
            chat.reset()
            click.echo("the conversation is forgotten", err=True)
        elif line == "/base":
            click.echo(f"the adapter is {'on' if chat.toggle() else 'off: the base answers'}", err=True)
        elif line.startswith("/"):
            click.echo(f"no command is called '{line.split()[0]}'. {_CHAT_HELP}.", err=True)
        elif line:
            _answer(chat, line)


def _typed_lines(name: str) -> Iterator[str]:
    """What is typed, with the terminal's own editing and history; or the lines of a pipe."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            yield line.strip()
        return
    with suppress(ImportError):  # Windows
        import readline  # noqa: F401  input() uses it once it is imported
    while True:
        try:
            if not sys.stdout.isatty():  # where input() would put it among the answers
                click.echo(f"{name}> ", nl=False, err=True)
            yield input(f"{name}> " if sys.stdout.isatty() else "").strip()
        except EOFError:
            click.echo(err=True)
            return
        except KeyboardInterrupt:
            click.echo("\n/quit leaves.", err=True)


def _answer(chat: Chat, text: str) -> None:
    def show(piece: str) -> None:
        sys.stdout.write(printable(piece))
        sys.stdout.flush()

    chat.say(text, show)
    sys.stdout.write("\n")
    sys.stdout.flush()
