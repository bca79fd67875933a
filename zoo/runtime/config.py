"""Reads and writes a person's defaults: one TOML file in the user's config folder.

A default is looked up in the environment (`ZOO_PRECISION`), then in the file, then here. Options of a command
come before all of these. `registry.store.find` alone asks for the registry, which a project may have too.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo.errors import AGAIN, NotFoundError, UsageError, ZooError
from zoo.runtime import trackers
from zoo.runtime.device import PRECISIONS
from zoo.runtime.paths import expand
from zoo.runtime.suggest import did_you_mean

T = TypeVar("T")

FILE = "config.toml"
IN_FILE, DEFAULT = "config file", "default"
Value = str | bool | None
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
_SWITCH = {"true": True, "1": True, "false": False, "0": False}
_OTHER_FILE = f"export ZOO_CONFIG=FILE && {AGAIN}"
_LINE = re.compile(r"\bline (\d+)")


@dataclass(frozen=True)
class Setting:
    """One key of the file."""

    read: Callable[[Any], Value]
    """Its value, from text or from TOML; ValueError says what it must be."""
    default: Value
    example: str
    summary: str


def _registry(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or not expand(value).is_absolute():
        raise ValueError("a whole path, as ~/zoo")
    return value


def _namespace(value: Any) -> str:
    if not isinstance(value, str) or not _OWNER.fullmatch(value) or "--" in value or ".." in value:
        raise ValueError("a user or organisation of the Hub")
    return value


def _precision(value: Any) -> str:
    if value not in PRECISIONS:
        raise ValueError(", ".join(PRECISIONS[:-1]) + f" or {PRECISIONS[-1]}")
    return str(value)


def _wide(value: Any) -> bool:
    found = _SWITCH.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError("true or false")
    return found


def _tracker(value: Any) -> str:
    try:
        return trackers.check_known(str(value))
    except NotFoundError:
        raise ValueError(f"{', '.join(trackers.TRACKERS)} or {trackers.NONE}") from None


SETTINGS = {
    "registry": Setting(
        _registry, None, "~/zoo", "registry.json or its folder, where a project has none of its own"
    ),
    "namespace": Setting(
        _namespace, None, "my-team", "the user or organisation that zoo publish sends to; else your account"
    ),
    "precision": Setting(_precision, "auto", "fp32", "what zoo train computes in: auto, bf16 or fp32"),
    "wide": Setting(_wide, False, "true", "whether tables show all their columns: true or false"),
    "tracker": Setting(
        _tracker, trackers.NONE, "tensorboard", "what zoo train reports to: trackio, wandb, mlflow..."
    ),
}
"""Every key, with its summary."""


def setting(key: str) -> Any:
    """The default of `precision`, `wide`, `tracker` or `namespace` as this person set it; quick, unless set.

    Raises:
        UsageError: it is set to what it cannot be, or the file is damaged.
    """
    return look_up(key)[0]


def look_up(key: str) -> tuple[Value, str]:
    """The value, and where it comes from: an environment variable, the config file, or the default.

    Raises:
        UsageError: as `setting`.
    """
    name = variable(key)
    if text := os.environ.get(name):
        value = check_value(key, text, f"${name}: ", f"unset {name} && {AGAIN}")
        return value, f"environment variable {name}"
    stored = read()
    return (stored[key], IN_FILE) if key in stored else (SETTINGS[key].default, DEFAULT)


def variable(key: str) -> str:
    """Name of the environment variable that comes before the file."""
    return f"ZOO_{key.upper()}"


def check_value(key: str, value: Any, where: str, hint: str) -> Value:
    """The value as it is used.

    Args:
        where: before the error's sentence, as `line 3: `; `hint` is its next step.

    Raises:
        UsageError: the key cannot have it.
    """
    try:
        return SETTINGS[key].read(value)
    except ValueError as error:
        shown = str(value).lower() if isinstance(value, bool) else value
        raise UsageError(f"{where}{key} is {error}, not '{shown}'.", hint) from None


def check_key(key: str) -> None:
    """Raises UsageError: there is no such key."""
    if key not in SETTINGS:
        raise _unknown(key, "", "zoo config list")


def _unknown(key: str, where: str, hint: str) -> UsageError:
    known = f"{', '.join(SETTINGS)}.{did_you_mean(key, SETTINGS)}"
    return UsageError(f"{where}no setting is called '{key}': {known}", hint)


def path() -> Path:
    """`$ZOO_CONFIG`, or `config.toml` in the user's config folder."""
    if given := os.environ.get("ZOO_CONFIG"):
        return expand(given)
    import platformdirs

    return Path(platformdirs.user_config_dir("adapter-zoo", appauthor=False)) / FILE


def read() -> dict[str, Value]:
    """What the file sets, each value as it is used; empty where there is no file.

    Raises:
        UsageError: it is damaged, has a key that is none, or a value that its key cannot have.
    """
    file = path()
    text = _text(file)
    if not text:
        return {}
    found = {}
    for key, value in _parse(text, file).items():
        where = f"{file}, line {_line_of(key, text)}: "
        unset = f"zoo config unset {shlex.quote(key)}"
        if key not in SETTINGS:
            raise _unknown(key, where, unset)
        found[key] = check_value(key, value, where, unset)
    return found


def write(key: str, value: Value) -> bool:
    """Set a key of the file, or take it out where the value is None; comments and order stay.

    Returns whether that changed the file.

    Raises:
        UsageError: the file is damaged.
        ZooError: it cannot be written.
    """
    import tomlkit

    from zoo.runtime.files import write_whole

    file = path()
    text = _text(file)
    _parse(text, file)
    document = _parsed(tomlkit.parse, text, file)
    if value is not None:
        document[key] = value
    elif key in document:
        document.remove(key)
    changed = tomlkit.dumps(document)
    if changed == text:
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file.resolve(), changed.encode())  # a link stays one
    except OSError as error:
        raise ZooError(f"{file} cannot be written: {error.strerror}.", _OTHER_FILE) from None
    return True


def _text(file: Path) -> str:
    """Empty where there is no file."""
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", _OTHER_FILE) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _damaged(file, content.count(b"\n", 0, error.start) + 1, "not UTF-8") from None


def _parse(text: str, file: Path) -> Mapping[str, Any]:
    parser: Any
    try:
        import tomllib as parser  # a quarter of the time that tomlkit takes to import
    except ModuleNotFoundError:  # Python 3.10
        import tomlkit as parser
    found: Mapping[str, Any] = _parsed(parser.loads, text, file)
    return found


def _parsed(parse: Callable[[str], T], text: str, file: Path) -> T:
    try:
        return parse(text)
    except RecursionError:
        deepest = max(text.split("\n"), key=lambda line: line.count("[") + line.count("{"))
        raise _damaged(file, text.split("\n").index(deepest) + 1, "it is nested too deep") from None
    except ValueError as error:
        at = _LINE.search(str(error))
        reason = re.sub(r" \(?at (line|end).*", "", str(error))
        raise _damaged(file, int(at[1]) if at else text.count("\n") + 1, reason) from None


def _damaged(file: Path, line: int, reason: str) -> UsageError:
    return UsageError(
        f"{file}, line {line}: {reason[0].lower()}{reason[1:]}.",
        "correct that line; zoo config --help has the keys",
    )


def _line_of(key: str, text: str) -> int:
    """Where a key or a table of that name is."""
    start = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[.=\]]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if start.match(line)), 1)
