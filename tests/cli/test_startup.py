"""Commands that need no model start in a moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.records import add_record
from zoo.registry.store import Registry

HEAVY = ("torch", "transformers", "peft", "datasets", "pandas", "sklearn", "scipy", "numpy")
PLUGIN_PACKAGES = ("zoo_methods", "zoo_tasks", "zoo_sources")

RUN = """
import json, sys
sys.argv = ["zoo", *sys.argv[1:]]
from zoo.cli import main
code = 0
try:
    main()
except SystemExit as stop:
    code = stop.code or 0
print("\\n" + json.dumps([code, sorted(name for name in sys.modules if "." not in name)]))
"""
IMPORT_EACH = """
import importlib, json, sys
heavy, found, before = set(json.loads(sys.argv[1])), {}, set()
for name in sys.argv[2:]:
    importlib.import_module(name)
    now = heavy & set(sys.modules)
    if now - before:
        found[name] = sorted(now - before)
    before = now
print(json.dumps(found))
"""


def python(source: str, *args: object, **env: str) -> Any:
    """The JSON in the last line that a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def modules(folder: Path, package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        if parts[-1] == "__main__":
            continue
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


CORE = dict(modules(ROOT / "zoo", "zoo"))
PLUGINS = {
    name: path for package in PLUGIN_PACKAGES for name, path in modules(ROOT / "plugins" / package, package)
}


@pytest.fixture(scope="module")
def registry_of_three(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("registry") / "registry.json")
    for name in ("one", "two", "three"):
        add_record(registry, name)
    return registry


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--help",
        "--version",
        "help",
        "help registry rebuild",
        "version",
        "list",
        "list --base bert-base-cased --min accuracy=.5 --sort accuracy --json",
        "show two",
        "show two --json",
        "methods",
        "methods --json",
        "tasks",
        "plugins",
        "registry rebuild",
        "registry schema",
        "registry migrate",
        "rm two --yes",
        "undo --list",
        "train --help",
        "predict --help",
        "evaluate --help",
    ],
)
def test_a_command_that_needs_no_model_imports_none_of_the_heavy_packages(
    words: str, registry_of_three: Registry
) -> None:
    code, loaded = python(RUN, *words.split(), ZOO_REGISTRY=str(registry_of_three.path))
    assert code == 0
    assert not set(HEAVY) & set(loaded)


def test_a_wrong_word_is_an_error_before_anything_heavy_is_imported(registry_of_three: Registry) -> None:
    for words, code in (
        ("show nobody", 3),
        ("lits", 2),
        ("predict nobody text", 3),
        ("evaluate nobody", 3),
        ("train lroa bert-imdb", 3),
        ("train lora bert-imbd", 3),
        ("train lora bert-imdb -s r=big", 2),
        ("train lora bert-imdb --name ../x", 2),
    ):
        found, loaded = python(RUN, *words.split(), ZOO_REGISTRY=str(registry_of_three.path))
        assert (words, found) == (words, code)
        assert (words, set(HEAVY) & set(loaded)) == (words, set())


def test_importing_every_module_of_the_zoo_and_every_plugin_leaves_the_heavy_packages_alone() -> None:
    """Metrics are arithmetic over arrays and may have numpy, first for those of retrieval: evaluation alone
    imports them."""
    found = python(IMPORT_EACH, json.dumps(HEAVY), *CORE, *PLUGINS)
    assert found in ({}, {"zoo.tasks.image_text.retrieval": ["numpy"]})
