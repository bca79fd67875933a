"""`zoo card`: the card of a record on stdout or in its folder, and what somebody wrote is not lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.records import add_record, make_base
from zoo.cards.render import render
from zoo.registry.schema import HubId
from zoo.registry.store import Registry

NAME = "lora-bert-imdb"


@pytest.fixture
def card(registry: Registry) -> Path:
    """Where the card of a registered adapter belongs; there is none yet."""
    add_record(registry)
    return registry.adapter_folder(NAME) / "README.md"


def test_it_prints_the_card_and_writes_nothing(
    zoo: Callable[..., Result], registry: Registry, card: Path
) -> None:
    done = zoo("card", NAME)
    assert (done.code, done.out, done.err) == (0, render(registry.get(NAME)), "")
    assert not card.exists()


def test_it_writes_the_card_and_a_second_time_the_same(zoo: Callable[..., Result], card: Path) -> None:
    done = zoo("card", NAME, "--write")
    assert (done.code, done.out) == (0, "")
    assert str(card) in done.err
    written = card.read_bytes()
    assert zoo("card", NAME, "--write").code == 0
    assert card.read_bytes() == written == zoo("card", NAME).out.encode()
    assert sorted(path.name for path in card.parent.glob("README*")) == ["README.md"]


def test_prose_outside_the_block_is_kept_until_force_leaves_it_out(
    zoo: Callable[..., Result], card: Path
) -> None:
    zoo("card", NAME, "--write")
    mine = card.read_text(encoding="utf-8") + "\n## Mine\n\nFor 3 friends.\n"
    card.write_text(mine, encoding="utf-8")
    done = zoo("card", NAME, "--write")
    assert done.code == 0
    assert "is up to date" in done.err
    assert card.read_text(encoding="utf-8") == mine
    done = zoo("card", NAME, "--write", "--force")
    assert f"{card} written; zoo undo 1 brings it back" in done.err
    assert "Mine" not in card.read_text(encoding="utf-8")
    assert zoo("undo").code == 0
    assert card.read_text(encoding="utf-8") == mine


def test_an_edited_number_is_named_and_replaced_with_prose_kept_and_the_old_card_comes_back(
    zoo: Callable[..., Result], card: Path
) -> None:
    zoo("card", NAME, "--write")
    made = card.read_text(encoding="utf-8") + "\nMine.\n"
    wrong = made.replace("| accuracy | 0.8800 |", "| accuracy | 0.9800 |")
    card.write_text(wrong, encoding="utf-8")
    assert "the line '| accuracy | 0.9800 |" in zoo("card", NAME).err
    done = zoo("card", NAME, "--write")
    assert done.code == 0
    assert "the line '| accuracy | 0.9800 |" in done.err
    assert card.read_text(encoding="utf-8") == made
    assert zoo("undo").code == 0
    assert card.read_text(encoding="utf-8") == wrong


def test_a_card_of_0_1_without_markers_is_replaced_and_comes_back(
    zoo: Callable[..., Result], card: Path
) -> None:
    old = "---\nlicense: mit\n---\n# Mine\n\n0.1.0 wrote it.\n"
    card.write_text(old, encoding="utf-8")
    done = zoo("card", NAME, "--write")
    assert done.code == 0
    assert "the card has no zoo markers" in done.err
    assert card.read_text(encoding="utf-8") == zoo("card", NAME).out
    assert zoo("undo").code == 0
    assert card.read_text(encoding="utf-8") == old


def test_the_card_of_a_folder_elsewhere_is_kept_beside_the_new_one(
    zoo: Callable[..., Result], registry: Registry, card: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(card.parent, tmp_path / "elsewhere")
    (folder / "README.md").write_text("# Mine\n", encoding="utf-8")
    done = zoo("card", folder, "--write")
    assert (done.code, "README.old.md" in done.err) == (0, True)
    assert (folder / "README.old.md").read_text(encoding="utf-8") == "# Mine\n"
    assert zoo("undo").code == 3


def test_json_has_the_card_and_what_is_wrong_with_the_one_that_is_there(
    zoo: Callable[..., Result], card: Path
) -> None:
    assert zoo("card", NAME, "--json").json["edited"] is False
    card.write_text("---\nlicense: mit\n---\n# Mine\n", encoding="utf-8")
    found = zoo("card", NAME, "--json").json
    assert found["text"].startswith("---\n")
    assert (found["name"], found["edited"], found["written"], found["refused"]) == (NAME, True, False, [])
    assert "no zoo markers" in found["differs"][0]


def test_what_the_hub_would_refuse_is_said(zoo: Callable[..., Result], registry: Registry) -> None:
    add_record(registry, base=make_base(licence=None))
    done = zoo("card", NAME)
    assert done.code == 0
    assert "the Hub would refuse it: license is missing." in done.err


def test_the_card_of_an_adapter_on_the_hub_opens_it_there(
    zoo: Callable[..., Result], registry: Registry
) -> None:
    add_record(registry, hub=HubId(repo="me/mine", revision="01", url=""))
    assert 'folder = "me/mine"' in zoo("card", NAME).out


def test_an_unknown_name_and_a_lone_force_are_refused(zoo: Callable[..., Result], card: Path) -> None:
    done = zoo("card", "lora-bert-imbd")
    assert done.code == 3
    assert "Did you mean 'lora-bert-imdb'?" in done.error
    assert zoo("card", NAME, "--force").code == 2
