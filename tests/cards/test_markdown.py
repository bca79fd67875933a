"""Text of strangers shows as text, and tables come back as they were written."""

from __future__ import annotations

import pytest

from zoo.cards.markdown import Table, code, fenced, plain, table, tables

TEXTS = ["a|b", "a`b", "**a**", "a\\b", "\\|", "f1: 0.87", "a_b", "<b>", "- a", "#1", "a & b", "[x](y)"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_plain_cell_comes_back_as_it_was(text: str) -> None:
    written = table(("metric", "value"), [(plain(text), "1")])
    found = tables(written)
    assert [len(cells) for cells in found[0].rows] == [2]
    assert found[0].rows[0][0] == text


def test_a_table_is_found_wherever_it_stands_in_any_form() -> None:
    rows = [["accuracy", "0.9"]]
    for text in (
        "Text\n\n| metric | value |\n|---|---|\n| accuracy | 0.9 |\n\nText",
        "metric | value\n:--- | ---:\n**accuracy** | `0.9`",
        "  | metric | value |\r\n  |---|---|\r\n  | accuracy | 0.9 |\r\n",
    ):
        assert tables(text) == [Table(["metric", "value"], rows)]


@pytest.mark.parametrize(
    "text",
    ["```\n| a | b |\n|---|---|\n```", "| a | b |", "a | b\nc | d", "~~~\n```\n| a |\n|---|\n~~~", "|\n|\n|"],
)
def test_what_is_shown_as_code_or_text_is_no_table(text: str) -> None:
    assert tables(text) == []


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
