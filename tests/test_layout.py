"""Imports go one way, packages say what they know, and no module grows too long."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import tomllib
from importlinter.cli import lint_imports

import zoo
from tests.conftest import ROOT

LONGEST = 400
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]
MODULES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "zoo").rglob("*.py"))}
FOR_AUTHORS = [
    path for name in ("zoo_methods", "zoo_tasks") for path in sorted((ROOT / "plugins" / name).glob("*.py"))
]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_imports_obey_the_contracts_in_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    """One way through the packages, in no circle, and never from the core to a plugin."""
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0, "lint-imports says what is wrong"


def test_no_module_is_longer_than_400_lines() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_every_module_and_package_has_a_docstring() -> None:
    assert [name for name, path in MODULES.items() if not ast.get_docstring(parse(path))] == []


@pytest.mark.parametrize("path", FOR_AUTHORS, ids=lambda path: path.stem)
def test_methods_and_tasks_import_only_public_names_as_third_parties_do(path: Path) -> None:
    """In functions and under TYPE_CHECKING too, which the contracts of import-linter do not see."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            assert not any(alias.name.partition(".")[0] == "zoo" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "zoo":
            assert node.module == "zoo"
            assert {alias.name for alias in node.names} <= set(dir(zoo))
