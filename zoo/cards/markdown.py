"""Escapes untrusted text for Markdown, so that it makes no heading, link, image or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zoo.security.secrets import clean

_LONGEST = 600
"""Characters of a sample that are shown."""
_SPECIAL = re.compile(r"([\\`*\[\]<>&~$#])")


def single_line(text: str) -> str:
    """One line of printable text."""
    return " ".join("".join(c if c.isprintable() else " " for c in clean(text)).split())


def plain(text: str) -> str:
    """One line in which no character is markup."""
    return _SPECIAL.sub(r"\\\1", single_line(text))


def code(text: str) -> str:
    """A code span that no text can break out of: labels come from untrusted files."""
    shown = single_line(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def fenced(text: str, language: str = "text") -> str:
    """A block that no text can break out of, without control characters."""
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in clean(text)).strip("\n")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}{language}\n{shown}\n{fence}"


def excerpt(text: str) -> str:
    """A code block of the text, cut at `_LONGEST` characters."""
    return fenced(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([row(*header), "|" + "---|" * len(header), *(row(*cells) for cells in rows)])
