"""CONTRIBUTING shows plugins that are installed and tested, and a map of the packages that there are."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.test_layout import CONTRACTS

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["method", "task"])
def test_the_shown_plugin_is_a_tested_package_of_at_most_25_lines(kind: str) -> None:
    shown = re.search(rf"<!-- {kind} -->\n```python\n(.*?)```\n\n```toml\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    code, entry_point = shown.groups()
    module = re.search(r'= "(\w+):\w+"', entry_point)
    assert module is not None
    package = ROOT / "tests" / "strangers" / module[1].replace("_", "-")
    assert code == (package / f"{module[1]}.py").read_text(encoding="utf-8")
    assert entry_point in (package / "pyproject.toml").read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 25


def test_the_map_has_every_package_in_the_order_of_the_contract() -> None:
    table = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    layers = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    assert table == [name for name in layers if name != "errors"]


def test_every_file_that_is_linked_or_named_exists() -> None:
    named = re.findall(r"\]\(([^)#]+)\)", TEXT) + re.findall(r"`((?:zoo|plugins|tests)/[\w/.-]+)`", TEXT)
    assert [name for name in named if not (ROOT / name).exists()] == []
