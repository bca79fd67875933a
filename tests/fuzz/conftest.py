"""Where the inputs lie, and the command that they are said to be given to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zoo.security import secrets

TYPED = ("train", "lora", "bert-imdb", "--data", "rows.csv", "-s", "r=8", "--registry", "registry")


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The next steps are made from the command that was typed."""
    monkeypatch.setattr(sys, "argv", ["zoo", *TYPED])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(secrets, "_own", list)  # or each message would look for this machine's tokens
