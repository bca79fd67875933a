"""What trains a first adapter is what this machine has, and the command is whole."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.conftest import reviews, write_csv
from zoo.cli.first_adapter import first_command
from zoo.plugins import manager, source
from zoo.registry.store import Registry
from zoo.runtime.console import Report

BERT, IMDB = "google-bert/bert-base-cased", "stanfordnlp/imdb"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    folder = tmp_path / "hub-cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """No installed package carries a base or data."""
    import zoo_sources.pip

    monkeypatch.setattr(zoo_sources.pip, "CARRIED", ())


def snapshot(cache: Path, kind: str, repo: str) -> Path:
    """A repository's folder in the Hub's cache, as its client lays it out."""
    folder = cache / f"{kind}s--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    return folder / "snapshots" / COMMIT


def bert_in(cache: Path) -> Path:
    folder = snapshot(cache, "model", BERT)
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    save_file({"one": np.zeros(1)}, folder / "model.safetensors")
    return folder


def imdb_in(cache: Path) -> Path:
    folder = snapshot(cache, "dataset", IMDB)
    (folder / "README.md").write_text("# IMDB\n", encoding="utf-8")
    write_csv(folder / "train.csv", reviews())
    return folder


def test_it_names_a_base_and_data_of_installed_packages(hub_cache: Path) -> None:
    """The environment of the tests has MiniLM and the reviews; both references resolve without the Hub."""
    command = first_command()
    assert command is not None
    words = shlex.split(command)
    assert words[:4] == ["zoo", "train", "lora", "bert-imdb"]
    asked = dict(zip(words[4::2], words[5::2], strict=True))
    assert asked == {
        "--base": "pip:sentence-transformers/all-MiniLM-L6-v2",
        "--data": f"pip:{IMDB}",
        "--limit": "2000",
    }
    assert source.resolve(asked["--base"], (), "base", Report()).path is not None
    assert source.resolve(asked["--data"], (), "data", Report()).path is not None


def test_a_base_that_the_cache_holds_whole_comes_before_a_packaged_one(hub_cache: Path) -> None:
    bert_in(hub_cache)
    assert f"--base hub:{BERT} --data pip:{IMDB}" in str(first_command())


def test_a_base_whose_download_was_cut_off_is_not_named(hub_cache: Path) -> None:
    (bert_in(hub_cache) / "model.safetensors").unlink()
    assert "--base pip:" in str(first_command())


@pytest.mark.usefixtures("without_packages")
def test_base_and_data_of_the_cache_are_enough(hub_cache: Path) -> None:
    bert_in(hub_cache)
    imdb_in(hub_cache)
    assert first_command() == f"zoo train lora bert-imdb --base hub:{BERT} --data hub:{IMDB} --limit 2000"


@pytest.mark.usefixtures("without_packages")
def test_nothing_is_named_where_the_rows_are_not_here(hub_cache: Path) -> None:
    assert first_command() is None
    bert_in(hub_cache)
    (imdb_in(hub_cache) / "train.csv").unlink()
    assert first_command() is None


def test_a_registry_that_the_command_would_not_find_is_named(hub_cache: Path, tmp_path: Path) -> None:
    asked = Registry(tmp_path / "my zoo" / "registry.json")
    assert shlex.split(str(first_command(asked)))[-2:] == ["--registry", str(asked.path)]
    assert "--registry" not in str(first_command(Registry()))


def test_another_method_is_named_where_lora_is_not_installed(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {name: plugin for name, plugin in manager.find("method").items() if name != "lora"}
    kinds = {"method": found, "task": manager.find("task"), "source": manager.find("source")}
    monkeypatch.setattr(manager, "find", kinds.__getitem__)
    assert str(first_command()).startswith(f"zoo train {next(iter(found))} bert-imdb ")
