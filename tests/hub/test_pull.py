from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, run_process
from tests.hub.local_hub import LocalHub
from tests.records import add_record
from tests.third_party import CONFIG, adapter_files, put_down
from tests.third_party import hub as hub
from zoo.hub.trust_record import recorded_files
from zoo.registry.schema import UNKNOWN
from zoo.registry.store import Registry, dump

Zoo = Callable[..., Result]
REPO = "them/lora-reviews"
_WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def files(tiny_bert: Path) -> dict[str, bytes]:
    return adapter_files(tiny_bert)


def recorded(files: dict[str, bytes], tmp_path: Path, **changes: Any) -> dict[str, bytes]:
    """The same with the record that a zoo would publish beside them."""
    folder = put_down(tmp_path / "recorded", files)
    elsewhere = Registry(tmp_path / "elsewhere" / "registry.json")
    record = add_record(elsewhere, "theirs", files=recorded_files(folder), **changes)
    return {**files, "zoo.json": dump(record)}


def test_an_adapter_is_registered_at_its_commit_and_its_base_is_not_fetched(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes]
) -> None:
    commit = hub.put(REPO, files)
    done = zoo("pull", REPO, "--json")
    assert done.code == 0, done.err
    record = done.json
    assert record["name"] == "lora-reviews"
    assert record["hub"] == {"repo": REPO, "revision": commit, "url": f"{hub.url}/{REPO}"}
    assert record["origin"] == f"hub:{REPO}@{commit}"
    assert record["base"]["location"] == "hub:google-bert/bert-base-cased"
    assert (record["spec"]["method"], record["spec"]["task"]) == ("lora", UNKNOWN)
    assert {path.partition("/resolve/")[0] for path in hub.sent()} == {f"/{REPO}"}
    assert zoo("list", "--json").json == [record]


def test_only_files_of_an_adapter_are_fetched(zoo: Zoo, hub: LocalHub, files: dict[str, bytes]) -> None:
    extra = {
        ".env": b"HF_TOKEN=hf_x",
        "train.py": b"print()",
        "optimizer.pt": b"x",
        "checkpoint-1/adapter_model.safetensors": b"x",
        "model.safetensors": b"the whole model, merged",
        "adapter_model.bin": b"x",
    }
    hub.put(REPO, {**files, **extra})
    assert zoo("pull", REPO).code == 0
    assert sorted(path.rpartition("/")[2] for path in hub.sent()) == sorted(files)


def test_a_record_that_fits_its_files_is_kept_and_its_metrics_are_as_its_author_states(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], tmp_path: Path
) -> None:
    hub.put(REPO, recorded(files, tmp_path))
    record = zoo("pull", REPO, "--json").json
    assert record["metrics"][0]["value"] == 0.88
    assert record["spec"]["task"] == "bert-imdb"
    shown = zoo("show", "lora-reviews").out
    assert "accuracy\t0.8800  0.8300 to 0.9300  n 1000  as its author states" in shown
    assert "majority accuracy\t0.5000  0.4500 to 0.5500  n 1000  as its author states" in shown


def test_pulling_twice_is_a_no_op_that_says_so(zoo: Zoo, hub: LocalHub, files: dict[str, bytes]) -> None:
    commit = hub.put(REPO, files)
    first = zoo("pull", REPO, "--json").json
    sent = len(hub.sent())
    done = zoo("pull", REPO, "--json")
    assert (done.code, done.json, len(hub.sent())) == (0, first, sent)
    assert "'lora-reviews' is this commit already; nothing was fetched" in done.err
    hub.down = True  # a commit that is here needs no asking
    assert zoo("pull", f"{REPO}@{commit}").code == 0


def test_another_commit_gets_the_next_free_name_or_the_one_asked_for(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes]
) -> None:
    old = hub.put(REPO, files)
    zoo("pull", REPO)
    hub.put(REPO, {**files, "README.md": b"# New"})
    assert zoo("pull", REPO, "--json").json["name"] == "lora-reviews-2"
    assert zoo("pull", f"{REPO}@{old}", "--name", "old", "--json").json["hub"]["revision"] == old
    assert "already called 'old'" in zoo("pull", REPO, "--name", "old").error


def test_a_branch_is_pinned_to_its_commit(zoo: Zoo, hub: LocalHub, files: dict[str, bytes]) -> None:
    hub.put(REPO, files)
    commit = hub.put(REPO, {**files, "README.md": b"# Trial"}, revision="trial")
    assert zoo("pull", f"{REPO}@trial", "--json").json["hub"]["revision"] == commit
    assert all(f"/resolve/{commit}/" in path for path in hub.sent())


@pytest.mark.parametrize(
    ("reference", "code", "said"),
    [
        ("them/nothing", 3, "no such repository, or it is private"),
        (f"{REPO}@nothing", 3, "has no such revision"),
        ("not-a-repository", 2, "is not a repository id of the Hub"),
        ("../../etc", 2, "is not a repository id of the Hub"),
        (f"{REPO}@", 2, "is not a repository id of the Hub"),
    ],
)
def test_what_is_not_there_is_one_line(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], reference: str, code: int, said: str
) -> None:
    hub.put(REPO, files)
    done = zoo("pull", reference)
    assert (done.code, said in done.error) == (code, True), done.err


def test_a_gated_repository_wants_a_token(zoo: Zoo, hub: LocalHub, files: dict[str, bytes]) -> None:
    hub.put(REPO, files)
    hub.gated = {REPO}
    done = zoo("pull", REPO)
    assert (done.code, "is gated: its owner must grant access first" in done.error) == (4, True)
    assert zoo("list", "--json").json == []


def test_a_private_one_is_pulled_with_its_token_and_unknown_without(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("me/secret", files, private=True)
    assert zoo("pull", "me/secret").code == 3
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    done = zoo("pull", "me/secret")
    assert (done.code, "hf_mine" in done.out + done.err) == (0, False)


def test_offline_is_reported(zoo: Zoo) -> None:
    done = zoo("pull", REPO)  # the tests run with HF_HUB_OFFLINE=1
    assert (done.code, "HF_HUB_OFFLINE forbids asking" in done.error) == (3, True)


def test_a_failing_hub_is_asked_again_and_then_said(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.hub.client.WAIT", 0.01)
    hub.put(REPO, files)
    hub.fail("GET", f"/api/models/{REPO}", status=503, times=2)
    assert zoo("pull", REPO).code == 0
    hub.down = True
    done = zoo("pull", "them/other")
    assert (done.code, "the Hub failed (HTTP 503)" in done.error) == (3, True)


@pytest.mark.parametrize("path", [_WEIGHTS, "adapter_config.json"])
def test_a_failure_half_way_leaves_nothing(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], registry: Registry, path: str
) -> None:
    hub.put(REPO, files)
    hub.fail("*", f"/resolve/*/{path}", status=404, times=None)
    hub.fail("*", path, status=404, times=None)
    assert zoo("pull", REPO).code in (1, 3)
    assert zoo("list", "--json").json == []
    assert list(registry.work_folder("").iterdir()) == []


@pytest.mark.parametrize("name", [_WEIGHTS, "adapter_config.json"])
def test_content_that_is_not_what_was_announced_is_refused(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], name: str
) -> None:
    hub.put(REPO, files)
    other = bytearray(files[name])
    other[-1] ^= 1
    hub.lie(REPO, name, body=bytes(other))
    done = zoo("pull", REPO)
    assert (done.code, f"{name} has not the announced hash" in done.error) == (5, True)
    assert zoo("list", "--json").json == []


def test_a_size_that_was_announced_wrongly_is_refused(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes]
) -> None:
    hub.put(REPO, files)
    hub.lie(REPO, _WEIGHTS, size=len(files[_WEIGHTS]) + 7)
    done = zoo("pull", REPO)
    assert done.code != 0
    assert zoo("list", "--json").json == []


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil", "/etc/evil", "C:evil", "..\\evil", "a\x1bb"])
def test_a_name_that_would_leave_the_folder_is_refused_before_anything_is_fetched(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], name: str
) -> None:
    hub.put(REPO, {**files, name: b"x"})
    done = zoo("pull", REPO)
    assert (done.code, "is made to leave its folder" in done.error, "\x1b" in done.err) == (5, True, False)
    assert hub.sent() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({_WEIGHTS: None, "adapter_model.bin": b"x"}, "adapter_model.bin is pickled"),
        ({_WEIGHTS: b"version https://git-lfs.github.com/spec/v1\n"}, "is a Git LFS pointer"),
        ({_WEIGHTS: None}, "has no weights beside its adapter_config.json"),
        ({"adapter_config.json": b'{"fine_tune_type": "lora"}'}, "is MLX-LM's, not PEFT's"),
        (
            {
                "adapter_config.json": json.dumps(
                    {**CONFIG, "auto_mapping": {"parent_library": "os"}}
                ).encode()
            },
            "makes PEFT import 'os'",
        ),
        ({"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": "evil.Tok"}}'}, "tokenizer_config.json"),
        (
            {"adapter_config.json": None, _WEIGHTS: None, "config.json": b"{}"},
            "is a whole model, not an adapter",
        ),
        ({"adapter_config.json": None, _WEIGHTS: None}, "holds no adapter"),
    ],
)
def test_what_is_dangerous_or_no_adapter_is_refused_by_name(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], changes: dict[str, bytes | None], said: str
) -> None:
    left = {
        name: content for name, content in {**files, "x.txt": b"x", **changes}.items() if content is not None
    }
    hub.put(REPO, left)
    done = zoo("pull", REPO)
    assert (done.code in (3, 5), said in done.error, REPO in done.error) == (True, True, True), done.err
    assert ".work" not in done.err
    assert zoo("list", "--json").json == []


def test_pickled_weights_of_a_repository_are_converted_when_that_is_asked_for(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    whole = put_down(tmp_path / "whole", files)
    torch.save(load_file(whole / _WEIGHTS), whole / "adapter_model.bin")
    pickled = (whole / "adapter_model.bin").read_bytes()
    hub.put(REPO, {"adapter_config.json": files["adapter_config.json"], "adapter_model.bin": pickled})
    assert f"zoo import {REPO} --convert-bin" in zoo("pull", REPO).err
    done = zoo("import", REPO, "--convert-bin", "--json")
    assert done.code == 0, done.err
    assert sorted(done.json["files"]) == ["adapter_config.json", _WEIGHTS]
    assert done.json["hub"]["repo"] == REPO


def test_the_person_tells_what_a_repository_does_not(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], tiny_bert: Path
) -> None:
    hub.put(REPO, files)
    done = zoo(
        "import", REPO, "--task", "bert-imdb", "--labels", "bad,good", "--base", "bert-base-uncased", "--json"
    )
    record = done.json
    assert (record["spec"]["task"], record["labels"]) == ("bert-imdb", ["bad", "good"])
    assert record["base"]["id"] == "google-bert/bert-base-uncased"


def test_a_whole_model_with_its_record_is_pulled(
    zoo: Zoo, hub: LocalHub, tiny_bert: Path, tmp_path: Path
) -> None:
    files = {name: (tiny_bert / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.put(REPO, recorded(files, tmp_path, format="transformers"))
    done = zoo("pull", REPO, "--json")
    assert done.code == 0, done.err
    assert sorted(done.json["files"]) == ["config.json", "model.safetensors"]


def test_an_adapter_of_a_third_party_method_is_told_by_its_record_alone(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], tmp_path: Path
) -> None:
    own = recorded({"adapter.safetensors": files[_WEIGHTS]}, tmp_path, format="zoo")
    hub.put(REPO, own)
    assert zoo("pull", REPO, "--json").json["format"] == "zoo"
    hub.put("them/broken", {**own, "adapter.safetensors": files[_WEIGHTS] + b""[:0], "zoo.json": b"{}"})
    done = zoo("pull", "them/broken")
    assert (done.code, "cannot be trusted" in done.error) == (5, True)


def test_a_pulled_adapter_is_verified_where_its_base_is_local(
    hub: LocalHub, tiny_bert: Path, tmp_path: Path, reviews_csv: Path
) -> None:
    """In processes of their own: the client reads where its cache is when it is imported."""
    env = {**hub.env(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "ZOO_REGISTRY": str(tmp_path / "r.json")}
    base = {path.name: path.read_bytes() for path in tiny_bert.iterdir() if path.is_file()}
    commit = hub.put("google-bert/bert-base-cased", base)
    trained = run_process(
        "train", "lora", "bert-imdb", "--base", "hub:google-bert/bert-base-cased", "--data", reviews_csv,
        "--epochs", 4, "--lr", 0.05, "--name", "mine", env=env,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    published = {path.name: path.read_bytes() for path in (tmp_path / "adapters" / "mine").iterdir()}
    hub.put(REPO, published)
    done = run_process("pull", REPO, "--json", env=env)
    assert done.code == 0, done.err
    assert done.json["base"]["location"] == f"hub:google-bert/bert-base-cased@{commit}"
    assert ("head: ok" in done.err, "failed" in done.err) == (True, False), done.err
    swapped = bytearray(published[_WEIGHTS])
    swapped[-2000:] = bytes(2000)  # an honest record of spoilt weights: only the probe can tell
    record = json.loads(published["zoo.json"])
    record["files"][_WEIGHTS]["sha256"] = hashlib.sha256(swapped).hexdigest()
    hub.put("them/spoilt", {**published, _WEIGHTS: bytes(swapped), "zoo.json": dump(record)})
    done = run_process("pull", "them/spoilt", env=env)
    assert (done.code, "'spoilt' was pulled and fails its check" in done.error) == (5, True), done.err
    assert run_process("show", "spoilt", env=env).code == 0


def test_a_pull_imports_no_torch(hub: LocalHub, files: dict[str, bytes], tmp_path: Path) -> None:
    hub.put(REPO, files)
    words = ["zoo", "pull", REPO, "--registry", str(tmp_path / "r.json")]
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from zoo.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    env = {**os.environ, **hub.env(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_pull_takes_the_place_of_what_was_damaged_and_of_the_same_commit_too(
    zoo: Zoo, hub: LocalHub, files: dict[str, bytes], registry: Registry
) -> None:
    commit = hub.put(REPO, files)
    zoo("pull", REPO, "--name", "mine")
    damaged = registry.adapter_folder("mine") / _WEIGHTS
    damaged.write_bytes(b"x")
    taken = zoo("pull", REPO, "--name", "mine")
    assert "--replace would put this one in its place" in taken.error
    fix = next(one for one in zoo("registry", "check", "--json").json["results"] if one["fix"])["fix"]
    base = "--base hub:google-bert/bert-base-cased"
    assert fix == f"zoo import {REPO}@{commit} --name mine --replace {base}"
    done = zoo(*fix.split()[1:])
    assert done.code == 0, done.err
    assert damaged.read_bytes() == files[_WEIGHTS]
    assert zoo("registry", "check", "--all").code == 0
    assert zoo("undo").code == 0
    assert damaged.read_bytes() == b"x"
