"""The command `zoo`: parse, call, print. Errors become one line, the next step, and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from zoo import __version__
from zoo.cli.help import Group
from zoo.errors import Interrupted, UsageError, ZooError
from zoo.runtime import console, signals, streams
from zoo.runtime.terminal import say

if TYPE_CHECKING:
    from types import TracebackType

    from click.shell_completion import CompletionItem

_COMMANDS = {
    "train": ("Train", "zoo.cli.train", "Train an adapter: zoo train METHOD TASK."),
    "runs": ("Train", "zoo.cli.runs", "List trainings that are alive or stopped."),
    "resume": ("Train", "zoo.cli.runs", "Go on with a training that stopped: zoo resume NAME."),
    "stop": ("Train", "zoo.cli.runs", "Let a training save and end: zoo stop NAME."),
    "methods": ("Train", "zoo.cli.plugins", "List the training methods."),
    "tasks": ("Train", "zoo.cli.plugins", "List the tasks."),
    "sources": ("Train", "zoo.cli.plugins", "List the sources of bases and data."),
    "data": ("Train", "zoo.cli.train", "Check data before training on it."),
    "evaluate": ("Judge", "zoo.cli.use", "Evaluate an adapter again, or on other data."),
    "predict": ("Judge", "zoo.cli.use", "Predict with an adapter."),
    "chat": ("Judge", "zoo.cli.use", "Chat with an adapter of a chat model."),
    "verify": ("Judge", "zoo.cli.check", "Check that an adapter still matches its record."),
    "reproduce": ("Judge", "zoo.cli.reproduce", "Train an adapter again, and compare bit for bit."),
    "check": ("Judge", "zoo.cli.check", "Check which bases an adapter fits."),
    "publish": ("Share", "zoo.cli.publish", "Publish an adapter on the Hub."),
    "search": ("Share", "zoo.cli.pull", "Search the Hub by base, method or task."),
    "pull": ("Share", "zoo.cli.pull", "Fetch an adapter from the Hub: zoo pull REPO."),
    "import": ("Share", "zoo.cli.pull", "Import a PEFT adapter made elsewhere: zoo import PATH."),
    "card": ("Share", "zoo.cli.card", "Print or write the model card of an adapter."),
    "merge": ("Share", "zoo.cli.use", "Merge an adapter into its base."),
    "list": ("Keep", "zoo.cli.adapters", "List your adapters."),
    "show": ("Keep", "zoo.cli.adapters", "Show the record of an adapter."),
    "rm": ("Keep", "zoo.cli.adapters", "Remove adapters."),
    "undo": ("Keep", "zoo.cli.undo", "Bring back what a command removed or replaced."),
    "registry": ("Keep", "zoo.cli.registry", "Check, merge and repair registry.json."),
    "config": ("Keep", "zoo.cli.config", "Show and change your defaults."),
    "plugins": ("Extend", "zoo.cli.plugins", "List installed plugins, and which are broken."),
    "plugin": ("Extend", "zoo.cli.plugins", "Create and check plugins."),
    "schema": ("Extend", "zoo.cli.schema", "Print the JSON Schema of a command's --json."),
    "doctor": ("Help", "zoo.cli.doctor", "Check this installation, and say how to fix it."),
    "completion": ("Help", "zoo.cli.completion", "Complete words of zoo in bash, zsh and fish."),
    "help": ("Help", "zoo.cli.help", "Explain a command: zoo help COMMAND."),
    "version": ("Help", "zoo.cli.help", "Print the version."),
}
"""Command -> its group in `zoo --help`, its module, imported only when it is called, and its line there."""


class LazyGroup(Group):
    """Knows its commands by name and help line; imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[name][1]), f"{name}_command")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from zoo.cli.next_steps import explain_command

            raise UsageError(*explain_command(args[0], _COMMANDS))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EOFError as error:  # of a file that is cut off: click takes every one for Ctrl-D at a prompt
            raise _unexpected(error) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=line) for name, (*_, line) in _COMMANDS.items()]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _COMMANDS))
        for group in dict.fromkeys(group for group, _, _ in _COMMANDS.values()):
            rows = [(f"{name:{width}}", line) for name, (of, _, line) in _COMMANDS.items() if of == group]
            with formatter.section(group):
                formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    examples=["zoo train lora bert-imdb --limit 2000", "zoo list", "zoo help train"],
)
@click.version_option(__version__, prog_name="zoo")
@click.option("--debug", is_flag=True, envvar="ZOO_DEBUG", help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Train, evaluate, card and keep adapters for pretrained models."""
    if ctx.invoked_subcommand is None:
        from zoo.cli.home import print_home

        print_home(ctx)


def main() -> None:
    """The console script."""
    if "_ZOO_COMPLETE" in os.environ:
        from zoo.cli.shell.answer import answer

        sys.exit(answer(cli, os.environ["_ZOO_COMPLETE"]))
    streams.make_lasting()
    signals.listen()
    console.speak_through(console.StderrReport())
    console.hint_line = _hint_line
    debug = "--debug" in sys.argv[1:2] or os.environ.get("ZOO_DEBUG", "0") not in ("", "0")
    sys.excepthook = _print_traceback
    try:
        try:
            code = cli.main(prog_name="zoo", standalone_mode=False)
        finally:
            signals.stop_listening()
        sys.exit(code)
    except ZooError as error:
        if debug:
            raise
        _fail(str(error), error.hint, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())  # a group without a command
    except click.UsageError as error:
        from zoo.cli.next_steps import explain

        _fail(*explain(error), error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), None, error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        stopped = error if isinstance(error, Interrupted) else error.__cause__
        if isinstance(stopped, Interrupted):
            _fail(str(stopped), stopped.hint, signals.exit_code())
        _fail("interrupted; nothing was registered.", None, signals.exit_code())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `zoo list | head` is not an error
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.", None, 1)
    except Exception as error:
        if debug:
            raise
        found = _unexpected(error)
        _fail(str(found), found.hint, found.exit_code)


def error_lines(message: str, hint: str | None) -> list[str]:
    """What is printed of an error: its message as one line, and the next step if there is one."""
    from zoo.security.secrets import clean, redact

    # untrusted text and URLs with tokens get into messages
    lines = ["Error: " + " ".join(clean(redact(message)).split())]
    return lines + ([_hint_line(hint)] if hint else [])


def _fail(message: str, hint: str | None, code: int) -> None:
    for line in error_lines(message, hint):
        label, _, text = line.partition(" ")
        say(text, label)
    sys.exit(code)


def _unexpected(error: Exception) -> ZooError:
    import shlex

    where = shlex.join(["zoo", "--debug", *sys.argv[1:]])
    return ZooError(f"unexpected {type(error).__name__}: {error}", where)


def _hint_line(hint: str) -> str:
    from zoo.cli.next_steps import hint_line

    return hint_line(hint)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback

    from zoo.security.secrets import redact

    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))
