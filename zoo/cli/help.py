"""Shows examples in the `--help` of every command; `zoo help` and `zoo version`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from zoo import __version__


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        self.write(click.style(f"{'':>{self.current_indent}}{heading}:", bold=True) + "\n")


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command of the zoo.

    Args:
        examples: whole command lines, at the end of its help; tests parse them.
    """

    context_class = _Context

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any):
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(Command, click.Group):
    """A command of the zoo that has commands of its own."""

    command_class = Command


@click.command(name="help", cls=Command, examples=["zoo help train", "zoo help registry rebuild"])
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Explain COMMAND: its arguments, its options, and examples. Without COMMAND: list all of them."""
    about = ctx.find_root()
    for word in words:
        group = about.command
        if not isinstance(group, click.Group):
            about.fail(f"'{about.command_path}' has no command '{word}': it has none of its own.")
        _, found, _ = group.resolve_command(about, [word])
        assert found is not None, "else resolve_command has failed with what it suggests"
        about = found.context_class(found, info_name=word, parent=about)
    click.echo(about.get_help())


@click.command(name="version", cls=Command, examples=["zoo version"])
def version_command() -> None:
    """Print the version, as `zoo --version` does."""
    click.echo(f"zoo, version {__version__}")
