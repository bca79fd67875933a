"""What the tests of next steps share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.next_steps.harness import World
from tests.cli.next_steps.places import Reached
from tests.conftest import Result, reviews, write_csv
from tests.third_party import hub as hub
from tests.third_party import waits as waits


@pytest.fixture
def world(
    tmp_path: Path,
    tiny_models: dict[str, Path],
    zoo: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "kept").mkdir()
    shutil.copytree(tiny_models["bert"], folder / "base")
    write_csv(folder / "reviews.csv", reviews())
    monkeypatch.chdir(folder)
    made = World(folder, zoo, request)
    yield made
    made.broken.undo()


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Reached:
    return Reached(monkeypatch)
