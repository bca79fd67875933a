"""Text of strangers in Markdown, where it can make no heading, link, picture or HTML; tables read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.security.secrets import clean

_LONGEST = 600
"""Characters of a sample that are shown."""
_SPECIAL = re.compile(r"([\\`*\[\]<>&~$#])")
_MARK = re.compile(r"\\([^\w\s])|[`*]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"[\s|:-]*-[\s|:-]*")


@dataclass(frozen=True)
class Table:
    header: list[str]
    rows: list[list[str]]


def single_line(text: str) -> str:
    """One line of printable text."""
    return " ".join("".join(c if c.isprintable() else " " for c in clean(text)).split())


def plain(text: str) -> str:
    """A line that says what it says: no character of it is markup."""
    return _SPECIAL.sub(r"\\\1", single_line(text))


def code(text: str) -> str:
    """A code span that no text can break out of: labels come from strangers' files."""
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
    """A block of a text, cut where it gets long."""
    return fenced(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([row(*header), "|" + "---|" * len(header), *(row(*cells) for cells in rows)])


def unmarked(cell: str) -> str:
    """A cell's text without what makes it code, bold or escaped."""
    return " ".join(_MARK.sub(lambda mark: mark[1] or "", cell).split())


def tables(text: str) -> list[Table]:
    """The tables outside code blocks, their cells without markup."""
    found: list[Table] = []
    fence, lines = "", []
    for one in [*text.splitlines(), ""]:
        mark = _FENCE.match(one)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        if not fence and _BAR.search(one):
            lines.append(one)
            continue
        if len(lines) > 1 and _RULE.fullmatch(lines[1]):
            header, _, *rows = map(_cells, lines)
            found.append(Table(header, [cells for cells in rows if cells]))
        lines = []
    return found


def _cells(text: str) -> list[str]:
    inner = text.strip().removeprefix("|")
    cells = _BAR.split(inner)
    return [unmarked(cell.replace("\\|", "|")) for cell in (cells[:-1] if not cells[-1].strip() else cells)]
