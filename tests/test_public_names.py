"""`zoo` is what users and authors of plugins import: everything that they need, and nothing internal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.errors import NotFoundError
from zoo.registry.store import Registry

HEAVY = {"torch", "transformers", "peft", "datasets", "pandas", "sklearn", "scipy", "numpy"}
FOR_USERS = {"train", "evaluate", "predict", "load", "Registry", "AdapterSpec", "AdapterRecord"}
FOR_AUTHORS = {
    "Method", "PeftMethod", "PromptMethod", "Task", "TextClassification", "CausalLanguageModelling",
    "ImageTextRetrieval", "Source", "Resolved", "Offer", "param", "hookimpl", "Run", "TrainResult",
    "Evaluation", "Metric", "TARGETS", "Targets", "Layer", "layers_of", "restore", "PLUGIN_API",
}  # fmt: skip
INTERNAL = {
    "said",
    "HUB_TIMEOUT",
    "PROCESSOR_FILES",
    "CLASS_NAMES",
    "unpack_gguf",
    "canonical",
    "has_weights",
}


def python(source: str, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", source],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def test_importing_zoo_loads_no_other_module_of_it_and_nothing_heavy() -> None:
    found = python("import sys, zoo; print(*[name for name in sys.modules])").stdout.split()
    assert [name for name in found if name.startswith("zoo")] == ["zoo.pipeline", "zoo"]
    assert not HEAVY & set(found)


def test_every_public_name_is_there_and_loads_nothing_heavy() -> None:
    found = python("import sys, zoo; [getattr(zoo, name) for name in dir(zoo)]; print(*sys.modules)")
    assert found.returncode == 0, found.stderr
    assert not HEAVY & set(found.stdout.split())


def test_users_and_authors_find_what_they_need_and_nothing_internal() -> None:
    names = set(dir(zoo))
    assert names >= FOR_USERS | FOR_AUTHORS
    assert not names & INTERNAL
    assert [name for name in INTERNAL if hasattr(zoo, name)] == []


def test_every_error_of_the_tree_is_public() -> None:
    from zoo import errors

    tree = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    assert set(dir(zoo)) >= tree


@pytest.mark.parametrize(
    "source",
    [
        "from zoo.pipeline import train",
        "import zoo.pipeline; zoo.pipeline.train",
        "from zoo import pipeline; pipeline.train",
        "from zoo.registry import Registry",
        "import zoo.registry; zoo.registry.Registry",
    ],
)
def test_what_the_readme_of_0_1_0_imported_still_works_with_a_warning(source: str) -> None:
    done = python(source, "-W", "always::DeprecationWarning")
    assert done.returncode == 0
    assert "<string>:1: DeprecationWarning: zoo." in done.stderr
    assert "is deprecated: use zoo." in done.stderr
    assert python(source, "-W", "error::DeprecationWarning").returncode == 1


def test_the_old_names_are_the_new_objects() -> None:
    with pytest.warns(DeprecationWarning, match="use zoo.train"):
        from zoo.pipeline import train  # type: ignore[import-not-found]
    with pytest.warns(DeprecationWarning, match="use zoo.Registry"):
        from zoo.registry import Registry as Old
    assert (train, Old) == (zoo.train, zoo.Registry)


def test_without_a_registry_the_functions_use_the_one_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path))
    assert Registry().path == tmp_path / "registry.json"
    assert Registry(str(tmp_path / "mine")).path == tmp_path / "mine" / "registry.json"
    for call in (zoo.load, zoo.evaluate, lambda name: zoo.predict(name, ["text"])):
        with pytest.raises(NotFoundError, match="nobody"):
            call("nobody")
