"""Every method on every kind of task: refused with a reason, or each promise of a method kept.

The kit's own checks, on tiny random bases: count without weights, a few steps, only what is declared changes,
save, restore to equal outputs, plain peft, resume, merge, bf16.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zoo.plugins import manager
from zoo.testing import (
    TinyModels,
    broken,
    check_method,
    reviews,
    write_conversations,
    write_csv,
    write_pictures,
)

KINDS = {"bert-imdb": "bert", "tinyllama-chat": "llama", "clip-retrieval": "clip"}
"""A task of each kind, and a family of bases for it."""
METHODS = sorted(
    name for name, plugin in manager.find("method").items() if plugin.distribution.startswith("adapter-zoo ")
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rows")
    return {
        "bert-imdb": write_csv(folder / "reviews.csv", reviews()),
        "tinyllama-chat": write_conversations(folder / "conversations.jsonl"),
        "clip-retrieval": write_pictures(folder / "pictures"),
    }


def test_there_are_as_many_methods_as_readme_says() -> None:
    stated = re.search(r"Every\s+method\s+\((\d+)\b", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert stated is not None
    assert len(METHODS) == int(stated[1])


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_one_short_file(name: str) -> None:
    path = ROOT / "plugins" / f"{manager.find('method')[name].module.replace('.', '/')}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 90


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_keeps_its_promises_on_a_kind_of_task_or_refuses_it_with_a_reason(
    name: str, kind: str, tiny_models: TinyModels, data: dict[str, Path]
) -> None:
    findings = check_method(
        manager.load_method(name), manager.load_task(kind), tiny_models[KINDS[kind]], data[kind]
    )
    assert broken(findings) == []
    assert len(findings) > 1
