"""`zoo completion`: the script that completes words of `zoo` in a shell, printed, installed or removed."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

import click

from zoo.cli.help import Command
from zoo.cli.shell.answer import script
from zoo.errors import AGAIN, UsageError
from zoo.runtime import console
from zoo.runtime.terminal import say

_SHELLS = ("bash", "zsh", "fish")
_OURS = "# Completion of `zoo`, written by "


@click.command(
    name="completion",
    cls=Command,
    examples=["zoo completion --install", "zoo completion zsh --install", "zoo completion --uninstall"],
)
@click.argument("shell", required=False, type=click.Choice(_SHELLS), metavar=f"[{'|'.join(_SHELLS)}]")
@click.option("--install", is_flag=True, help="Write it where the shell looks for it.")
@click.option("--uninstall", is_flag=True, help="Remove what --install wrote; without a shell, for all.")
def completion_command(shell: str | None, install: bool, uninstall: bool) -> None:
    """Complete commands, options, adapters, methods, tasks, bases and parameters in your shell.

    Prints the script of a shell: of yours ($SHELL), if none is named. No file of yours is changed.
    """
    if install and uninstall:
        raise UsageError("--install and --uninstall exclude each other.", "zoo completion --install")
    if uninstall:
        for one in [shell] if shell else _SHELLS:
            _uninstall(one)
    elif install:
        _install(shell or _shell())
    else:
        click.echo(script(shell or _shell()), nl=False)


def _shell() -> str:
    """Raises UsageError: $SHELL is none of the three."""
    path = os.environ.get("SHELL", "")
    if Path(path).name not in _SHELLS:
        said = f"$SHELL is '{path}'" if path else "$SHELL is not set"
        raise UsageError(f"{said}: name your shell, {', '.join(_SHELLS)}.", "zoo completion bash --install")
    return Path(path).name


def _install(shell: str) -> None:
    path, text = _path(shell), script(shell)
    there = _read(path)
    if there is not None and not _is_ours(there):
        raise UsageError(
            f"{path} is not from `zoo completion --install`, so it is left alone.",
            f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')} && {AGAIN}",
        )
    if there == text:
        say(f"{path} is up to date")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        say(f"{path} written")
    if shell == "fish":
        say("fish reads it by itself, in this shell too")
        return
    line, rc = _rc_line(path), _rc(shell)
    here = f"source {_typed(path)}"
    if line in (_read(rc) or ""):
        say(f"new shells read it, as {_typed(rc)} says")
    elif shell == "bash":
        say("new shells read it through bash-completion; where that is not set up, add to")
        say(f"{_typed(rc)}: {line}")
    else:
        say(f"new shells read it once {_typed(rc)} says so")
        here = f"echo {shlex.quote(line)} >> {_typed(rc)} && {here}"
    console.say_hint(here)


def _uninstall(shell: str) -> None:
    path = _path(shell)
    there = _read(path)
    if there is None:
        say(f"{path}: nothing is there")
    elif not _is_ours(there):
        say(f"{path} is not from `zoo completion --install`, so it is left alone")
    else:
        path.unlink()
        if shell == "zsh":
            with suppress(OSError):  # no longer empty
                path.parent.rmdir()
        say(f"{path} removed")
    if shell != "fish" and _rc_line(path) in (_read(_rc(shell)) or ""):
        say(f"{_typed(_rc(shell))} still says, to no effect: {_rc_line(path)}")


def _path(shell: str) -> Path:
    """Where the script goes: a folder that the shell reads, or for zsh, which has none, one of ours."""
    if shell == "bash":
        default = _xdg("XDG_DATA_HOME", ".local/share") / "bash-completion"
        return Path(os.environ.get("BASH_COMPLETION_USER_DIR") or default) / "completions" / "zoo"
    if shell == "fish":
        return _xdg("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / "zoo.fish"
    import platformdirs

    return Path(platformdirs.user_data_dir("adapter-zoo", appauthor=False)) / "zsh" / "_zoo"


def _rc_line(path: Path) -> str:
    """What the rc file of bash or zsh says to read the script; without the script it does nothing."""
    return f"[[ ! -f {_typed(path)} ]] || source {_typed(path)}"


def _rc(shell: str) -> Path:
    folder = os.environ.get("ZDOTDIR") if shell == "zsh" else None
    return Path(folder or Path.home()) / f".{shell}rc"


def _typed(path: Path) -> str:
    """As a person types it."""
    home = Path.home()
    return f"~/{shlex.quote(str(path.relative_to(home)))}" if home in path.parents else shlex.quote(str(path))


def _xdg(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)


def _is_ours(text: str) -> bool:
    return any(line.startswith(_OURS) for line in text.splitlines()[:2])


def _read(path: Path) -> str | None:
    """None where nothing is there; a link that leads nowhere, or a folder, is something."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "" if path.is_symlink() else None
    except IsADirectoryError:
        return ""
