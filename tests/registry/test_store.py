"""What registry.json promises: byte-stable, old or new and never half, none lost, newer left alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from tests.conftest import ROOT
from tests.records import add_record, make_base, make_folder, make_metric, make_record
from zoo.errors import LockedError, NotFoundError, RegistryError, UsageError, ZooError
from zoo.registry import lock
from zoo.registry.names import check_name
from zoo.registry.schema import SCHEMA, AdapterRecord, ListedRecord
from zoo.registry.store import Registry, dump, find, locate
from zoo.registry.trash import TRASH

posix = pytest.mark.skipif(os.name == "nt", reason="signals and fork")
NEWER = SCHEMA + 1

OPERATIONS: dict[str, Callable[[Registry], object]] = {
    "records": lambda registry: registry.records(),
    "listed": lambda registry: registry.listed(),
    "get": lambda registry: registry.get("one"),
    "contains": lambda registry: "one" in registry,
    "free_name": lambda registry: registry.free_name("one"),
    "check_writable": lambda registry: registry.check_writable(),
    "add": lambda registry: add_record(registry, "two"),
    "remove": lambda registry: registry.remove("one"),
    "rebuild": lambda registry: registry.rebuild(),
}
NOT_REBUILD = [name for name in OPERATIONS if name != "rebuild"]


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder but the lock, and what is kept for `zoo undo`."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and TRASH not in path.parts
    }


def python(source: str, *args: object) -> subprocess.Popen[str]:
    """A process with the tests' helpers importable."""
    head = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + source, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def content(schema: object, **adapters: AdapterRecord) -> bytes:
    return dump({"schema": schema, "adapters": adapters})


def put(registry: Registry, text: bytes) -> None:
    registry.path.parent.mkdir(parents=True, exist_ok=True)
    registry.path.write_bytes(text)


# adding, getting, removing


def test_a_registry_that_does_not_exist_is_empty_and_reading_does_not_make_it(registry: Registry) -> None:
    assert registry.records() == {}
    assert "one" not in registry
    assert not registry.path.parent.exists()


def test_an_added_adapter_is_found_with_its_files_and_its_own_record(registry: Registry) -> None:
    record = add_record(registry, "one")
    assert registry.get("one") == record
    assert "one" in registry
    folder = registry.adapter_folder("one")
    assert (folder / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (folder / "zoo.json").read_bytes() == dump(record)
    assert not registry.work_folder("one").joinpath("made").exists()


def test_a_listing_says_of_every_record_what_the_record_says(registry: Registry) -> None:
    for name in ("one", "two", "three"):
        add_record(registry, name, flags=[f"flag of {name}"], metrics=[make_metric("f1", len(name) / 10)])
    add_record(registry, "other", base=make_base(id="me/other"))
    found = registry.listed()
    for (key, brief, base), record in zip(found, registry.records().values(), strict=True):
        assert (key, base) == (record.name, record.base)
        for field in ("name", "spec", "metrics", "flags", "cost", "created"):
            form = get_type_hints(ListedRecord)[field]
            expected = msgspec.convert(getattr(record, field), form, from_attributes=True)
            assert getattr(brief, field) == expected
    assert len({id(base) for _, _, base in found}) == 2


def test_picked_records_come_in_order_and_without_what_was_removed_meanwhile(registry: Registry) -> None:
    for name in ("one", "two", "three"):
        add_record(registry, name)
    assert [record.name for record in registry.pick(["two", "gone", "one"])] == ["two", "one"]


def test_the_file_has_sorted_keys_unix_line_ends_and_the_schema(registry: Registry) -> None:
    for name in ("zebra", "Ape", "mole"):
        add_record(registry, name, labels=["schlecht", "schön"])
    text = registry.path.read_bytes()
    assert b"\r" not in text
    assert text.endswith(b"}\n")
    assert not text.endswith(b"\n\n")
    assert "schön".encode() in text
    found = json.loads(text)
    assert found["schema"] == SCHEMA
    assert list(found) == ["adapters", "schema"]
    assert list(found["adapters"]) == ["Ape", "mole", "zebra"]
    assert json.dumps(found, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n" == text


def test_a_removed_adapter_is_gone_and_the_others_are_as_they_were(registry: Registry) -> None:
    add_record(registry, "one")
    before = files(registry.path.parent)
    add_record(registry, "two")
    registry.remove("two")
    assert files(registry.path.parent) == before
    assert not registry.adapter_folder("two").exists()


def test_an_adapter_whose_files_are_gone_can_be_removed(registry: Registry) -> None:
    add_record(registry, "one")
    shutil.rmtree(registry.adapter_folder("one"))
    registry.remove("one")
    assert registry.records() == {}


@pytest.mark.parametrize("operation", ["get", "remove"])
def test_an_unknown_name_is_not_found_and_the_nearest_is_suggested(
    operation: str, registry: Registry
) -> None:
    add_record(registry, "lora-bert-imdb")
    with pytest.raises(NotFoundError, match="Did you mean 'lora-bert-imdb'") as caught:
        getattr(registry, operation)("lora-bert-imbd")
    assert caught.value.hint == "lora-bert-imdb instead of lora-bert-imbd"
    assert list(registry.records()) == ["lora-bert-imdb"]


def test_add_takes_the_next_free_name_when_the_name_was_taken_meanwhile(registry: Registry) -> None:
    record = make_record("one")
    made = make_folder(registry, record)
    add_record(registry, "one", work="other")
    registry.adapter_folder("one-2").mkdir()  # on disk though not in the registry
    added = registry.add(record, made)
    assert added.name == "one-3"
    assert registry.get("one-3") == added
    assert (registry.adapter_folder("one-3") / "zoo.json").read_bytes() == dump(added)
    assert sorted(registry.records()) == ["one", "one-3"]


# rebuilding


def test_rebuild_restores_the_file_byte_for_byte(registry: Registry) -> None:
    for name in ("b", "a", "c"):
        add_record(registry, name, labels=["no", "да"])
    before = registry.path.read_bytes()
    for damage in (b"", before[: len(before) // 2], b"<<<<<<< HEAD\n" + before, None):
        if damage is None:
            registry.path.unlink()
        else:
            registry.path.write_bytes(damage)
        assert registry.rebuild()[:2] == (3, [])
        assert registry.path.read_bytes() == before


def test_rebuild_leaves_out_what_it_cannot_read_and_says_so(registry: Registry) -> None:
    for name in ("good", "broken", "newer", "moved"):
        add_record(registry, name)
    folder = registry.folder
    (folder / "broken" / "zoo.json").write_bytes(b'{"name": "broken"')
    newer = msgspec.structs.replace(make_record("newer"), schema=NEWER)
    (folder / "newer" / "zoo.json").write_bytes(dump(newer))
    os.replace(folder / "moved", folder / "elsewhere")
    (folder / "empty").mkdir()
    before = files(folder)
    count, trouble, *_ = registry.rebuild()
    assert count == 1
    assert list(registry.records()) == ["good"]
    assert len(trouble) == 3
    for name, said in (("broken", "damaged"), ("newer", "schema"), ("elsewhere", "rename the folder")):
        assert any(name in line and said in line for line in trouble)
    assert files(folder) == before


def test_rebuild_does_not_register_half_made_adapters(registry: Registry) -> None:
    made = make_folder(registry, make_record("one"))
    (made / "zoo.json").write_bytes(dump(make_record("one")))
    assert registry.rebuild()[:2] == (0, [])


def test_rebuild_where_there_is_nothing_makes_an_empty_registry(registry: Registry) -> None:
    assert registry.rebuild()[:2] == (0, [])
    assert json.loads(registry.path.read_bytes()) == {"schema": SCHEMA, "adapters": {}}


def test_the_next_free_name_of_the_longest_name_is_still_a_name(registry: Registry) -> None:
    name = "a" * 96
    add_record(registry, name)
    assert check_name(registry.free_name(name)) != name


def test_a_planted_name_cannot_make_remove_leave_the_registry(registry: Registry, tmp_path: Path) -> None:
    outside = tmp_path / "registry" / "precious"
    outside.mkdir(parents=True)
    put(registry, content(SCHEMA, **{"../precious": make_record("../precious")}))
    with pytest.raises(UsageError):
        registry.remove("../precious")
    assert outside.is_dir()


# where it is


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder without a registry above it."""
    monkeypatch.delenv("ZOO_REGISTRY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    work = tmp_path / "work" / "deep" / "deeper"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    return work


def test_without_anything_it_is_in_the_users_data_folder(nowhere: Path) -> None:
    import platformdirs

    assert locate() == Path(platformdirs.user_data_dir("adapter-zoo", appauthor=False)) / "registry.json"


def test_the_nearest_file_upwards_goes_before_the_data_folder(nowhere: Path) -> None:
    for folder in (nowhere.parent.parent, nowhere.parent):
        (folder / "registry.json").write_bytes(content(SCHEMA))
    assert locate() == nowhere.parent / "registry.json"
    (nowhere / "registry.json").mkdir()  # a folder of that name is no registry
    assert locate() == nowhere.parent / "registry.json"


def test_the_environment_goes_before_the_nearest_and_the_option_before_both(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (nowhere / "registry.json").write_bytes(content(SCHEMA))
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "env"))
    assert locate() == tmp_path / "env" / "registry.json"
    assert locate(str(tmp_path / "option")) == tmp_path / "option" / "registry.json"
    monkeypatch.setenv("ZOO_REGISTRY", "")
    assert locate() == nowhere / "registry.json"


def test_the_users_config_goes_before_the_data_folder_and_after_the_nearest(
    nowhere: Path, config_file: Path, tmp_path: Path
) -> None:
    config_file.parent.mkdir()
    config_file.write_text(f"registry = '{tmp_path}/mine'\n", encoding="utf-8")
    assert find() == (tmp_path / "mine" / "registry.json", "config file")
    assert locate() == tmp_path / "mine" / "registry.json"
    (nowhere / "registry.json").write_bytes(content(SCHEMA))
    assert find() == (nowhere / "registry.json", "nearest registry.json")


def test_a_damaged_config_is_an_error_only_where_it_is_asked(nowhere: Path, config_file: Path) -> None:
    config_file.parent.mkdir()
    config_file.write_text("registry =\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1"):
        locate()
    (nowhere / "registry.json").write_bytes(content(SCHEMA))
    assert locate() == nowhere / "registry.json"


def test_a_file_or_its_folder_may_be_named(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "zoo.d"
    folder.mkdir()
    assert locate(str(folder)) == folder / "registry.json"
    assert locate(str(folder / "mine.json")) == folder / "mine.json"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/zoo.d") == folder / "registry.json"


# damage


def test_a_truncated_file_is_an_error_with_the_remedy(registry: Registry) -> None:
    add_record(registry, "one")
    whole = registry.path.read_bytes()
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 3):
        registry.path.write_bytes(whole[:size])
        with pytest.raises(RegistryError, match="is damaged") as caught:
            registry.records()
        assert caught.value.hint == "zoo registry rebuild"


@pytest.mark.parametrize(
    "text",
    [b"[]", b"null", b'{"schema": "1", "adapters": {}}', b'{"schema": 1}', b"\xff\xfe{}", b'{"a": "\xff"}'],
)
def test_what_never_was_a_registry_is_not_called_damaged(text: bytes, registry: Registry) -> None:
    put(registry, text)
    for attempt in (registry.records, registry.rebuild):
        with pytest.raises(UsageError, match="is not a registry"):
            attempt()
    assert registry.path.read_bytes() == text


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_git_conflict_markers_are_named(end: bytes, registry: Registry) -> None:
    add_record(registry, "one")
    whole = registry.path.read_bytes()
    registry.path.write_bytes(end.join((b"<<<<<<< HEAD", whole, b"=======", whole, b">>>>>>> other", b"")))
    for attempt in (registry.records, registry.rebuild):
        with pytest.raises(RegistryError, match="git conflict markers") as caught:
            attempt()
        assert caught.value.hint == "zoo registry merge"


def test_a_record_that_is_damaged_is_named_and_the_others_can_be_read(registry: Registry) -> None:
    add_record(registry, "one")
    add_record(registry, "two")
    found = json.loads(registry.path.read_bytes())
    found["adapters"]["two"]["cost"]["train_seconds"] = "long"
    registry.path.write_text(json.dumps(found), encoding="utf-8")
    assert registry.get("one").name == "one"
    with pytest.raises(RegistryError, match=r"record of 'two' is damaged.*train_seconds"):
        registry.get("two")


@pytest.mark.parametrize("field", ["spec", "base", "metrics", "flags", "cost", "created"])
def test_a_list_names_the_record_whose_shown_fields_are_damaged(field: str, registry: Registry) -> None:
    for name in ("one", "two"):
        add_record(registry, name)
    found = json.loads(registry.path.read_bytes())
    found["adapters"]["two"][field] = 3
    registry.path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(RegistryError, match="record of 'two' is damaged") as caught:
        registry.listed()
    assert caught.value.hint == "zoo registry rebuild"


def test_damage_in_a_field_that_no_list_shows_is_left_for_the_commands_that_read_it(
    registry: Registry,
) -> None:
    add_record(registry, "one")
    put(registry, registry.path.read_bytes().replace(b'"labels": [', b'"labels": [7, '))
    assert [key for key, _, _ in registry.listed()] == ["one"]
    for read in (registry.records, lambda: registry.pick(["one"]), lambda: registry.get("one")):
        with pytest.raises(RegistryError, match="record of 'one' is damaged"):
            read()


@pytest.mark.parametrize("operation", NOT_REBUILD)
@pytest.mark.parametrize("text", [b'{"schema": 1, "adap', b"<<<<<<< HEAD\n{}\n"])
def test_a_damaged_file_is_never_written_over_by_chance(
    operation: str, text: bytes, registry: Registry
) -> None:
    put(registry, text)
    with pytest.raises(RegistryError):
        OPERATIONS[operation](registry)
    assert registry.path.read_bytes() == text


# newer schemas


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_registry_of_a_newer_schema_is_refused_and_left_alone(operation: str, registry: Registry) -> None:
    add_record(registry, "one")
    text = content(NEWER, one=make_record("one"))
    put(registry, text)
    with pytest.raises(RegistryError, match=f"schema {NEWER}") as caught:
        OPERATIONS[operation](registry)
    assert "upgrade" in (caught.value.hint or "")
    assert registry.path.read_bytes() == text
    assert (registry.adapter_folder("one") / "zoo.json").is_file()


def test_a_registry_of_a_newer_schema_and_another_shape_is_not_called_damaged(registry: Registry) -> None:
    """`zoo registry rebuild`, the remedy for damage, would be the wrong advice."""
    put(registry, b'{"schema": 2, "adapters": [{"name": "one"}]}')
    with pytest.raises(RegistryError, match="schema 2") as caught:
        registry.records()
    assert "upgrade" in (caught.value.hint or "")


def newer_record(**changes: Any) -> dict[str, Any]:
    return {**json.loads(dump(make_record("one"))), "schema": NEWER, **changes}


@pytest.mark.parametrize("changes", [{}, {"labels": {"0": "another shape"}}], ids=["alike", "other shape"])
def test_a_record_of_a_newer_schema_is_refused(changes: dict[str, Any], registry: Registry) -> None:
    put(registry, dump({"schema": SCHEMA, "adapters": {"one": newer_record(**changes)}}))
    with pytest.raises(RegistryError, match=f"'one' has schema {NEWER}") as caught:
        registry.get("one")
    assert "upgrade" in (caught.value.hint or "")


def test_a_record_of_a_newer_schema_survives_the_writing_of_others(registry: Registry) -> None:
    newer = newer_record(more="what this zoo does not know")
    put(registry, dump({"schema": SCHEMA, "adapters": {"one": newer}}))
    add_record(registry, "two")
    registry.remove("two")
    assert json.loads(registry.path.read_bytes())["adapters"] == {"one": newer}


# many writers


@pytest.mark.slow
@pytest.mark.parametrize("load", [0, 8], ids=["alone", "under load"])
def test_sixty_four_processes_add_ten_adapters_each_and_none_is_lost(registry: Registry, load: int) -> None:
    """`load` is how many others compute all the while."""
    source = """
from pathlib import Path
from tests.records import add_record
from zoo.registry.store import Registry
registry, me = Registry(Path(sys.argv[1])), sys.argv[2]
for number in range(10):
    add_record(registry, f"p{me}-{number}")
"""
    busy = [python("while True: pass") for _ in range(load)]
    try:
        writers = [python(source, registry.path, me) for me in range(64)]
        while any(writer.poll() is None for writer in writers):
            registry.records()  # never torn
            time.sleep(0.1)
        assert [writer.wait() for writer in writers] == [0] * 64
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert set(registry.records()) == {f"p{me}-{number}" for me in range(64) for number in range(10)}


def test_sixteen_processes_lose_none_of_their_adapters(registry: Registry) -> None:
    source = """
from pathlib import Path
from tests.records import add_record
from zoo.registry.store import Registry
registry, me = Registry(Path(sys.argv[1])), sys.argv[2]
for number in range(4):
    add_record(registry, f"p{me}-{number}")
add_record(registry, "shared", work=f"shared-by-{me}")
"""
    writers = [python(source, registry.path, me) for me in range(16)]
    while any(writer.poll() is None for writer in writers):
        registry.records()  # never torn
        time.sleep(0.01)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    wanted = {f"p{me}-{number}" for me in range(16) for number in range(4)}
    wanted |= {"shared", *(f"shared-{number}" for number in range(2, 17))}
    assert set(registry.records()) == wanted
    before = registry.path.read_bytes()
    assert registry.rebuild()[:2] == (80, [])
    assert registry.path.read_bytes() == before


def test_a_lock_held_by_another_process_is_an_error_and_dies_with_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_record(registry, "one")
    holder = python(
        "import filelock\nlock = filelock.FileLock(sys.argv[1])\nlock.acquire()\n"
        "print('held', flush=True)\nsys.stdin.read()",
        f"{registry.path}.lock",
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        monkeypatch.setattr(lock, "GIVE_UP_AFTER", 0.2)
        start = time.monotonic()
        with pytest.raises(LockedError, match=r"another zoo has held .* for 0\.2 s") as caught:
            registry.remove("one")
        assert 0.1 < time.monotonic() - start < 5
        assert caught.value.hint
        assert list(registry.records()) == ["one"]  # readers do not wait
    finally:
        holder.kill()
        holder.communicate()
    registry.remove("one")
    assert Path(f"{registry.path}.lock").exists()


# kill -9

KILLED_AT_EVERY_STEP = """
import os, shutil, signal
from pathlib import Path
from tests.records import add_record, make_folder, make_record
from zoo.registry.store import Registry
import filelock, msgspec

start, work = Path(sys.argv[1]), Path(sys.argv[2])

def deadly(call, when, steps):
    def instead(*args, **options):
        last = next(steps) == at
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = call(*args, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return instead

for when in ("before", "after"):
    for at in range(100):
        here = work / f"{when}-{at}"
        shutil.copytree(start, here)
        registry = Registry(here / "registry.json")
        child = os.fork()
        if child == 0:
            made = make_folder(registry, make_record("two"))
            steps = iter(range(1000))
            os.fsync, os.replace = deadly(os.fsync, when, steps), deadly(os.replace, when, steps)
            registry.add(make_record("two"), made)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), status
        print(here, flush=True)
        if status == 0:
            break
"""


def killed_at_every_step(tmp_path: Path) -> list[tuple[Registry, bytes]]:
    """The registry after a writer's death before and after each fsync and rename, with the text it had."""
    start = Registry(tmp_path / "start" / "registry.json")
    add_record(start, "one")
    add_record(start, "three")
    (tmp_path / "killed").mkdir()
    process = python(KILLED_AT_EVERY_STEP, start.path.parent, tmp_path / "killed")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    found = [Path(line) for line in out.splitlines()]
    assert len(found) > 6
    return [(Registry(path / "registry.json"), start.path.read_bytes()) for path in found]


@posix
def test_an_add_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    outcomes = set()
    for registry, old in killed_at_every_step(tmp_path):
        names = list(registry.records())
        outcomes.add(tuple(names))
        if "two" in names:
            assert (registry.adapter_folder("two") / "adapter_model.safetensors").is_file()
        else:
            assert registry.path.read_bytes() == old
        registry.rebuild()
        added = add_record(registry, "two", work="again")
        assert added.name in registry
        assert {"one", "three", added.name} <= set(registry.records())
    assert outcomes == {("one", "three"), ("one", "three", "two")}


def test_what_a_killed_writer_left_beside_the_file_is_swept_by_the_next(registry: Registry) -> None:
    add_record(registry, "one")
    leftover = registry.path.with_name("registry.json.12345.tmp")
    other = registry.path.with_name("notes.tmp")
    for path in (leftover, other):
        path.write_bytes(b'{"schema": 1, "adap')
    registry.records()
    assert leftover.exists()  # it may be a live writer's: only who holds the lock knows
    registry.check_writable()
    assert not leftover.exists()
    assert other.exists()


# a full disk


class FailsOnce:
    """`os.fsync` and `os.replace`, of which the call with one number fails as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int):
        self.calls, self.at = 0, at
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self.failing(getattr(os, name)))

    def failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **options)

        return instead


ADD_STEPS = 8
"""zoo.json: sync, rename, sync the folder; the folder: rename, sync; registry.json: sync, rename, sync."""


def test_an_add_has_as_many_steps_as_the_tests_below_let_fail(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = FailsOnce(monkeypatch, 0)
    add_record(registry, "one")
    assert counter.calls == ADD_STEPS


@pytest.mark.parametrize("step", range(1, ADD_STEPS + 1))
def test_a_failing_write_leaves_the_registry_and_the_made_folder_as_they_were(
    step: int, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_record(registry, "one")
    before = registry.path.read_bytes()
    record = make_record("two")
    made = make_folder(registry, record)
    with monkeypatch.context() as patch:
        FailsOnce(patch, step)
        with pytest.raises(ZooError, match="No space left on device"):
            registry.add(record, made)
    if "two" in registry:  # the very last sync failed: then it must be there whole
        assert step == ADD_STEPS
        assert (registry.adapter_folder("two") / "adapter_model.safetensors").is_file()
        return
    assert registry.path.read_bytes() == before
    assert (made / "adapter_model.safetensors").read_bytes() == b"weights"
    assert not registry.adapter_folder("two").exists()
    assert not list(registry.path.parent.rglob("*.tmp"))
    assert registry.add(record, made).name == "two"


def test_a_folder_that_cannot_be_made_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ZooError, match="cannot be written to") as caught:
        Registry(tmp_path / "file" / "registry.json").check_writable()
    assert caught.value.hint == "--registry FOLDER"


@pytest.mark.parametrize("content", ["a,b\n1,2\n", '{"name": "app"}', ""])
def test_a_file_of_somebody_else_is_not_a_registry_and_is_never_written(content: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(content)
    registry = Registry(table)
    for attempt in (registry.rebuild, registry.listed, lambda: registry.get("one"), registry.check_writable):
        with pytest.raises(UsageError, match="is not a registry") as caught:
            attempt()
        assert caught.value.hint == f"--registry {tmp_path}"
    assert table.read_text() == content


def test_a_damaged_registry_of_any_name_can_be_rebuilt(registry: Registry, tmp_path: Path) -> None:
    add_record(registry, "one")
    other = Registry(registry.path.rename(registry.path.with_name("mine.json")))
    other.path.write_bytes(other.path.read_bytes()[:200])
    with pytest.raises(RegistryError, match="is damaged") as caught:
        other.get("one")
    assert caught.value.hint == "zoo registry rebuild"
    assert other.rebuild()[:2] == (1, [])


def test_the_lock_is_given_back_after_a_failure(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "GIVE_UP_AFTER", 0.2)
    with pytest.raises(NotFoundError):
        registry.remove("nobody")
    add_record(registry, "one")
    assert list(registry.records()) == ["one"]
