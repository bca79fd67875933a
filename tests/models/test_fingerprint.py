"""One base under many names, and many bases under one: the weights decide."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.records import WEIGHTS, make_base
from zoo.errors import DataError, IncompatibleError, NotFoundError, ZooError
from zoo.models.fingerprint import (
    LEGACY_IDS,
    LocalWeights,
    canonical,
    has_weights,
    identify,
    is_among,
    read_config,
    same_base,
    same_weights,
    weight_files,
)
from zoo.models.hash_cache import sha256
from zoo.plugins.source import Resolved

BERT = make_base()
OTHER = make_base(id="FacebookAI/roberta-base", weights={"model.safetensors": "12" * 32})
COPY = make_base(id="local:my-bert", location="path:/models/my-bert", source="local", revision=None)
EMPTY = make_base(id="me/config-only", weights={})
BASES = [BERT, OTHER, COPY, EMPTY]
BERT_AND_ITS_COPY = [True, False, True, False]


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def resolved(folder: Path | None) -> Resolved:
    return Resolved(kind="base", id="me/base", source="local", location=f"path:{folder}", path=folder)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("bert-base-cased", "google-bert/bert-base-cased"),
        ("roberta-base", "FacebookAI/roberta-base"),
        ("hub:bert-base-cased", "google-bert/bert-base-cased"),
        ("hub:bert-base-cased@main", "google-bert/bert-base-cased"),
        ("google-bert/bert-base-cased", "google-bert/bert-base-cased"),
        ("google-bert/bert-base-cased@0123", "google-bert/bert-base-cased"),
        ("me/bert-base-cased", "me/bert-base-cased"),
        ("local:bert-base-cased", "local:bert-base-cased"),
    ],
)
def test_an_id_from_before_owners_is_the_one_with_its_owner(given: str, wanted: str) -> None:
    assert canonical(given) == wanted


@pytest.mark.parametrize("legacy", LEGACY_IDS)
def test_a_canonical_id_stays_what_it_is(legacy: str) -> None:
    assert canonical(canonical(legacy)) == canonical(legacy)
    assert LEGACY_IDS[legacy].rpartition("/")[2] == legacy


@pytest.mark.parametrize(
    "wanted",
    [
        "google-bert/bert-base-cased",
        "bert-base-cased",
        "hub:bert-base-cased@main",
        "Google-BERT/BERT-base-cased",
        "BERT-Base-Cased",
        WEIGHTS,
        f"sha256:{WEIGHTS}",
        WEIGHTS[:8],
        WEIGHTS[:12].upper(),
        "local:my-bert",
    ],
)
def test_a_base_is_found_with_its_copy_by_id_alias_case_or_hash(wanted: str) -> None:
    assert same_base(BASES, wanted) == BERT_AND_ITS_COPY


@pytest.mark.parametrize(
    "wanted",
    [
        *("bert", "bert-base", "bert-base-uncased", "me/bert-base-cased", "deadbeef00"),
        *(WEIGHTS[:7], "", "sha256:", f"sha256:{WEIGHTS[:4]}"),
    ],
)
def test_another_base_or_a_short_prefix_of_a_hash_is_not_found(wanted: str) -> None:
    assert same_base(BASES, wanted) == [False] * 4
    assert same_base([], wanted) == []


def test_two_configs_without_weights_are_not_the_same_base() -> None:
    bases = [EMPTY, make_base(id="me/other", weights={})]
    assert same_base(bases, "me/config-only") == [True, False]


def test_all_weight_files_must_be_the_same() -> None:
    sharded = make_base(id="me/sharded", weights={"a.safetensors": WEIGHTS, "b.safetensors": "34" * 32})
    assert same_base([BERT, sharded], "bert-base-cased") == [True, False]
    assert same_base([BERT, sharded], "34" * 32) == [False, True]


def test_a_folder_stands_for_the_weights_in_it(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    there = make_base(weights=LocalWeights(folder).weights)
    elsewhere = model_folder(tmp_path / "theirs", b"other weights")
    for named in (str(folder), f"path:{folder}"):
        assert same_base([there, OTHER], named) == [True, False]
    assert same_base([there, OTHER], str(elsewhere)) == [False, False]
    assert same_base([there, EMPTY], str(tmp_path)) == [False, False]  # a folder without weights


def test_a_folder_under_the_home_folder_may_be_named_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell expands `path:~/...`, and --base of `zoo train` takes it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    base = make_base(weights=LocalWeights(model_folder(tmp_path / "mine")).weights)
    assert same_base([base], "path:~/mine") == [True]


def test_a_folder_is_hashed_once_for_any_number_of_bases(tmp_path: Path) -> None:
    """Its file is a pipe, which gives its content once."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("pipes with a name")
    there = make_base(id="me/there", weights=LocalWeights(model_folder(tmp_path / "plain")).weights)
    (tmp_path / "piped").mkdir()
    pipe = tmp_path / "piped" / "model.safetensors"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"weights",), daemon=True)
    writer.start()
    assert same_base([OTHER, there, COPY], str(pipe.parent)) == [False, True, False]


def test_a_base_is_identified_by_the_hashes_of_its_files(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "base")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    found = identify(resolved(folder))
    assert found.model_type == "bert"
    assert found.config_sha256 == hashlib.sha256(b'{"model_type": "bert"}').hexdigest()
    assert found.weights == {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    assert (found.id, found.source, found.location) == ("me/base", "local", f"path:{folder}")


def test_a_file_of_many_blocks_is_hashed_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_source_that_gave_no_folder_is_named() -> None:
    with pytest.raises(ZooError, match="source 'local' gave no folder"):
        identify(resolved(None))


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"is not a model folder: it has no config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"model_type": "\xff"}', "is not JSON"),
        (b"[]", "holds a list, not an object"),
        (b"null", "holds a NoneType, not an object"),
    ],
)
def test_a_config_that_is_no_json_object_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_config(tmp_path)
    assert "config.json" in str(caught.value)


def test_a_config_without_a_type_is_of_unknown_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert identify(resolved(tmp_path)).model_type == "unknown"


# the same weights in other files


def save(path: Path, **tensors: Any) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.asarray(value) for name, value in tensors.items()}, path)
    return path.parent


def test_tensors_decide_whatever_the_files_are_called_and_however_they_are_sharded(tmp_path: Path) -> None:
    import numpy as np

    one, two = np.ones((2, 3), "float32"), np.zeros(4, "float16")
    whole = LocalWeights(save(tmp_path / "whole" / "model.safetensors", one=one, two=two))
    save(tmp_path / "shards" / "model-1.safetensors", two=two)
    shards = LocalWeights(save(tmp_path / "shards" / "model-2.safetensors", one=one))
    assert sorted(whole.weights.values()) != sorted(shards.weights.values())
    assert same_weights(whole, shards) is True
    for number, (name, value) in enumerate(
        {"other": one, "one": one.reshape(3, 2)}.items()  # a name, a shape; a type and a number below
    ):
        other = LocalWeights(save(tmp_path / f"{number}" / "model.safetensors", **{name: value, "two": two}))
        assert same_weights(whole, other) is False
    typed = LocalWeights(save(tmp_path / "typed" / "model.safetensors", one=one, two=two.view("uint16")))
    changed = LocalWeights(save(tmp_path / "changed" / "model.safetensors", one=one * 2, two=two))
    assert (same_weights(whole, typed), same_weights(whole, changed)) == (False, False)


def test_without_hashes_of_tensors_other_files_tell_nothing() -> None:
    base = make_base(weights={"a": "1" * 64})
    assert same_weights(base, make_base(weights={"b": "1" * 64})) is True
    assert same_weights(base, make_base(weights={"a": "2" * 64})) is None
    assert same_weights(make_base(weights={}), make_base(weights={})) is None
    known = make_base(weights={"a": "1" * 64}, tensors_sha256="3" * 64)
    assert same_weights(known, make_base(weights={"a": "2" * 64}, tensors_sha256="3" * 64)) is True
    twin = make_base(id="me/x", weights={"a": "2" * 64}, tensors_sha256="3" * 64)
    assert same_base([known, twin], "me/x") == [True, True]
    assert is_among(base, {"1" * 64, "5" * 64})
    assert not is_among(make_base(weights={}), {"1" * 64})


def test_hashes_of_the_tensors_of_a_large_file_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from zoo.models import hash_cache

    monkeypatch.setattr(hash_cache, "WORTH_KEEPING", 0)
    folder = save(tmp_path / "base" / "model.safetensors", one=np.ones(3))
    wanted = LocalWeights(folder).tensors_sha256
    hash_cache.known_tensors.cache_clear()

    def fail(path: Path) -> list[str]:
        raise AssertionError(path)

    monkeypatch.setattr(hash_cache, "tensor_hashes", fail)
    assert LocalWeights(folder).tensors_sha256 == wanted


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has no weight_map"),
        (b"{}", "has no weight_map"),
        (b'{"weight_map": ["model.safetensors"]}', "has no weight_map"),
        (b'{"weight_map": {}}', "has no weight_map"),
        (b'{"weight_map": {"a": 1}}', "names 1, which is no weight file"),
        (b'{"weight_map": {"a": ["x.safetensors"]}}', "which is no weight file"),
        (b'{"weight_map": {"a": "../x.safetensors"}}', "names '../x.safetensors', which is no weight file"),
        (b'{"weight_map": {"a": "/x.safetensors"}}', "which is no weight file"),
        (b'{"weight_map": {"a": ".."}}', "which is no weight file"),
    ],
)
def test_a_malformed_index_of_weights_is_refused_in_one_line(
    content: bytes, said: str, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(content)
    for ask in (has_weights, weight_files, LocalWeights):
        with pytest.raises(IncompatibleError, match=r"model\.safetensors\.index\.json") as caught:
            ask(folder)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_weights_of_which_a_shard_is_missing_are_not_whole(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert not has_weights(folder)
    with pytest.raises(NotFoundError, match=r"lacks its weight file model-2\.safetensors"):
        identify(resolved(folder))
