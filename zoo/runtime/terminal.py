"""Fits text to a terminal: its width in cells, lines of whole words, labels in colour, messages on stderr."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

_STYLES: dict[str, dict[str, Any]] = {"Error:": {"fg": "red", "bold": True}, "Warning:": {"fg": "yellow"}}
"""The label of a message -> how click shows it; others are bold."""
_INDENT = 2
"""Cells before the second line of a message without a label."""
_NARROWEST = 20
"""Cells that are always used: nothing can be read on fewer."""
_COMMAND_WORDS = re.compile(r"""(?:--?[\w-]+ +(?=[^-\s]))?(?:'[^']*'|"[^"]*"|\S)+""")
"""Words as a shell takes them, an option with its value."""


def size(stream: Any) -> tuple[int, int]:
    """Cells of a line and lines of a screen of the terminal behind `stream`; COLUMNS and LINES come first."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = 0, 0
    return max(_asked("COLUMNS") or columns or 80, _NARROWEST), _asked("LINES") or lines or 24


def _asked(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 10 else 0


def cells(text: str) -> int:
    """What a terminal needs for it: a CJK character takes two cells, a combining one none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shorten(text: str, limit: int) -> str:
    """The beginning of `text`, in at most `limit` cells, with an ellipsis where something is cut."""
    return text if cells(text) <= limit else f"{_head(text, limit - 1).rstrip()}…"


def _head(text: str, limit: int) -> str:
    head = text[:limit]
    while cells(head) > limit:
        head = head[:-1]
    return head


def wrap(text: str, limit: int, *, command: bool = False) -> list[str]:
    r"""Lines of at most `limit` cells that break between words.

    A longer word stays whole, for it may be a path or an id, unless it is of a script without spaces.

    Args:
        command: lines end with ` \`, so that a shell takes them as one; quoted words stay whole.
    """
    limit = max(limit, 2)  # or a wide character would never fit
    if cells(text) <= limit:
        return [text]
    end = " \\" if command else ""
    lines = [""]
    for word in _COMMAND_WORDS.findall(text) if command else text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(longer) <= limit - len(end):
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        at, breaks = 0, not command and _may_break(word)
        while breaks and cells(part := word[at : at + limit + 1]) > limit:
            lines[-1:] = [_head(part, limit), ""]
            at += len(lines[-2])
        lines[-1] = word[at:]
    return [line + end for line in lines[:-1]] + lines[-1:]


def widest_word(text: str) -> int:
    """The fewest cells that `wrap` needs."""
    return max((2 if _may_break(word) else cells(word) for word in text.split()), default=0)


def _may_break(word: str) -> bool:
    """Of wide characters, which need no spaces between words, and no path."""
    return cells(word) > len(word) and not {"/", "\\"} & {*word}


def printable(text: str) -> str:
    """Untrusted text, with its lines and tabs and without what moves a cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def has_colour(stream: Any) -> bool:
    """A terminal has, unless `NO_COLOR` is set; so has anything where `FORCE_COLOR` is, as for rich."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced is not None:
        return forced != ""
    return bool(stream.isatty()) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def say(text: str, label: str = "") -> None:
    """Print to stderr; on a terminal wrapped, with a hanging indent.

    Args:
        label: a word such as `Error:` before it; `Next:` is that of a command.
    """
    import click

    stream = sys.stderr
    hang = " " * (len(label) + 1 if label else _INDENT)
    if stream.isatty():
        limit = size(stream)[0] - len(hang)
        wrapped = (wrap(line, limit, command=label == "Next:") for line in printable(text).split("\n"))
        text = f"\n{hang}".join(part for lines in wrapped for part in lines)
    colour = has_colour(stream)
    if label:
        text = f"{click.style(label, **_STYLES.get(label, {'bold': True})) if colour else label} {text}"
    click.echo(text, err=True, color=colour)
