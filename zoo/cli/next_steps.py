"""Turns the hint of an error into the command to type next, and explains what click could not parse.

A hint is a command, or says how the same command is to be changed: options to set (`--name other`,
`-s r=8`), `without --resume`, `lora instead of lorra`, or `again`. Anything else is
advice and stays as it is.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence

import click

from zoo.errors import AGAIN, PluginError
from zoo.plugins import manager
from zoo.runtime import suggest
from zoo.runtime.installation import install_extra, upgrade
from zoo.security.secrets import clean, redact

_WORD = r"('.*'|\S+)"
_REPLACED = re.compile(f"{_WORD} instead of {_WORD}")
_UPGRADE = "pip install --upgrade adapter-zoo"
_EXTRA = re.compile(r"pip install 'adapter-zoo\[(\w+)\]'")
_KEYED = ("-s", "--set", "--column", "--min", "--max")
"""Options that are given several times, as KEY=VALUE: setting one leaves those of other keys."""
_PROGRAMS = (
    "zoo",
    "pip",
    "hf",
    "git",
    "iconv",
    "export",
    "unset",
    "mv",
    "rm",
    "rmdir",
    "find",
    "fuser",
    "python",
)
_LISTS = {
    "name": "zoo list",
    "names": "zoo list",
    "method": "zoo methods",
    "task": "zoo tasks",
    "repo": "zoo search",
}
"""A missing argument -> what lists its values."""


def next_step(hint: str, typed: Sequence[str] | None = None) -> str:
    """What to type, ready to be pasted.

    Args:
        typed: the arguments of the command that failed; those of this process by default.
    """
    words = _typed(typed)
    return " && ".join(_step(one, words) for one in hint.split(" && "))


def _step(hint: str, typed: list[str]) -> str:
    if hint == AGAIN:
        return _zoo(typed)
    if hint.startswith("-"):
        return _zoo(_set(typed, shlex.split(hint)))
    if hint.startswith("without -"):
        return _zoo(_drop(typed, hint.split()[1:]))
    changes = [_REPLACED.fullmatch(one) for one in hint.split(", ")]
    if all(changes):
        words = [list(map(_unquoted, one.groups())) for one in changes if one]
        replaced = {
            former: new for new, old in words for former in (old, old.removeprefix("path:")) if former
        }
        return _zoo([_replace(word, replaced) for word in typed])
    if hint == _UPGRADE:
        return upgrade()
    extra = _EXTRA.fullmatch(hint)
    return install_extra(extra[1]) if extra else _with_registry(hint, typed)


def _replace(word: str, replaced: dict[str, str]) -> str:
    """A word, or the path that it is, however that was typed: `./reviews.csv`, `--data=reviews.csv`."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path = os.path.expanduser(value.removeprefix("path:"))
    for one in (value, os.path.normpath(path), os.path.abspath(path)):
        if one in replaced:
            return f"{flag}{equals}{replaced[one]}"
    return replaced.get(word, word)


def is_command(step: str) -> bool:
    """False for advice, which is not to be pasted."""
    return step.partition(" ")[0] in _PROGRAMS


def hint_line(hint: str) -> str:
    """`Next: COMMAND`, or `Hint: ADVICE`."""
    step = clean(redact(next_step(hint)))
    return f"{'Next' if is_command(step) else 'Hint'}: {step}"


def explain_command(word: str, known: Collection[str], typed: Sequence[str] | None = None) -> tuple[str, str]:
    """The message and the hint where `word` is no command."""
    typed = _typed(typed)
    message = f"no command is called '{word}'."
    named = {suggest.fold(one) for one in typed[:2]} & {*manager.find("method"), *manager.find("task")}
    near = suggest.closest(word, known, suggest.COMMANDS)
    if named and suggest.fold(word) in named:
        return f"{message} Did you mean 'train {word}'?", _zoo(["train", *typed])
    if near is None:
        return message, "zoo --help"
    return f"{message} Did you mean '{near}'?", suggest.instead(near, word)


def explain(error: click.UsageError, typed: Sequence[str] | None = None) -> tuple[str, str]:
    """The message and the hint for arguments that click refused."""
    path = error.ctx.command_path if error.ctx else "zoo"
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        return _explain_option(error.option_name, error.ctx, _typed(typed))
    missing = error.param.name if isinstance(error, click.MissingParameter) and error.param else None
    return error.format_message(), _LISTS.get(missing or "", f"{path} --help")


def _explain_option(option: str, ctx: click.Context, typed: list[str]) -> tuple[str, str]:
    message = f"{ctx.command_path} has no option '{option}'."
    known = {name: one for one in ctx.command.params for name in (*one.opts, *one.secondary_opts)}
    at = next((i for i, word in enumerate(typed) if word.partition("=")[0] == option), None)
    if at is None:  # one letter of several after one dash
        return message, f"{ctx.command_path} --help"
    _, equals, value = typed[at].partition("=")
    after = typed[at + 1 :]
    if not equals and after and not after[0].startswith("-"):
        value, after = after[0], after[1:]

    folded = suggest.fold(option)
    parameter = _parameter(folded.lstrip("-"), typed) if "-s" in known else None
    theirs = suggest.OPTIONS.get(folded, "").split()
    near = theirs if theirs and theirs[0] in known else None
    if parameter is not None:
        near, value = ["-s"], f"{parameter}={value or 'VALUE'}"
    elif near is None and folded not in suggest.ADVICE:
        meant = suggest.closest(option.lstrip("-"), [name[2:] for name in known if name.startswith("--")])
        near = [f"--{meant}"] if meant else None
    if near is None:
        advice = suggest.ADVICE.get(folded, "")
        return f"{message} {advice}".rstrip(), f"{ctx.command_path} --help"
    takes_value = len(near) == 1 and not getattr(known[near[0]], "is_flag", False)
    words = [*near, value] if takes_value and value else near
    shown = " ".join(words if parameter else near)
    return f"{message} Did you mean '{shown}'?", _zoo([*typed[:at], *words, *after])


def _parameter(word: str, typed: Sequence[str]) -> str | None:
    """The parameter of the typed METHOD that an option of another tool sets, by its name or a synonym."""
    import dataclasses

    named = next((one for one in map(suggest.fold, typed) if one in manager.find("method")), None)
    try:
        params = [one.name for one in dataclasses.fields(manager.load_method(named).Params)] if named else []
    except PluginError:
        return None
    meant = suggest.PARAMETERS.get(word)
    return next((one for one in params if suggest.fold(one) == word or one == meant), None)


def _typed(typed: Sequence[str] | None) -> list[str]:
    return sys.argv[1:] if typed is None else list(typed)


def _unquoted(word: str) -> str:
    return shlex.split(word)[0]


def _zoo(words: Sequence[str]) -> str:
    return shlex.join(["zoo", *words])


def _set(typed: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments with these options, in the place of a former value where they have one."""
    words = list(typed)
    for at, flag in enumerate(options):
        if not flag.startswith("-"):
            continue
        value = options[at + 1] if at + 1 < len(options) and not options[at + 1].startswith("-") else None
        key = f"{value}".partition("=")[0] if flag in _KEYED else ""
        for former, start in ((flag, f"{key}=" if key else ""), (f"--{key}-column", "")):
            before = _position(words, former, start)
            if before is not None:
                apart = value is not None and words[before] == former
                del words[before : before + 1 + apart]
        is_argument = _takes(words, flag[2:]) and not _takes(words, flag)
        words += [flag] if value is None else [value] if is_argument else [flag, value]
    return words


def _drop(typed: Sequence[str], option: Sequence[str]) -> list[str]:
    """The arguments without a flag (`--resume`), or without one key of an option (`-s init_text`)."""
    words = list(typed)
    flag, *key = option
    at = _position(words, flag, f"{key[0]}=" if key else "")
    if at is not None:
        del words[at : at + 1 + len(key)]
    return words


def _position(words: Sequence[str], flag: str, key: str) -> int | None:
    for at, word in enumerate(words):
        apart = word == flag and "".join(words[at + 1 : at + 2]).startswith(key)
        if apart or word.startswith(f"{flag}={key}"):
            return at
    return None


def _with_registry(step: str, typed: Sequence[str]) -> str:
    """A command of the zoo looks where the one before it looked."""
    program, _, rest = step.partition(" ")
    at = _position(typed, "--registry", "")
    if (
        program != "zoo"
        or at is None
        or {"--registry", "--help"} & {*rest.split()}
        or not _takes(rest.split(), "--registry")
    ):
        return step
    given = typed[at].partition("=")[2] or "".join(typed[at + 1 : at + 2])
    command, into, path = step.partition(" > ")
    return f"{command} --registry {shlex.quote(given)}{into}{path}"


def _takes(words: Sequence[str], option: str) -> bool:
    """Has the command of these words such an option, or an argument of this name?"""
    from zoo.cli import cli

    command: click.Command | None = cli
    context = click.Context(cli)
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(context, word)
    return command is not None and any(option in one.opts for one in command.params)
