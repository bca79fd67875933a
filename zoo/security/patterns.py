"""Estimates how long an untrusted regular expression may take: Python cannot abort one."""

from __future__ import annotations

import math
import re
import warnings
from importlib import import_module
from typing import Any

_MOST_CHOICES = 30
"""log2 of the ways to try a pattern on a module's name: five times `.*` is slow, six is never done."""
_CHOICES_OF_STAR = 6
"""log2 of the characters of a module's name."""
_ENDLESS = 1 << 20
_PLAIN = re.compile(r"[\w.-]*")


def is_quick(pattern: str) -> bool:
    """Is it done in moments on any name? `(a+)+` takes minutes on thirty letters.

    Estimated from its parts: a repeat multiplies the ways to match, a repeat inside a repeat without end.
    """
    if _PLAIN.fullmatch(pattern):
        return True
    parser = import_module("re._parser" if hasattr(re, "_parser") else "sre_parse")  # 3.11 moved it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _choices(parser.parse(pattern)) <= _MOST_CHOICES
    except (re.error, ValueError, OverflowError, RecursionError):
        return True  # it is no pattern at all, which PEFT will say


def _choices(parts: Any) -> float:
    """log2 of the ways in which these parts may match, one after the other."""
    total = 0.0
    for operation, value in parts:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):  # a possessive one never comes back
            low, high = int(value[0]), min(int(value[1]), _ENDLESS)
            ways = min(math.log2(2 + high - low), _CHOICES_OF_STAR) if high > low else 0.0
            inner = _choices(value[2]) + (_alternatives(value[2]) if high > 1 else 0.0)
            total += ways + high * inner
        elif name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
            total += _choices(value[-1])
        elif name == "BRANCH":
            total += max(map(_choices, value[1]))
        elif name == "ATOMIC_GROUP":
            total += _choices(value)
        elif name == "GROUPREF_EXISTS":
            total += max(_choices(side) for side in value[1:] if side is not None)
    return total


def _alternatives(parts: Any) -> float:
    """log2 of the alternatives within a repeat: `(a|aa)*` is as bad as `(a+)*`."""
    total = 0.0
    for operation, value in parts:
        name = str(operation)
        if name == "BRANCH":
            total += math.log2(len(value[1])) + max(map(_alternatives, value[1]))
        elif name == "SUBPATTERN":
            total += _alternatives(value[-1])
    return total
