"""What leaves this machine says nothing of where on it things lie."""

from __future__ import annotations

import msgspec
import pytest

from tests.records import make_base, make_data, make_record
from zoo.cards.redact import is_hub_id, public, without_folder
from zoo.registry.schema import UNKNOWN, AdapterRecord


def secretive() -> AdapterRecord:
    """A record with a folder of its author in every field that takes one."""
    record = make_record()
    spec = msgspec.structs.replace(
        record.spec,
        base="path:/home/anna/models/bert",
        data="path:/home/anna/my data/reviews.csv",
        eval_data="path:/home/anna/test.csv",
        params={
            "r": 8,
            "start": "/home/anna/start.pt",
            "both": ["/home/anna/a", "q_proj"],
            "targets": r".*\.q",
        },
    )
    return msgspec.structs.replace(
        record,
        spec=spec,
        base=make_base(id="local:bert", location="path:/home/anna/models/bert", source="local"),
        data=make_data(
            id="local:reviews.csv",
            location="path:/home/anna/my data/reviews.csv",
            eval_location="path:/home/anna/test.csv",
            split="the rows of /home/anna/test.csv; of these, 1,000 of 5,000 rows by smallest SHA-256",
        ),
        command="zoo train lora bert-imdb --base path:/home/anna/models/bert "
        "--data 'path:/home/anna/my data/reviews.csv' -s start=/home/anna/start.pt --lr 0.001",
        origin="path:/home/anna/found",
    )


def test_no_field_of_a_public_record_names_a_folder() -> None:
    text = msgspec.json.encode(public(secretive())).decode()
    assert "anna" not in text
    assert "my data" not in text


def test_the_names_of_files_stay_and_so_does_everything_else() -> None:
    before, after = secretive(), public(secretive())
    assert after.data is not None
    assert after.data.location == "path:reviews.csv"
    assert after.data.split == "the rows of test.csv; of these, 1,000 of 5,000 rows by smallest SHA-256"
    assert after.base.location == after.spec.base == "path:bert"
    assert after.spec.params == {"r": 8, "start": "start.pt", "both": ["a", "q_proj"], "targets": r".*\.q"}
    assert after.command == (
        "zoo train lora bert-imdb --base path:bert --data path:reviews.csv -s start=start.pt --lr 0.001"
    )
    assert after.origin == "path:found"
    for same in ("name", "labels", "metrics", "baselines", "cost", "training", "files", "created"):
        assert getattr(after, same) == getattr(before, same)
    assert after.base.weights == before.base.weights


def test_a_public_record_is_public_already() -> None:
    assert public(public(secretive())) == public(secretive())
    assert public(make_record()) == make_record()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("../secret/test.csv", "test.csv"), ("~/secret/test.csv", "test.csv"), ("secret/test.csv", "test.csv")],
)
def test_a_file_that_was_typed_otherwise_than_it_was_found_loses_its_folder_too(
    typed: str, shown: str
) -> None:
    data = make_data(eval_location="path:/home/anna/secret/test.csv", split=f"the rows of {typed}")
    found = public(make_record(data=data)).data
    assert found is not None
    assert found.split == f"the rows of {shown}"


@pytest.mark.parametrize(
    ("location", "revision", "shown"),
    [
        ("pip:google-bert/bert-base-cased", None, "hub:google-bert/bert-base-cased"),
        ("path:/home/anna/bert", "0123", "hub:google-bert/bert-base-cased@0123"),
        ("hub:google-bert/bert-base-cased@4567", "0123", "hub:google-bert/bert-base-cased@4567"),
    ],
)
def test_a_base_with_a_hub_id_is_found_on_the_hub(location: str, revision: str | None, shown: str) -> None:
    base = make_base(location=location, revision=revision)
    assert public(make_record(base=base)).base.location == shown


def test_a_base_that_a_config_names_by_its_folder_is_a_local_one() -> None:
    base = make_base(id="/home/anna/bert", location="path:/home/anna/bert", revision=None)
    assert public(make_record(base=base)).base.id == "local:bert"


def test_what_nobody_recorded_stays_unknown() -> None:
    base = make_base(id=UNKNOWN, source=UNKNOWN, location="", revision=None)
    record = make_record(base=base, data=None, training=None, command="")
    assert public(record) == record


@pytest.mark.parametrize(
    "ref",
    [
        "path:/home/anna/x.csv",
        "/home/anna/x.csv",
        "~/x.csv",
        "../x.csv",
        "path:C:\\Users\\anna\\x.csv",
        "C:/Users/anna/x.csv",
        "\\\\server\\anna\\x.csv",
    ],
)
def test_a_path_of_any_system_is_cut_to_its_name(ref: str) -> None:
    assert without_folder(ref).removeprefix("path:") == "x.csv"


@pytest.mark.parametrize(
    "ref", ["hub:a/b@c", "pip:stanfordnlp/imdb", "stanfordnlp/imdb", "q_proj", "", "0.1"]
)
def test_what_is_no_path_stays(ref: str) -> None:
    assert without_folder(ref) == ref


def test_an_id_of_the_hub_is_told_from_a_path() -> None:
    assert all(map(is_hub_id, ("google-bert/bert-base-cased", "a/b", "HuggingFaceTB/SmolLM2-135M-Instruct")))
    for other in (
        "bert",
        "local:bert",
        "/a/b",
        "./a",
        "a/b/c",
        "a/../b",
        "a--b/c",
        "a/b\n",
        "a/b.git",
        "-a/b",
        "",
    ):
        assert not is_hub_id(other), other
