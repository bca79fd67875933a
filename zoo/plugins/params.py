"""Converts `-s r=16` to a typed field of a method's Params, or says in one line what is wrong."""

from __future__ import annotations

import dataclasses
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from zoo.errors import OptionError
from zoo.runtime import suggest

T = TypeVar("T")

_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "least": ("at least", operator.ge),
    "most": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def param(
    default: T,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> T:
    """A field of a Params dataclass: its default, what it is in a line, and its range.

        r: int = param(8, "rank of the update", least=1)

    Args:
        least: smallest value allowed.
        most: largest value allowed.
        below: the first value too large.
    """
    bounds = {"least": least, "most": most, "below": below}
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


def split_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """`("r=16", "alpha=32")` -> `{"r": "16", "alpha": "32"}`."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            filled = f"{pair}=VALUE"
            hint = suggest.instead(filled, pair) if key.strip() and not equals else None
            raise OptionError(f"'{pair}' is not key=value.", hint)
        found[key.strip()] = value.strip()
    return found


def parse(params_type: type, given: Mapping[str, Any], owner: str) -> Any:
    """Make `params_type` (a dataclass) from text or typed values.

    Raises:
        OptionError: an unknown key, a value of the wrong type, or one that the dataclass itself refuses.
    """
    hints = typing.get_type_hints(params_type)
    known = [field.name for field in dataclasses.fields(params_type)]
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            near = suggest.closest(key, known, suggest.PARAMETERS)
            raise OptionError(
                f"{owner} has no parameter '{key}': {has}." + (f" Did you mean '{near}'?" if near else ""),
                suggest.instead(f"{near}={value}", f"{key}={value}") if near else None,
            )
        values[key] = _typed(key, value, hints[key])
    for field in dataclasses.fields(params_type):
        _check_range(field, values.get(field.name))
    try:
        return params_type(**values)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{owner}: {error}") from error


def describe(params_type: type) -> dict[str, dict[str, str]]:
    """Name -> the `type`, `default`, `range` (`at least 1`) and `help` of each parameter, as text."""
    hints = typing.get_type_hints(params_type)
    return {
        field.name: {
            "type": type_name(hints[field.name]),
            "default": _shown(field.default),
            "range": ", ".join(f"{text} {bound:g}" for text, bound, _ in _limits(field)),
            "help": field.metadata.get("help", ""),
        }
        for field in dataclasses.fields(params_type)
    }


def type_name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "|".join(map(str, args))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in args if arg is not type(None))
    if origin in (tuple, list):
        return f"{type_name(args[0])},..."
    return getattr(hint, "__name__", str(hint))


def _typed(key: str, value: Any, hint: Any) -> Any:
    typed = value
    if isinstance(value, str):
        if value.lower() == "none" and type(None) in typing.get_args(hint):
            return None
        if _is_sequence(hint):
            value = [part.strip() for part in value.split(",") if part.strip()]
        elif hint is bool:
            value = value.lower()
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError:
        wants = type_name(hint)
        raise OptionError(f"'{key}' wants {_TYPES.get(wants, wants)}, got '{typed}'.") from None


def _check_range(field: dataclasses.Field, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if value != value or abs(value) == float("inf"):
        raise OptionError(f"'{field.name}' must be a finite number, got {value}.")
    for text, bound, allows in _limits(field):
        if not allows(value, bound):
            raise OptionError(f"'{field.name}' must be {text} {bound:g}, got {value}.")


def _limits(field: dataclasses.Field) -> list[tuple[str, float, Callable[[float, float], bool]]]:
    found = [(text, field.metadata.get(bound), allows) for bound, (text, allows) in _BOUNDS.items()]
    return [(text, bound, allows) for text, bound, allows in found if bound is not None]


def _is_sequence(hint: Any) -> bool:
    return any(typing.get_origin(part) in (tuple, list) for part in (hint, *typing.get_args(hint)))


def _shown(default: Any) -> str:
    if isinstance(default, tuple | list):
        return ",".join(map(str, default))
    return "" if default is dataclasses.MISSING else str(default)
