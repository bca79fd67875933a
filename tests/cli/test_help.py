"""Help of every command: in groups, with examples that exist, by `--help` and by `zoo help`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import Result
from zoo.cli import cli
from zoo.plugins import manager, params

Zoo = Callable[..., Result]
GROUPS = ["Train", "Judge", "Share", "Keep", "Extend", "Help"]
WIDTH = 80


def walk(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group of commands below `group`, with what is typed for it."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))


COMMANDS = dict(walk(cli))
EXAMPLES = [
    pytest.param(path, line, id=line)
    for path, command in {(): cli, **COMMANDS}.items()
    for line in getattr(command, "examples", ())
]


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=lambda path: " ".join(path) or "zoo")
def test_every_command_has_an_example_and_its_help_fits_80_columns(zoo: Zoo, path: tuple[str, ...]) -> None:
    found = zoo(*path, "--help")
    assert (found.code, found.err) == (0, "")
    assert [line for line in found.out.splitlines() if len(line) > WIDTH] == []
    examples = found.out.partition("\nExamples:\n")[2].splitlines()
    assert examples
    for line in examples:
        assert line.startswith(" ".join(("  zoo", *path)))


@pytest.mark.parametrize(("path", "line"), EXAMPLES)
def test_an_example_is_of_its_command_with_arguments_and_options_that_it_has(
    path: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    words = shlex.split(line)[1:]
    meant = max((one for one in COMMANDS if tuple(words[: len(one)]) == one), key=len)
    command = COMMANDS[meant]
    assert not isinstance(command, click.Group) or command.invoke_without_command
    assert meant == path or (meant[: len(path)] == path and isinstance(COMMANDS.get(path, cli), click.Group))
    if "--registry" in words:
        words[words.index("--registry") + 1] = str(tmp_path)  # it must be there
    parsed = command.make_context(" ".join(meant), words[len(meant) :]).params
    for kind in ("method", "task"):
        if name := parsed.get(kind) or parsed.get(f"{kind}_name"):
            assert name in manager.find(kind)
    if meant == ("train",):
        settings = params.split_pairs(parsed["params"])
        params.parse(manager.load_method(parsed["method"]).Params, settings, "the example")


def test_each_command_is_in_one_group_with_a_line_of_its_own(zoo: Zoo) -> None:
    sections = re.findall(r"^(\w+):\n((?:  \S.*\n)+)", zoo("--help").out, re.MULTILINE)
    found = {title: [line.split()[0] for line in lines.splitlines()] for title, lines in sections}
    assert list(found) == ["Options", *GROUPS, "Examples"]
    listed = [name for group in GROUPS for name in found[group]]
    assert sorted(listed) == sorted(cli.list_commands(click.Context(cli)))


@pytest.mark.parametrize("words", ["", "train", "help", "registry", "registry rebuild", "plugin new"])
def test_zoo_help_prints_what_the_option_prints(zoo: Zoo, words: str) -> None:
    found = zoo("help", *words.split())
    assert (found.code, found.err) == (0, "")
    assert found.out == zoo(*words.split(), "--help").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lits", "no command is called 'lits'. Did you mean 'list'?"),
        ("registry rebuid", "Did you mean 'rebuild'?"),
        ("list first", "'zoo list' has no command 'first'"),
    ],
)
def test_zoo_help_of_what_is_no_command_is_wrong_usage(zoo: Zoo, words: str, said: str) -> None:
    found = zoo("help", *words.split())
    assert (found.code, found.out) == (2, "")
    assert said in found.error


def test_zoo_version_prints_what_the_option_prints(zoo: Zoo) -> None:
    assert zoo("version").out == zoo("--version").out
    assert zoo("version").code == 0
