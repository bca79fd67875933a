"""One base under many names, and many bases under one: the weights decide."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from tests.records import WEIGHTS, make_base
from zoo.errors import DataError, NotFoundError, ZooError
from zoo.models.fingerprint import (
    LEGACY_IDS,
    canonical,
    identify,
    read_config,
    same_base,
    sha256,
    weight_hashes,
)
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
    "wanted", ["bert", "bert-base", "bert-base-uncased", "me/bert-base-cased", "deadbeef00"]
)
def test_another_base_is_not_found(wanted: str) -> None:
    assert same_base(BASES, wanted) == [False] * 4


@pytest.mark.parametrize("digits", [WEIGHTS[:7], "", "sha256:", f"sha256:{WEIGHTS[:4]}"])
def test_a_short_hash_prefix_is_no_hash(digits: str) -> None:
    assert same_base(BASES, digits) == [False] * 4


def test_no_weights_are_nobodys_twin() -> None:
    """Two configs without weights are not the same base."""
    bases = [EMPTY, make_base(id="me/other", weights={})]
    assert same_base(bases, "me/config-only") == [True, False]


def test_all_weight_files_must_be_the_same() -> None:
    sharded = make_base(id="me/sharded", weights={"a.safetensors": WEIGHTS, "b.safetensors": "34" * 32})
    assert same_base([BERT, sharded], "bert-base-cased") == [True, False]
    assert same_base([BERT, sharded], "34" * 32) == [False, True]


def test_a_folder_stands_for_the_weights_in_it(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    there = make_base(weights=weight_hashes(folder))
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
    base = make_base(weights=weight_hashes(model_folder(tmp_path / "mine")))
    assert same_base([base], "path:~/mine") == [True]


def test_a_folder_is_hashed_once_for_any_number_of_bases(tmp_path: Path) -> None:
    """Its file is a pipe, which gives its content once."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("pipes with a name")
    there = make_base(id="me/there", weights=weight_hashes(model_folder(tmp_path / "plain")))
    (tmp_path / "piped").mkdir()
    pipe = tmp_path / "piped" / "model.safetensors"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"weights",), daemon=True)
    writer.start()
    assert same_base([OTHER, there, COPY], str(pipe.parent)) == [False, True, False]


def test_no_bases_are_no_answer() -> None:
    assert same_base([], "bert-base-cased") == []


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
