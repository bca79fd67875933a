"""Whether the index is missing, old, damaged or unwritable: what is listed is what registry.json says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.cli.test_bad_input import as_a_person
from tests.conftest import Result, run_process
from tests.records import add_record, make_base, make_metric, make_record
from zoo.errors import RegistryError
from zoo.registry import index
from zoo.registry.index import Listing, listing
from zoo.registry.schema import SCHEMA, AdapterRecord
from zoo.registry.store import Registry, dump

Zoo = Callable[..., Result]
posix = pytest.mark.skipif(os.name == "nt", reason="permissions and limits of POSIX")
BASES = [
    make_base(),
    make_base(id="FacebookAI/roberta-base", weights={"model.safetensors": "12" * 32}),
    make_base(id="local:my-bert", location="path:/models/my-bert", source="local", revision=None),
    make_base(id="me/config-only", weights={}),
]


def records(count: int = 24) -> dict[str, AdapterRecord]:
    """Adapters that differ in all that a list shows, filters by or sorts by."""
    found = {}
    for number in range(count):
        made = make_record(
            f"adapter-{number:04}",
            base=BASES[number % len(BASES)],
            metrics=[make_metric("accuracy", 0.5 + number % 7 / 20), make_metric("f1", 0.9 - number / 1000)]
            if number % 5
            else [],
            flags=["not above the majority\tbaseline"] if number % 6 == 0 else [],
            created=f"2026-01-{1 + number % 28:02}T03:04:05+00:00",
        )
        spec = msgspec.structs.replace(
            made.spec, method=("lora", "head", "full")[number % 3], task=("bert-imdb", "sst2")[number % 2]
        )
        cost = msgspec.structs.replace(
            made.cost,
            trainable_parameters=1000 + number * 37 % 11,
            adapter_bytes=5000 + number * 17 % 13,
            train_seconds=number * 7.5 % 10,
        )
        found[made.name] = msgspec.structs.replace(made, spec=spec, cost=cost)
    return found


def put(registry: Registry, adapters: dict[str, AdapterRecord]) -> Registry:
    """Write registry.json by another way than the zoo's, as of an hour ago."""
    registry.path.parent.mkdir(parents=True, exist_ok=True)
    registry.path.write_bytes(dump({"schema": SCHEMA, "adapters": adapters}))
    return settle(registry)


def settle(registry: Registry) -> Registry:
    """Make the file look an hour old: a young one is not indexed."""
    then = registry.path.stat().st_mtime - 3600
    os.utime(registry.path, (then, then))
    return registry


@pytest.fixture
def many(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of some adapters, for which an index counts as worth it."""
    monkeypatch.setattr(index, "WORTH_KEEPING", 0)
    return put(registry, records())


class Counting(Registry):
    """Knows how often its file was decoded."""

    decoded = 0

    def each(self) -> Iterator[tuple[str, AdapterRecord]]:
        self.decoded += 1
        return super().each()


def decodes(registry: Registry) -> int:
    """How often a list has to decode registry.json: 0 with a fresh index, else 1."""
    counting = Counting(registry.path)
    listing(counting)
    return counting.decoded


def names(found: Listing) -> list[str]:
    return [summary.name for summary in found.adapters]


def index_of(cache: Path) -> Path:
    (path,) = (cache / "index").iterdir()
    return path


# the same answer


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--base bert-base-cased",
        "--base local:my-bert",
        "--base 12121212",
        "--base me/config-only",
        "--base nobody",
        "--method lora",
        "--task sst2",
        "--min accuracy=.6",
        "--min accuracy=.6 --min f1=.89",
        "--min nothing=0",
        "--min accuracy=high",
        "--sort name",
        "--sort created",
        "--sort parameters",
        "--sort bytes",
        "--sort seconds",
        "--sort accuracy",
        "--sort f1",
        "--sort nonsense",
        "--base bert-base-cased --method head --task sst2 --min accuracy=.5 --sort f1",
    ],
)
@pytest.mark.parametrize("form", ["", "--json"])
def test_an_index_changes_nothing_that_is_printed(
    words: str, form: str, zoo: Zoo, many: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("list", *words.split(), *form.split())
    with monkeypatch.context() as patch:
        patch.setattr(index, "WORTH_KEEPING", 10**9)
        without = zoo(*command)
    assert not cache.exists()
    for _ in ("made", "used"):
        found = zoo(*command)
        assert (found.code, found.out, found.err) == (without.code, without.out, without.err)
    assert cache.exists() == ("high" not in words)


def test_a_listing_says_of_every_record_what_the_record_says(many: Registry) -> None:
    listing(many)
    found = listing(many)
    assert decodes(many) == 0
    for summary, record in zip(found.adapters, many.records().values(), strict=True):
        cost = record.cost
        assert (summary.key, summary.name, summary.created) == (record.name, record.name, record.created)
        assert (summary.method, summary.task) == (record.spec.method, record.spec.task)
        assert found.bases[summary.base] == record.base
        assert list(summary.flags) == record.flags
        assert [(m.name, m.value, m.low, m.high, m.n) for m in summary.metrics] == [
            (m.name, m.value, m.low, m.high, m.n) for m in record.metrics
        ]
        assert summary.train_seconds == cost.train_seconds
        assert summary.adapter_bytes == cost.adapter_bytes
        assert summary.trainable_parameters == cost.trainable_parameters
        assert summary.total_parameters == cost.total_parameters


def test_a_base_of_many_adapters_is_kept_once(many: Registry) -> None:
    for _ in ("made", "used"):
        assert listing(many).bases == BASES


def test_a_record_whose_name_a_hand_has_changed_is_listed_by_its_own_and_printed_whole(
    zoo: Zoo, many: Registry
) -> None:
    put(many, {"key": make_record("own")})
    for _ in ("made", "used"):
        assert zoo("list").out.splitlines()[1].startswith("own\t")
        assert [record["name"] for record in zoo("list", "--json").json] == ["own"]


def test_what_was_removed_after_it_was_listed_is_not_printed(many: Registry) -> None:
    found = many.pick(["adapter-0003", "gone", "adapter-0001"])
    assert [record.name for record in found] == ["adapter-0003", "adapter-0001"]


# fresh and stale


def test_a_fresh_index_spares_decoding_the_registry(many: Registry) -> None:
    assert [decodes(many) for _ in range(3)] == [1, 0, 0]


def test_after_add_and_remove_the_new_registry_is_listed(many: Registry) -> None:
    listing(many)
    add_record(many, "another")
    assert "another" in names(listing(many))
    settle(many)
    assert [decodes(many) for _ in range(2)] == [1, 0]
    many.remove("another")
    assert "another" not in names(listing(many))


def test_after_an_edit_of_the_same_size_and_time_the_new_registry_is_listed(many: Registry) -> None:
    """As `rsync --times` leaves it."""
    listing(many)
    before = many.path.stat()
    many.path.write_bytes(many.path.read_bytes().replace(b"adapter-0007", b"adapter-000x"))
    os.utime(many.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert many.path.stat().st_size == before.st_size
    assert "adapter-000x" in names(listing(many))
    assert "adapter-0007" not in names(listing(many))


def test_a_file_that_was_changed_just_now_is_not_indexed(many: Registry, cache: Path) -> None:
    """Changed again within the same tick of the clock, it would look the same."""
    os.utime(many.path)
    assert [decodes(many) for _ in range(2)] == [1, 1]
    assert not cache.exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_registry_that_changes_while_it_is_read_is_not_mistaken_for_the_old_one(
    when: str, many: Registry
) -> None:
    class Changing(Registry):
        def each(self) -> Iterator[tuple[str, AdapterRecord]]:
            if when == "before":
                put(self, records(5))
            yield from super().each()
            if when == "after":
                put(self, records(5))

    assert len(names(listing(Changing(many.path)))) == (5 if when == "before" else 24)
    assert len(names(listing(many))) == 5
    assert decodes(many) == 0


def test_a_registry_that_is_gone_is_empty_again(many: Registry) -> None:
    listing(many)
    many.path.unlink()
    assert listing(many) == Listing([], [])


def test_each_registry_has_an_index_of_its_own_under_whatever_path(
    many: Registry, tmp_path: Path, cache: Path
) -> None:
    other = put(Registry(tmp_path / "other" / "registry.json"), records(3))
    (tmp_path / "link").symlink_to(many.path.parent)
    listing(many)
    listing(other)
    assert (len(names(listing(many))), len(names(listing(other)))) == (24, 3)
    assert decodes(Registry(tmp_path / "link" / "registry.json")) == 0
    assert len(list((cache / "index").iterdir())) == 2


# damage


def damaged(content: bytes) -> Iterator[bytes]:
    yield from (b"", b"\0" * len(content), b"<html>", content + b"\0", content[:-1], b"\xc1" + content)
    yield from (content[: len(content) * part // 8] for part in range(1, 8))
    for at in range(0, len(content), 97):
        yield content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]


def test_a_damaged_index_is_made_again(many: Registry, cache: Path) -> None:
    whole = listing(many)
    path = index_of(cache)
    content = path.read_bytes()
    for text in damaged(content):
        path.write_bytes(text)
        assert listing(many) == whole
        assert path.read_bytes() == content


def test_an_index_of_another_version_is_made_again(many: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer zoo lists records that this one refuses."""
    with monkeypatch.context() as patch:
        patch.setattr(index, "VERSION", "0.0.1 1")
        listing(many)
        assert decodes(many) == 0
    assert [decodes(many) for _ in range(2)] == [1, 0]


def test_a_number_too_big_for_an_index_is_listed_all_the_same(zoo: Zoo, many: Registry, cache: Path) -> None:
    made = make_record("one")
    cost = msgspec.structs.replace(made.cost, adapter_bytes=2**70)
    put(many, {"one": msgspec.structs.replace(made, cost=cost)})
    for _ in range(2):
        assert str(2**70) in zoo("list").out
    assert not list(cache.rglob("*.*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda text: text.replace(b'"method": "head"', b'"method": 3', 1),
            "record of 'adapter-0001' is damaged",
        ),
        (
            lambda text: text.replace(b'"schema": 1', b'"schema": 9', 1),
            "record of 'adapter-0000' has schema 9",
        ),
        (lambda text: b"<<<<<<< HEAD\n" + text, "git conflict markers"),
        (lambda text: text[:5000], "is damaged"),
    ],
    ids=["record", "newer", "conflict", "truncated"],
)
def test_what_is_wrong_with_the_registry_is_said_whatever_the_index_knows(
    change: Callable[[bytes], bytes], said: str, many: Registry
) -> None:
    listing(many)
    many.path.write_bytes(change(many.path.read_bytes()))
    for _ in range(2):
        settle(many)
        with pytest.raises(RegistryError, match=said):
            listing(many)


# where it is


def test_a_small_registry_has_no_index(registry: Registry, cache: Path) -> None:
    put(registry, records())
    assert [decodes(registry) for _ in range(2)] == [1, 1]
    assert not cache.exists()


def test_nothing_is_written_beside_the_registry(many: Registry, cache: Path) -> None:
    listing(many)
    assert list(many.path.parent.iterdir()) == [many.path]
    assert index_of(cache).suffix == ".msgpack"


def test_by_default_it_is_in_the_users_cache_folder(
    many: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    monkeypatch.setenv("ZOO_CACHE", "")
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    listing(many)
    folder = Path(platformdirs.user_cache_dir("adapter-zoo", appauthor=False))
    assert folder.is_relative_to(tmp_path / "home")
    assert index_of(folder).suffix == ".msgpack"


@pytest.mark.parametrize("blocked", ["cache", "index", "file"])
def test_where_no_index_can_be_written_the_list_is_the_same(
    blocked: str, many: Registry, cache: Path
) -> None:
    if blocked == "file":
        listing(many)
        path = index_of(cache)
        path.unlink()
        path.mkdir()
    else:
        path = cache if blocked == "cache" else cache / "index"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert [decodes(many) for _ in range(2)] == [1, 1]
    assert names(listing(many)) == list(many.records())
    assert not list(cache.parent.rglob("*.tmp"))


# processes


@pytest.fixture
def large(registry: Registry) -> Registry:
    """A registry for which an index is worth it."""
    put(registry, records(800))
    assert registry.path.stat().st_size > index.WORTH_KEEPING
    return registry


def wanted(registry: Registry) -> list[str]:
    return ["name", *registry.records()]


def first_column(out: str) -> list[str]:
    return [line.partition("\t")[0] for line in out.splitlines()]


def test_a_list_with_an_index_imports_no_more_than_it_needs(large: Registry) -> None:
    source = """
import json, sys
sys.argv = ["zoo", "list", "--base", "bert-base-cased"]
from zoo.cli import main
try:
    main()
finally:
    print("\\n" + json.dumps(sorted(sys.modules)))
"""
    unneeded = {"torch", "transformers", "peft", "datasets", "pandas", "numpy", "rich", "filelock", "pluggy"}
    for _ in ("made", "used"):
        done = subprocess.run(
            [sys.executable, "-c", source],
            env={**os.environ, "ZOO_REGISTRY": str(large.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        loaded = json.loads(done.stdout.splitlines()[-1])
        assert "zoo.registry.index" in loaded
        assert not unneeded & set(loaded)


def test_processes_that_make_one_index_at_once_all_list_the_same(large: Registry, cache: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "zoo", "list", "--registry", str(large.path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for racer in racers:
        out, _ = racer.communicate(timeout=120)
        assert racer.returncode == 0
        assert first_column(out) == wanted(large)
    assert decodes(large) == 0
    assert index_of(cache).suffix == ".msgpack"


@posix
def test_a_read_only_cache_is_no_error(large: Registry, cache: Path) -> None:
    options = as_a_person()
    cache.mkdir()
    cache.chmod(0o555)
    done = run_process("list", env={"ZOO_REGISTRY": str(large.path)}, **options)
    assert (done.code, done.err) == (0, "")
    assert first_column(done.out) == wanted(large)
    assert not list(cache.iterdir())


@posix
def test_a_disk_that_fills_up_is_no_error_and_leaves_nothing_half_written(
    large: Registry, cache: Path
) -> None:
    import resource

    def with_little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = run_process("list", env={"ZOO_REGISTRY": str(large.path)}, preexec_fn=with_little_room)
    assert (done.code, done.err) == (0, "")
    assert first_column(done.out) == wanted(large)
    assert not list((cache / "index").iterdir())
