"""registry.json, zoo.json, and names."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import dumped, edited, json_contents, words
from tests.records import make_record
from zoo import cli
from zoo.cards.render import render
from zoo.hub.trust_record import trusted_record
from zoo.registry import names, store
from zoo.registry.schema import Sample
from zoo.registry.store import Registry, dump

RECORD: dict[str, Any] = json.loads(
    dump(make_record("one", samples=[Sample(prompt="Hi?", expected="Hi.", before="Ho", after="Hi.")]))
)
REGISTRY = {"schema": 1, "adapters": {"one": RECORD, "two": {**RECORD, "name": "two"}}}


@fuzz(json_contents(REGISTRY), b"[" * 100_000, b'{"schema":1,"adapters":{"one":' + b"[" * 100_000)
def test_a_registry_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    registry = Registry(tmp_path / "registry.json")
    registry.path.write_bytes(content)
    records = survives(registry.records)
    listed = survives(registry.listed)
    assert records is None or (listed is not None and [key for key, *_ in listed] == [*records])
    survives(lambda: registry.pick(["one", "two"]))
    survives(lambda: registry.free_name("one"))
    survives(lambda: registry.locate("one"))


UNTIMED = {**RECORD, "cost": {**RECORD["cost"], "examples_per_second": None, "hardware": None}}


NAMELESS = {**RECORD, "name": ""}


@fuzz(
    json_contents(REGISTRY),
    *(dumped({**REGISTRY, "adapters": {"one": RECORD, "two": two}}) for two in (UNTIMED, NAMELESS)),
    share=0.2,
)
def test_a_list_is_printed_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "registry.json").write_bytes(content)
    for command in (
        ("list",),
        ("list", "--json"),
        ("show", "one"),
        ("list", "--base", "bert", "--min", "f1=0"),
    ):
        words = [*command, "--registry", str(tmp_path)]
        survives(_run, words)
    capsys.readouterr()


@fuzz(json_contents(RECORD), b"[" * 100_000)
def test_a_record_in_a_folder_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / store.RECORD_FILE).write_bytes(content)
    record = survives(lambda: store.read_record(tmp_path / store.RECORD_FILE))
    survives(lambda: trusted_record(tmp_path))
    if record is not None:
        survives(lambda: dump(record))


@fuzz(edited(RECORD), share=0.2)
def test_the_card_of_any_record_is_rendered(tmp_path: Path, document: Any) -> None:
    (tmp_path / store.RECORD_FILE).write_bytes(json.dumps(document).encode())
    record = survives(lambda: store.read_record(tmp_path / store.RECORD_FILE))
    if record is not None:
        text = render(record)
        text.encode()


@fuzz(json_contents(REGISTRY), share=0.2)
def test_a_rebuild_leaves_a_registry_that_is_read(tmp_path: Path, content: bytes) -> None:
    registry = Registry(tmp_path / "registry.json")
    registry.adapter_folder("one").mkdir(parents=True, exist_ok=True)
    (registry.adapter_folder("one") / store.RECORD_FILE).write_bytes(content)
    if survives(registry.rebuild) is not None:
        registry.records()
        registry.listed()


@fuzz(words("lora-bert-imdb", "con.txt", "../x", "adapter 2", "path:/x", "a.b_c-d"))
def test_a_name_is_plain_or_refused(name: str) -> None:
    survives(lambda: names.check_name(name))
    assert names.check_name(names.plain_name(name))


def _run(words: list[str]) -> None:
    with suppress(click.exceptions.Exit):
        cli.cli.main(words, prog_name="zoo", standalone_mode=False)
