"""`zoo chat NAME`: a conversation in the terminal, or one line of a pipe after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import base_options
from zoo.cli.output import printable, registry_option
from zoo.errors import UsageError
from zoo.registry.store import Registry
from zoo.runtime.console import StderrReport

if TYPE_CHECKING:
    from zoo.adapters.chat import Chat

_HELP = "/base turns the adapter off and on, /reset forgets the conversation, /quit leaves"


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
        click.echo(f"{name} on its base. {_HELP}.", err=True)
    for line in _lines(name):
        if line == "/quit":
            return
        if line == "/reset":
            chat.reset()
            click.echo("the conversation is forgotten", err=True)
        elif line == "/base":
            click.echo(f"the adapter is {'on' if chat.toggle() else 'off: the base answers'}", err=True)
        elif line.startswith("/"):
            click.echo(f"no command is called '{line.split()[0]}'. {_HELP}.", err=True)
        elif line:
            _answer(chat, line)


def _lines(name: str) -> Iterator[str]:
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
