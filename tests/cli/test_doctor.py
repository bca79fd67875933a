"""`zoo doctor`: the facts, then what is wrong; it survives anything, changes nothing, and is quick."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, run_process
from tests.sound import add_sound, local_base
from zoo.cli.doctor import examine
from zoo.plugins import manager
from zoo.plugins.manager import Plugin
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED

Zoo = Callable[..., Result]


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_sound_zoo_ends_with_0_and_its_facts(zoo: Zoo, registry: Registry, tiny_bert: Path) -> None:
    add_sound(registry, local_base(tiny_bert))
    done = zoo("doctor", "--fast")
    assert done.code == 0
    facts = dict(line.split("\t") for line in done.out.splitlines())
    assert facts["adapters"] == "1"
    assert facts["registry"] == str(registry.path)
    assert facts["memory"].endswith(" GB")
    assert "every check passed" in done.err


def test_warnings_alone_end_with_0(zoo: Zoo, registry: Registry) -> None:
    (registry.folder / "stray").mkdir(parents=True)
    done = zoo("doctor", "--fast", "--json")
    assert done.code == 0
    assert done.json["sound"] is True
    assert [result["status"] for result in done.json["results"]] == ["warning"]


def test_what_is_broken_comes_first_and_ends_with_5_and_what_to_type(
    zoo: Zoo, registry: Registry, tiny_bert: Path
) -> None:
    add_sound(registry, local_base(tiny_bert))
    (registry.folder / "a-stray").mkdir()
    (registry.adapter_folder("mine") / "adapter_config.json").unlink()
    done = zoo("doctor", "--fast", "--json")
    assert done.code == 5
    assert done.json["sound"] is False
    broken, warning = done.json["results"]
    assert (broken["status"], warning["status"]) == ("failed", "warning")
    assert set(broken) == {"name", "status", "detail", "fix"}
    assert done.error == "Error: 1 check failed."
    assert f"Next: {broken['fix']}" in done.err
    table = zoo("doctor", "--fast").out.split("\n\n")[1].splitlines()
    assert table[0] == "name\tstatus\tdetail\tfix"
    assert table[1].split("\t") == [broken[key] for key in ("name", "status", "detail", "fix")]


def test_a_damaged_config_is_found_where_the_registry_is_not_asked_of_it(zoo: Zoo, config_file: Path) -> None:
    config_file.parent.mkdir()
    config_file.write_text("wide = 3\n", encoding="utf-8")
    done = zoo("doctor", "--fast", "--json")
    broken = next(one for one in done.json["results"] if one["name"] == str(config_file))
    assert (done.code, broken["status"], broken["fix"]) == (5, "failed", "zoo config unset wide")
    assert "line 1: wide is true or false" in broken["detail"]


def test_it_changes_nothing(registry: Registry, tiny_bert: Path, tmp_path: Path) -> None:
    add_sound(registry, local_base(tiny_bert))
    (registry.adapter_folder("mine") / "adapter_config.json").write_text("{}", encoding="utf-8")
    before = everything(tmp_path)
    env = {"ZOO_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf")}
    assert run_process("doctor", "--registry", registry.path, env=env).code == 5
    assert everything(tmp_path) == before
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "hf").exists()


def test_names_of_strangers_move_no_cursor(zoo: Zoo, registry: Registry) -> None:
    (registry.folder / "a\x1b[2Jb\tc").mkdir(parents=True)
    done = zoo("doctor", "--fast")
    assert "\x1b" not in done.out
    assert all(line.count("\t") in (0, 1, 3) for line in done.out.splitlines())


def test_a_broken_plugin_is_named_with_what_removes_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = manager.find

    def with_broken(kind: str) -> dict[str, Plugin]:
        more = {"bad": Plugin(kind, "bad", "no_such_module", "zoo-bad 1.0")} if kind == "method" else {}
        return {**find(kind), **more}

    monkeypatch.setattr(manager, "find", with_broken)
    (result,) = examine(registry, fast=True).results
    assert result.status == FAILED
    assert "zoo-bad 1.0" in result.detail
    assert result.fix == "pip install --upgrade zoo-bad"


def test_a_registry_that_is_a_folder_is_no_traceback(zoo: Zoo, registry: Registry) -> None:
    registry.path.mkdir(parents=True)
    done = zoo("doctor", "--fast", "--registry", registry.path)
    assert "unexpected" not in done.err


def test_the_process_itself_never_imports_torch(registry: Registry, tiny_bert: Path) -> None:
    add_sound(registry, local_base(tiny_bert))
    code = f"""
import sys
from pathlib import Path
from zoo.cli.doctor import examine
from zoo.registry.store import Registry

assert examine(Registry(Path({str(registry.path)!r})), fast=True).results == []
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
