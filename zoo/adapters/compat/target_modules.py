"""Selects the modules that the config of an adapter targets: PEFT's own rules, on names alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zoo.models.families import BODIES
from zoo.security.patterns import is_quick

ALL_LINEAR = "all-linear"
_PREFIXES = ("", "model.", "transformer.", *(f"{body}." for body in BODIES))
_LAYER = re.compile(r".*?\.[^.]*\.(?P<number>\d+)\.")


def targeted(config: Mapping[str, Any], modules: Mapping[str, Mapping[str, Any]]) -> list[str] | None:
    """The modules among `modules` (each with its parameters); None where that is unknown."""
    wanted = config.get("target_modules")
    if isinstance(wanted, str) and wanted.lower() == ALL_LINEAR:
        found = [name for name, own in modules.items() if len(own.get("weight", ())) == 2 or "qweight" in own]
    elif isinstance(wanted, str):
        if not is_quick(wanted):
            return None
        # files of a body lack the prefix that the names in a model with a head have
        try:
            pattern = re.compile(wanted)
        except (re.error, ValueError, OverflowError, RecursionError):
            return None
        found = [name for name in modules if any(pattern.fullmatch(f"{one}{name}") for one in _PREFIXES)]
    elif isinstance(wanted, list):
        names = [str(name) for name in wanted]
        found = [name for name in modules if _is_named(name, names) and _in_layers(name, config)]
    else:
        return None
    left_out = config.get("exclude_modules")
    if isinstance(left_out, list):
        found = [name for name in found if not _is_named(name, [str(one) for one in left_out])]
    elif isinstance(left_out, str):
        return None  # a pattern on names that the file of a body may not have in full
    return found


def names_of_targets(config: Mapping[str, Any]) -> list[str]:
    """The modules that a config lists; nothing where it has a pattern."""
    wanted = config.get("target_modules")
    return [str(name) for name in wanted] if isinstance(wanted, list) else []


def _is_named(module: str, names: list[str]) -> bool:
    return any(module == name or module.endswith(f".{name}") or name.endswith(f".{module}") for name in names)


def _in_layers(module: str, config: Mapping[str, Any]) -> bool:
    wanted = config.get("layers_to_transform")
    if wanted is None or wanted == []:
        return True
    found = _LAYER.match(f"model.{module}")
    if found is None:
        return False
    number = int(found["number"])
    return number == wanted if isinstance(wanted, int) else isinstance(wanted, list) and number in wanted
