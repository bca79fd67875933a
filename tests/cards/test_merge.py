"""Our lines of an edited card change, and theirs stay."""

from __future__ import annotations

import pytest

from zoo.cards.merge import carry_over

OLD = "---\nbase_model: local\n---\n# a\n\nload a\n\n| n | 1 |\n"
NEW = "---\nbase_model: me/base\nrevision: abc\n---\n# a\n\nload me/a\nand pull it\n\n| n | 1 |\n"


def test_a_card_that_nobody_edited_becomes_the_new_one() -> None:
    assert carry_over(OLD, OLD, NEW) == NEW


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        (OLD + "\nThanks.\n", NEW + "\nThanks.\n"),
        (OLD.replace("# a\n", "# a\n\nMine.\n"), NEW.replace("# a\n", "# a\n\nMine.\n")),
        (
            OLD.replace("base_model", "tags: [x]\nbase_model"),
            NEW.replace("base_model", "tags: [x]\nbase_model"),
        ),
        (
            OLD.replace("load a", "load it as you like"),
            NEW.replace("load me/a\nand pull it", "load it as you like"),
        ),
        (OLD.replace("| n | 1 |", "| n | 2 |"), NEW.replace("| n | 1 |", "| n | 2 |")),
    ],
)
def test_what_somebody_wrote_stays_where_it_is(edited: str, expected: str) -> None:
    assert carry_over(edited, OLD, NEW) == expected


def test_of_a_card_written_all_anew_nothing_is_touched() -> None:
    assert carry_over("Mine alone.\n", OLD, NEW) == "Mine alone.\n"
