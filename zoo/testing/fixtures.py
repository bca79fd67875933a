"""pytest's fixtures for plugin authors.

They come by an entry point of pytest (`pytest11`): where the zoo is installed they are there, and a test has
only to name them. `pytest_plugins` would ask of every author for a line in a conftest.py at the root.
Nothing heavy is imported before a test asks for a model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.testing.data import reviews as review_rows
from zoo.testing.data import write_conversations, write_csv, write_pictures
from zoo.testing.models import TinyModels


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family (bert, roberta, distilbert, llama, clip) -> folder of a tiny base, made when asked for."""
    return TinyModels(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture
def reviews_csv(tmp_path: Path) -> Path:
    """Sixty film reviews with the labels 0 and 1."""
    return write_csv(tmp_path / "reviews.csv", review_rows())


@pytest.fixture
def conversations_jsonl(tmp_path: Path) -> Path:
    """Questions and answers as `messages`."""
    return write_conversations(tmp_path / "conversations.jsonl")


@pytest.fixture
def pictures_folder(tmp_path: Path) -> Path:
    """Drawings with `metadata.csv`."""
    return write_pictures(tmp_path / "pictures")
