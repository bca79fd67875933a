"""The command line: words that click parses, the next steps of errors, completion."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from tests.fuzz.harness import check_error, fuzz, survives
from tests.fuzz.inputs import Recipe, damage, made
from zoo import cli
from zoo.cli import next_steps
from zoo.cli.shell import answer

LINES = tuple(
    tuple(line.split())
    for line in (
        "train lora bert-imdb --data rows.csv -s r=16 --column text=review --limit 10",
        "train lora bert-imdb --model x --lora-rank 8 --batch-size 4 --epochs nan",
        "lora bert-imdb --seed 3",
        "list --base bert --min f1=0.8 --json --wide",
        "show one --registry registry",
        "rm one two --yes",
        "predict one text --pair a b -f rows.csv",
        "evaluate one --data=rows.csv --label-column stars",
        "config set precision fp32",
        "data check rows.csv --task bert-imdb",
        "plugin new method my-method",
        "publish one me/one --public",
        "import folder --labels a,b --convert-bin",
        "registry rebuild --registry x.csv",
        "completion bash",
        "help train",
        "schema list",
        "--debug doctor --fast",
        "fine-tune --hub-model-id x",
    )
)


def _lines(recipe: Recipe) -> list[str]:
    """A command with words gone, twice, in other places, or damaged."""
    line = list(recipe.one_of(LINES))
    for _ in range(recipe.below(4)):
        at = recipe.below(len(line) + 1)
        way = recipe.below(4)
        if way == 0:
            del line[at : at + 1]
        elif way == 1:
            line.insert(at, recipe.one_of(recipe.one_of(LINES)))
        elif way == 2 and at < len(line):
            line[at] = damage(recipe, line[at].encode("utf-8", "surrogateescape")).decode(
                "utf-8", "surrogateescape"
            )
        else:
            line.insert(
                at, recipe.one_of(("", "-", "--", "-s", "=", "--json", "it's", "a b", "²", "\udcff", "-1"))
            )
    return [word.replace("\0", "")[:2000] for word in line]


@fuzz(made(_lines), ["show", "one", "--registry", "r" * 2000])
def test_a_command_line_is_parsed_or_explained(monkeypatch: pytest.MonkeyPatch, line: list[str]) -> None:
    """Parsed and not run: what a command then does is tested elsewhere."""
    monkeypatch.setattr(click.Command, "invoke", lambda command, ctx: None)
    monkeypatch.setattr("sys.argv", ["zoo", *line])

    def parsed() -> None:
        try:
            cli.cli.main(line, prog_name="zoo", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError:
            pass
        except click.UsageError as error:
            check_error(*next_steps.explain(error))
        except click.exceptions.Exit:
            pass

    survives(parsed)


HINTS = (
    "zoo list",
    "-s r=8",
    "--name other",
    "without --resume",
    "lora instead of lorra",
    "again",
    "--column text='a b'",
    "zoo show 'it''s' && zoo list",
    "pip install x",
    "'a b' instead of 'c d', x instead of y",
    "correct that line",
    "iconv -f latin1 -t utf-8 'a b.csv' > c.csv && c.csv instead of 'a b.csv'",
)


@fuzz(
    made(
        lambda recipe: (
            damage(recipe, recipe.one_of(HINTS).encode()).decode("utf-8", "ignore"),
            _lines(recipe),
        )
    ),
    ("--column it's", ["train"]),
)
def test_any_hint_becomes_a_next_step(case: tuple[str, list[str]]) -> None:
    hint, line = case
    assert survives(lambda: next_steps.next_step(hint, line)) is not None


@fuzz(made(_lines), share=0.2)
def test_any_line_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    typed = " ".join(["zoo", *line])
    monkeypatch.setenv("_ZOO_LINE", typed)
    monkeypatch.setenv("_ZOO_BREAKS", "=:")
    os.environ["COMP_WORDS"] = typed
    for shell in (answer.Bash, answer.Fish):
        found = survives(shell(cli.cli, {}, "zoo", answer.VARIABLE).complete)
        assert found is not None
        found.encode("utf-8", "surrogateescape")
