"""A card that somebody edited, brought up to date: our lines change, theirs stay."""

from __future__ import annotations

from difflib import SequenceMatcher


def carry_over(edited: str, old: str, new: str) -> str:
    """`edited` with what changed from `old` to `new`, both as the zoo writes them; an edited line stays."""
    theirs, before, after = edited.splitlines(), old.splitlines(), new.splitlines()
    where = {
        block.a + offset: block.b + offset
        for block in SequenceMatcher(None, before, theirs, autojunk=False).get_matching_blocks()
        for offset in range(block.size)
    }
    changes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for kind, start, end, first, last in reversed(changes):
        if kind == "equal":
            continue
        places = [where.get(line) for line in range(start, end)] or [_behind(where, start)]
        at = places[0]
        if at is not None and places == list(range(at, at + len(places))):
            theirs[at : at + end - start] = after[first:last]
    return "\n".join(theirs) + "\n"


def _behind(where: dict[int, int], line: int) -> int | None:
    """Where a line goes that is new before `line`: behind the one that it follows, if that is still there."""
    return 0 if line == 0 else where[line - 1] + 1 if line - 1 in where else None
