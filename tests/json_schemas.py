"""Validates what a command prints with --json against the schema that `zoo schema` gives for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def check_json(words: Sequence[str], out: str) -> None:
    """Raises ValidationError: `out`, printed by `zoo WORDS...`, is not what the schema says."""
    if "--json" in words and out.strip():
        _validator(command_name(words)).validate(json.loads(out))


def command_name(words: Sequence[str]) -> str:
    """`data check` of `data check rows.csv --json`."""
    from zoo.cli import cli

    command: click.Command | None = cli
    found: list[str] = []
    for word in words:
        if not isinstance(command, click.Group):
            break
        if not word.startswith("-"):
            inner = command.get_command(click.Context(command), word)
            if inner is None and found:  # `zoo runs --registry FOLDER`
                break
            command = inner
            found.append(word)
    return " ".join(found)


@cache
def _validator(name: str) -> Draft202012Validator:
    from click.testing import CliRunner
    from jsonschema import Draft202012Validator

    from zoo.cli import cli

    schema = json.loads(CliRunner().invoke(cli, ["schema", *name.split()], catch_exceptions=False).stdout)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
