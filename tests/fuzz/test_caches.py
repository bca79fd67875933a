"""Caches on disk: what is damaged there is made again, and never changes a result."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import Recipe, damage, made
from zoo.data import token_cache
from zoo.models import hash_cache
from zoo.plugins import manager


@fuzz(made(lambda recipe: Recipe(recipe.rest())))
def test_a_damaged_cache_of_hashes_is_made_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    monkeypatch.setattr(hash_cache, "WORTH_KEEPING", 1)
    path = tmp_path / "model.safetensors"
    if not path.exists():
        path.write_bytes(b"weights")
    monkeypatch.setattr(hash_cache, "SETTLED_NS", -1 << 62)
    hash_cache._hash.cache_clear()
    wanted = hash_cache.sha256(path)
    assert hash_cache.known_sha256(path) == wanted
    (kept,) = (cache / "hashes").iterdir()
    kept.unlink()  # of the input before
    hash_cache._hash.cache_clear()
    assert hash_cache.known_sha256(path) == wanted
    kept.write_bytes(damage(recipe, kept.read_bytes()))
    hash_cache._hash.cache_clear()
    assert survives(lambda: hash_cache.known_sha256(path)) == wanted


@fuzz(made(lambda recipe: Recipe(recipe.rest())), share=0.1)
def test_a_damaged_cache_of_tokens_is_made_again(
    cache: Path, tiny_models: dict[str, Path], processor: object, recipe: Recipe
) -> None:
    task = manager.load_task("bert-imdb")
    rows = [{"text": text, "label": 0} for text in ("a good film", "a bad one", "neither nor")]
    shutil.rmtree(cache, ignore_errors=True)  # of the input before
    wanted = [dict(one) for one in token_cache.encode(task, rows, processor, 16)]
    (kept,) = (cache / "encoded").iterdir()
    kept.write_bytes(damage(recipe, kept.read_bytes()))
    found = survives(lambda: [dict(one) for one in token_cache.encode(task, rows, processor, 16)])
    assert found == wanted


@pytest.fixture(scope="module")
def processor(tiny_models: dict[str, Path]) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tiny_models["bert"]))
