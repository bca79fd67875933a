"""What pip installs: our wheel, used from an empty folder, and a third-party method beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Result, run_process

THIRD_PARTY = ROOT / "tests" / "strangers" / "zoo-bitfit"


def pip(*args: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, args)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel and a third party's package, installed by pip into a folder of their own."""
    folder = tmp_path_factory.mktemp("site")
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    pip("install", "--no-deps", "--target", folder, *wheels.glob("*.whl"))
    pip("install", "--no-deps", "--no-build-isolation", "--target", folder, THIRD_PARTY)
    return folder


@pytest.fixture
def zoo_installed(installed: Path, tmp_path: Path) -> Callable[..., Result]:
    """`zoo` from that folder, in an empty working folder."""
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(*args: object) -> Result:
        env = {"PYTHONPATH": str(installed), "XDG_DATA_HOME": str(tmp_path / "data"), "ZOO_REGISTRY": ""}
        return run_process(*args, env=env, cwd=empty)

    return run


def test_the_wheel_carries_every_plugin_and_nothing_else(
    installed: Path, zoo_installed: Callable[..., Result]
) -> None:
    found = zoo_installed("plugins")
    rows = [line.split("\t") for line in found.out.splitlines()[1:]]
    assert {(kind, name) for kind, name, *_ in rows} >= {
        ("method", "full"),
        ("method", "head"),
        ("method", "lora"),
        ("task", "bert-imdb"),
        ("source", "hub"),
        ("source", "local"),
        ("source", "pip"),
    }
    assert {row[-1] for row in rows} == {"ok"}
    tops = {
        path.name for path in installed.iterdir() if not path.name.endswith((".dist-info", "__pycache__"))
    }
    assert tops == {"zoo", "zoo_methods", "zoo_tasks", "zoo_sources", "zoo_bitfit.py", "bin"}


def test_the_wheel_carries_the_scripts_of_the_shells(zoo_installed: Callable[..., Result]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_ZOO_COMPLETE" in zoo_installed("completion", shell).out


def test_a_third_party_method_is_listed_with_its_package(zoo_installed: Callable[..., Result]) -> None:
    line = next(
        line for line in zoo_installed("methods").out.splitlines() if line.startswith("strangers-bitfit")
    )
    assert line.split("\t")[-1] == "zoo-bitfit 0.3"


def test_a_third_party_method_trains_cards_and_predicts_without_a_change_to_the_zoo(
    zoo_installed: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    trained = zoo_installed(
        "train", "strangers-bitfit", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 1,
        "-s", "only_attention=true", "--json",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    record = trained.json
    assert record["plugins"]["method"] == "zoo-bitfit 0.3"
    assert record["spec"]["params"] == {"only_attention": True}
    assert record["cost"]["trainable_parameters"] < record["cost"]["total_parameters"] / 10
    folder = tmp_path / "data" / "adapter-zoo" / "adapters" / record["name"]
    assert "Only biases differ" in (folder / "README.md").read_text(encoding="utf-8")
    predicted = zoo_installed("predict", record["name"], "a moving and honest film", "--json")
    assert predicted.json[0]["label"] in ("negative", "positive")


def test_the_source_tree_is_not_what_the_wheel_test_imports(installed: Path, tmp_path: Path) -> None:
    script = "import zoo, zoo_methods; print(zoo.__file__); print(zoo_methods.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines())
