"""`zoo predict` and `zoo evaluate`: put an adapter to work."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zoo.cli.output import json_option, number, print_all_metrics, print_json, print_rows, registry_option
from zoo.errors import DataError, NotFoundError, UsageError
from zoo.options import split_pairs
from zoo.registry import Registry
from zoo.report import Report, StderrReport

_WORTH_A_BAR = 100
"""Texts that take long enough for a progress bar."""


@click.command(name="predict")
@click.argument("name")
@click.argument("texts", nargs=-1, metavar="TEXT...")
@click.option(
    "-f", "--file", metavar="FILE", help="A text a line; or a csv, tsv, jsonl, json, parquet; or - for stdin."
)
@click.option(
    "--column", default="text", show_default=True, metavar="NAME", help="The column of FILE with the texts."
)
@registry_option
@json_option
def predict_command(
    registry: Registry, name: str, texts: tuple[str, ...], file: str | None, column: str, as_json: bool
) -> None:
    """What the adapter NAME says of each TEXT."""
    if bool(texts) == bool(file):
        raise UsageError(
            "give texts, or a file of them with -f, and not both.", f"zoo predict {name} 'A fine film.'"
        )
    inputs = list(texts) if file is None else _read_texts(file, column)
    registry.get(name)

    from zoo import inference

    report = StderrReport() if len(inputs) > _WORTH_A_BAR else Report()
    rows = inference.predict(inference.load(name, registry), inputs, report)
    found = [{**row, "text": text} for text, row in zip(inputs, rows, strict=True)]
    if as_json:
        print_json(found)
        return
    print_rows(
        ("label", "probability", "text"),
        [(row["label"], number(row["probability"]), row["text"]) for row in found],
    )


@click.command(name="evaluate")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--data", metavar="ID|PATH", help="Other rows than the adapter's own held-out ones; all of them are used."
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="A column under another name: label=stars.",
)
@click.option("--precision", metavar="auto|bf16|fp32", help="Default: that of the training.")
@registry_option
@json_option
def evaluate_command(
    registry: Registry,
    names: tuple[str, ...],
    data: str | None,
    columns: tuple[str, ...],
    precision: str | None,
    as_json: bool,
) -> None:
    """Measure each adapter NAME again on its held-out rows, or on other data.

    What several NAMEs share is read once, and their --json is an object by name.
    """
    renamed = split_pairs(columns, "--column")

    from zoo import measuring

    report = StderrReport()
    found = dict(
        measuring.evaluate_all(names, registry, report, data=data, columns=renamed, precision=precision)
    )
    if as_json:
        shown = {
            name: {"metrics": one.metrics, "baselines": one.baselines, "flags": one.flags}
            for name, one in found.items()
        }
        print_json(shown if len(shown) > 1 else shown[names[0]])
        return
    print_all_metrics([(name, one.metrics, one.baselines) for name, one in found.items()])
    for name, one in found.items():
        for flag in one.flags:
            report.warn(f"{name}: {flag}." if len(found) > 1 else f"{flag}.")


def _read_texts(file: str, column: str) -> list[str]:
    from zoo.data import SUFFIXES, columns_of, read_frames

    path = Path(file)
    if file != "-" and path.suffix.lower() in SUFFIXES:
        if not path.is_file():
            raise NotFoundError(f"there is no file '{file}'.")
        frame = columns_of(read_frames(path)["train"], {"text": column}, file)
        texts = [str(text) for text in frame["text"]]
    else:
        try:
            content = sys.stdin.buffer.read() if file == "-" else path.read_bytes()
            texts = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
        except FileNotFoundError:
            raise NotFoundError(f"there is no file '{file}'.") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not UTF-8 (byte {error.start}).") from None
    if not texts:
        raise DataError(f"{file} holds no text.")
    return texts
