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
from collections.abc import Collection, Mapping, Sequence

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
_TYPO = 0.8
"""How like an option of ours one must be to be a slip of the finger, and not another tool's."""
_PROGRAMS = (
    *("zoo", "pip", "hf", "git", "iconv", "export", "unset"),
    *("mv", "rm", "rmdir", "find", "fuser", "python", "source", "echo"),
)
_MISSING = {
    "name": "zoo list",
    "names": "zoo list",
    "method": "zoo methods",
    "task": "zoo tasks",
    "task_name": "zoo tasks",
    "reference": "zoo search",
    "output": "-o merged",
    "zoo plugin check name": "zoo plugins",
    "zoo plugin new kind": "zoo plugin new method my-method",
    "zoo plugin new name": "zoo plugin new method my-method",
}
"""A missing argument or option -> the hint: what lists its values, or one of them."""


def next_step(hint: str, typed: Sequence[str] | None = None) -> str:
    """What to type, ready to be pasted.

    Args:
        typed: the arguments of the command that failed; those of this process by default.
    """
    words = _typed(typed)
    pieces = hint.split(" && ")
    if any(_split(one) is None for one in pieces):  # it is within quotes
        pieces = [hint]
    steps = " && ".join(_step(one, words) for one in pieces)
    # what lies in this folder is named as it would be typed; pip tells a folder from a package by its slash
    return steps if steps.startswith("pip ") else steps.replace(f"{os.getcwd()}{os.sep}", "")


def _step(hint: str, typed: list[str]) -> str:
    if hint == AGAIN:
        return _zoo(typed)
    if hint.startswith("-"):
        arguments = [one.name for one in _command(typed)[1].params if isinstance(one, click.Argument)]
        flag, _, value = hint.partition(" ")
        if flag.removeprefix("--") in arguments:  # of data check, DATA has no flag
            return _zoo([*typed, *(_split(value) or value.split())])
        return _zoo(_set(typed, _split(hint) or hint.split()))
    if hint.startswith("without -"):
        return _zoo(_drop(typed, hint.split()[1:]))
    changes = [_REPLACED.fullmatch(one) for one in hint.split(", ")]
    if all(changes):
        replaced = {old: new for one in changes if one for new, old in [map(_unquoted, one.groups())]}
        return _zoo(_replace(_drop(typed, ["--yes"]), replaced))  # what was guessed is asked about
    if hint == _UPGRADE:
        return upgrade()
    extra = _EXTRA.fullmatch(hint)
    return install_extra(extra[1]) if extra else _with_registry(hint, typed)


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
    at = typed.index(word) if word in typed else 0
    methods, tasks = manager.find("method"), manager.find("task")
    found = {suggest.fold(one) for one in typed[at : at + 2]}
    method, task = next(iter(found & {*methods}), None), next(iter(found & {*tasks}), None)
    if method and task:
        words = [method, task, *typed[at + 2 :]]
        return f"{message} Did you mean 'train {method} {task}'?", _zoo([*typed[:at], "train", *words])
    if suggest.fold(word) in (method, task):
        return f"{message} It is a {'method' if method else 'task'}: zoo train METHOD TASK.", (
            f"zoo methods {method}" if method else "zoo tasks"
        )
    near = suggest.closest(word, known, suggest.COMMANDS)
    if near is None:
        return message, "zoo --help"
    return f"{message} Did you mean '{near}'?", suggest.instead(near, word)


def explain(error: click.UsageError, typed: Sequence[str] | None = None) -> tuple[str, str]:
    """The message and the hint for arguments that click refused."""
    typed = _typed(typed)
    path, command = _command(typed)
    if isinstance(error, click.NoSuchOption):
        return _explain_option(error.option_name, path, command, typed)
    if isinstance(error, click.MissingParameter) and error.param:
        name = error.param.name or ""
        return error.format_message(), _MISSING.get(f"{path} {name}", _MISSING.get(name, f"{path} --help"))
    rest = [one for one in typed[_start(path, typed) :] if not one.startswith("-")]
    if isinstance(command, click.Group) and rest:
        near, hint = suggest.unknown(rest[0], command.commands, f"{path} --help", suggest.COMMANDS)
        return f"{path} has no command '{rest[0]}'.{near}", hint
    if type(error) is click.UsageError and error.message.startswith("Got unexpected extra argument"):
        return _explain_extra(path, command, typed)
    return error.format_message(), f"{path} --help"


def _explain_extra(path: str, command: click.Command, typed: list[str]) -> tuple[str, str]:
    words = typed[_start(path, typed) :]
    extra = command.make_parser(click.Context(command)).parse_args(list(words))[1]
    message = f"{path} has no argument for '{' '.join(extra)}'."
    at = len(typed) - 1 - typed[::-1].index(extra[0])
    before, after = typed[:at], typed[at + 1 :]
    options = [name for one in command.params for name in one.opts]
    if before[-2:-1] in (["-s"], ["--set"]) and "=" not in before[-1]:  # -s r 8
        return message, _zoo([*before[:-1], f"{before[-1]}={extra[0]}", *after])
    if "--data" in options and "--data" not in typed and os.path.exists(extra[0]):
        return f"{message} Did you mean '--data {extra[0]}'?", _zoo([*before, "--data", extra[0], *after])
    takes_some = any(isinstance(one, click.Argument) for one in command.params)
    return message, f"{path} --help" if takes_some else path


def _explain_option(option: str, path: str, command: click.Command, typed: list[str]) -> tuple[str, str]:
    message = f"{path} has no option '{option}'."
    known = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    at = next((i for i, word in enumerate(typed) if word.partition("=")[0] == option), None)
    if at is None:  # one letter of several after one dash
        return message, f"{path} --help"
    _, equals, value = typed[at].partition("=")
    after = typed[at + 1 :]
    if not equals and after and not after[0].startswith("-"):
        value, after = after[0], after[1:]

    folded = suggest.fold(option)
    if path == "zoo train" and (method := _as_method(folded.lstrip("-"), value)):
        others = [*typed[:at], *(after if suggest.fold(value) == "true" else typed[at + 1 :])]
        now = next((one for one in others if suggest.fold(one) in manager.find("method")), None)
        words = [method if one == now else one for one in others]
        return f"{message} {suggest.METHOD_FIRST}", _zoo(
            words if now else [*typed[:at], method, *others[at:]]
        )
    parameter = _parameter(folded.lstrip("-"), typed) if "-s" in known else None
    theirs = suggest.OPTIONS.get(folded, "").split()
    near = theirs if theirs and theirs[0] in known else None
    advice = suggest.ADVICE.get(folded, "")
    if any(one not in known for one in re.findall(r"--[a-z-]+", advice)):
        advice = ""
    if parameter is not None:
        near, value = ["-s"], f"{parameter}={value or 'VALUE'}"
    elif near is None and not advice:
        fits = [name[2:] for name, one in known.items() if name.startswith("--") and _takes(one, value)]
        meant = suggest.closest(option.lstrip("-"), fits, least=_TYPO)
        near = [f"--{meant}"] if meant else None
    if near is None:
        return f"{message} {advice}".rstrip(), f"{path} --help"
    takes_value = len(near) == 1 and not getattr(known[near[0]], "is_flag", False)
    words = [*near, value] if takes_value and value else near
    shown = " ".join(words if parameter else near)
    return f"{message} Did you mean '{shown}'?", _zoo([*typed[:at], *words, *after])


def _as_method(word: str, value: str) -> str | None:
    """The method that a switch of another tool asks for: `--lora`, `--use-dora True`, `--load-in-4bit`."""
    if value and suggest.fold(value) not in ("true", *manager.find("task")):
        return None
    is_switch = word.startswith(("use-", "load-"))
    return word if word in manager.find("method") else suggest.METHODS.get(word) if is_switch else None


def _takes(option: click.Parameter, value: str) -> bool:
    """Could it have been meant, with this value?"""
    if not value or getattr(option, "is_flag", False):
        return True
    try:
        option.type.convert(value, option, None)
    except click.BadParameter:
        return False
    return True


def _command(typed: Sequence[str]) -> tuple[str, click.Command]:
    """The command of these arguments, and its path: `zoo plugin new`."""
    from zoo.cli import cli

    path = "zoo"
    found: click.Command = cli
    for word in typed:
        if not isinstance(found, click.Group):
            break
        if word.startswith("-"):  # zoo --debug list
            continue
        inner = found.get_command(click.Context(found), word)
        if inner is None:
            break
        path, found = f"{path} {word}", inner
    return path, found


def _start(path: str, typed: Sequence[str]) -> int:
    """Where the arguments of the command begin."""
    at = 0
    for word in path.split()[1:]:
        at = list(typed).index(word, at) + 1
    return at


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


def _replace(typed: Sequence[str], replaced: Mapping[str, str]) -> list[str]:
    """The arguments with other words, also where they are the value in `--option=value` or `-svalue`."""
    words = []
    for word in typed:
        flag, equals, value = word.partition("=")
        for before, old in (("", word), (flag + equals, value), (word[:2], word[2:])):
            new = next((replaced[one] for one in replaced if one == old or _same_path(one, old)), None)
            if new is not None and (before in ("", "-s") or (word.startswith("--") and equals)):
                word = before + new
                break
        words.append(word)
    return words


def _same_path(path: str, word: str) -> bool:
    """Are they one file, the word perhaps relative?"""
    whole = os.path.realpath(os.path.expanduser(word.removeprefix("path:")))
    return os.sep in path and whole == path.removeprefix("path:")


def _typed(typed: Sequence[str] | None) -> list[str]:
    return sys.argv[1:] if typed is None else list(typed)


def _unquoted(word: str) -> str:
    return (_split(word) or [word])[0]


def _split(text: str) -> list[str] | None:
    """The words as a shell has them; None where a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError:
        return None


def _zoo(words: Sequence[str]) -> str:
    return shlex.join(["zoo", *words])


def _set(typed: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments with these options, in the place of a former value where they have one."""
    words = list(typed)
    for at, flag in enumerate(options):
        if not flag.startswith("-"):
            continue
        value = options[at + 1] if at + 1 < len(options) and not options[at + 1].startswith("-") else None
        key = f"{value}".partition("=")[0] + "=" if flag in _KEYED else ""
        if flag == "--column":  # the short form would win
            words = _drop(words, [f"--{key[:-1]}-column"])
        before = _position(words, flag, key)
        if before is not None:
            del words[before : before + (1 if value is None or "=" in words[before] else 2)]
        words += [flag] if value is None else [flag, value]
    return words


def _drop(typed: Sequence[str], option: Sequence[str]) -> list[str]:
    """The arguments without an option (`--resume`, `--limit`), or without one key of it (`-s init_text`)."""
    words = list(typed)
    flag, *key = option
    at = _position(words, flag, f"{key[0]}=" if key else "")
    if at is None:
        return words
    apart = words[at] == flag and (key or _has_value(typed, flag))
    del words[at : at + (2 if apart else 1)]
    return words


def _has_value(typed: Sequence[str], flag: str) -> bool:
    option = next((one for one in _command(typed)[1].params if flag in one.opts), None)
    return option is not None and not getattr(option, "is_flag", False)


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
        or not _takes_registry(rest.split())
    ):
        return step
    given = typed[at].partition("=")[2] or "".join(typed[at + 1 : at + 2])
    command, into, path = step.partition(" > ")
    return f"{command} --registry {shlex.quote(given)}{into}{path}"


def _takes_registry(words: Sequence[str]) -> bool:
    return any("--registry" in one.opts for one in _command(words)[1].params)
