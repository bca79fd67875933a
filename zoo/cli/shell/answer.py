"""Answers a shell that asks which words may come next: a line for each, and nothing where anything fails."""

from __future__ import annotations

import io
import os
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import ClassVar

import click
from click import shell_completion as own
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from zoo.cli.shell.values import values

VARIABLE = "_ZOO_COMPLETE"
"""Set by the scripts to `bash_complete` and the like; `bash_source` prints the script, as click has it."""
_CURSOR = "\x1f"
_REDIRECTION = re.compile(r"(\d*|&)[<>]+&?")


def answer(cli: click.Group, instruction: str) -> int:
    """Print what may come after the line in `$_ZOO_LINE`; 1 if click knows no such `instruction`."""
    for shell in (Bash, Zsh, Fish):
        own.add_completion_class(shell)
    return own.shell_complete(cli, {}, "zoo", VARIABLE, instruction)


def script(shell: str) -> str:
    """What bash, zsh or fish reads to complete `zoo`."""
    return Path(__file__).with_name(f"zoo.{shell}").read_text(encoding="utf-8")


class _Answer(ShellComplete):
    """Reads the line up to the cursor as it was typed, and writes `type`, word and help with tabs between."""

    def source(self) -> str:
        return script(self.name)

    def complete(self) -> str:
        # a third party's plugin may print while it is imported, and raise anything
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(BaseException):
            return super().complete()
        return ""

    def get_completion_args(self) -> tuple[list[str], str]:
        *words, last = split_arg_string(os.environ["_ZOO_LINE"] + _CURSOR)
        while words and re.match(r"\w+=", words[0]):  # NAME=value before the command
            del words[0]
        return [os.path.expandvars(word) for word in words[1:]], last.removesuffix(_CURSOR)

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        if _REDIRECTION.match(incomplete) or (args and _REDIRECTION.fullmatch(args[-1])):
            return [CompletionItem("", "file")]
        ctx = own._resolve_context(self.cli, self.ctx_args, self.prog_name, args)
        target, value = own._resolve_incomplete(ctx, [*args], incomplete)
        if isinstance(target, click.Option) and args and args[-1] in target.opts:
            # of a line that ends with an option without its value, click reads no argument
            ctx = own._resolve_context(self.cli, self.ctx_args, self.prog_name, args[:-1])
        option = incomplete.removesuffix(value)  # `--base=`, or nothing
        found = (
            values(ctx, target, value)
            if isinstance(target, click.Parameter)
            else target.shell_complete(ctx, value)
        )
        return [
            CompletionItem(option + one.value, one.type, one.help)
            for one in found
            if one.type != "plain" or (one.value.startswith(value) and shlex.quote(one.value) == one.value)
        ]

    def format_completion(self, item: CompletionItem) -> str:
        return "\t".join((item.type, item.value, " ".join((item.help or "").split())))


class Bash(_Answer):
    """Bash replaces only what stands after the last of its word breaks, such as = and :."""

    name: ClassVar[str] = "bash"

    def format_completion(self, item: CompletionItem) -> str:
        line = os.environ["_ZOO_LINE"]
        typed = self.get_completion_args()[1]
        is_quoted = line.removesuffix(typed).endswith(("'", '"'))
        breaks = "" if is_quoted else os.environ.get("_ZOO_BREAKS", "")
        kept = max((typed.rfind(one) + 1 for one in breaks), default=0)
        item.value = item.value[kept:]
        return super().format_completion(item)


class Zsh(_Answer):
    name: ClassVar[str] = "zsh"


class Fish(_Answer):
    name: ClassVar[str] = "fish"
