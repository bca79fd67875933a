"""Untrusted text is shown as text."""

from __future__ import annotations

import pytest

from zoo.cards.markdown import code, fenced, plain


@pytest.mark.parametrize("text", ["```\n# out", "````", "`", "``` ~~~"])
def test_no_text_ends_its_block_or_span(text: str) -> None:
    block = fenced(text).splitlines()
    assert block[1:-1] == text.splitlines()
    assert all(block[-1] not in one for one in block[1:-1])
    assert not code("a`b").startswith("`a")


def test_escapes_of_a_terminal_are_gone() -> None:
    for made in (plain("\x1b[31mred\x1b[0m\x07"), code("\x1b[31mred\x1b[0m"), fenced("\x1b[31mred\x1b[0m")):
        assert "red" in made
        assert all(c.isprintable() or c == "\n" for c in made)
        assert "[31m" not in made
