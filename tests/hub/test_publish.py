"""`zoo publish` with the real client against a Hub on this machine that fails in every way that Hubs fail."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Result, run_process
from tests.hub.local_hub import LocalHub
from tests.records import make_base, make_record
from tests.third_party import waits as waits
from zoo.cards import render
from zoo.models.fingerprint import file_ids
from zoo.models.hash_cache import sha256
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry

TOKEN = "hf_canaryCanaryCanaryCanaryCanary1234"
BASE = "google-bert/bert-base-cased"
NAME = "lora-bert-imdb"
REPO = f"me/{NAME}"
COMMIT = "/api/models/me/lora-bert-imdb/commit/"
SENT = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "probe.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "zoo.json",
}
Zoo = Callable[..., Result]


def save_weights(path: Path, value: float = 1.0) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"base_model.model.x.lora_A.weight": np.full((4, 8), value, dtype=np.float32)}, path)


def add_adapter(registry: Registry, name: str = NAME, value: float = 1.0, **changes: Any) -> AdapterRecord:
    """An adapter's folder as a run leaves it, with a base on this disk as PEFT writes it down."""
    folder = registry.work_folder(name) / "made"
    folder.mkdir(parents=True)
    save_weights(folder / "adapter_model.safetensors", value)
    save_weights(folder / "probe.safetensors", value)
    config = {"peft_type": "LORA", "base_model_name_or_path": "/home/anna/bert", "revision": None, "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}', encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    record = make_record(name, files=file_ids(folder), **changes)
    (folder / render.FILE).write_text(render.render(record), encoding="utf-8")
    return registry.add(record, folder)


FAULTS: dict[str, dict[str, Any]] = {
    "refused": {"method": "GET", "path_pattern": "/api/whoami-v2", "status": 401},
    "forbidden": {"method": "POST", "path_pattern": "/api/repos/create", "status": 403},
    "bad": {"method": "POST", "path_pattern": "/commit/", "status": 400},
    "stale": {"method": "POST", "path_pattern": "/commit/", "status": 412},
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub(tmp_path / "hub", tokens={TOKEN: "me", "hf_" + "s" * 30: "somebody"}) as served:
        yield served


@pytest.fixture
def base(hub: LocalHub, tmp_path: Path) -> dict[str, str]:
    """The base on the Hub; what a record says of its weights."""
    save_weights(tmp_path / "model.safetensors", 3.0)
    hub.put(BASE, {"config.json": b"{}", "model.safetensors": (tmp_path / "model.safetensors").read_bytes()})
    return {"model.safetensors": sha256(tmp_path / "model.safetensors")}


@pytest.fixture
def online(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the client of this process, which read its settings long ago, at the Hub."""
    home = tmp_path / "home"
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def adapter(registry: Registry, base: dict[str, str], online: None, waits: list[float]) -> AdapterRecord:
    return add_adapter(registry, base=make_base(weights=base, revision=None, location="path:/home/anna/bert"))


def commits(hub: LocalHub, repo: str = REPO, revision: str = "main") -> list[set[str]]:
    """What each commit holds, the newest first; the last is the one that the Hub makes itself."""
    found = [set(one.files) for one in hub.store.find("models", repo).history(revision)]
    return [names - {".gitattributes"} for names in found]


def published(hub: LocalHub, repo: str = REPO) -> dict[str, Any]:
    """The JSON files that are there."""
    return {name: json.loads(data) for name, data in hub.files(repo).items() if name.endswith(".json")}


def assert_again_is_a_no_op(zoo: Zoo, hub: LocalHub, *words: str) -> None:
    before = hub.commit(REPO), len(hub.store.find("models", REPO).commits)
    done = zoo("publish", NAME, "--yes", *words, "--json")
    assert (done.code, done.json["changed"]) == (0, False)
    assert "nothing was sent" in done.err
    assert (hub.commit(REPO), len(hub.store.find("models", REPO).commits)) == before


# what is sent


def test_one_commit_holds_everything_in_a_private_repository_and_the_registry_knows_where(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    done = zoo("publish", NAME, "--yes", "--json")
    assert done.code == 0, done.err
    assert commits(hub) == [SENT, set()]
    assert hub.store.find("models", REPO).private
    place = registry.get(NAME).hub
    assert place is not None
    assert (place.repo, place.revision) == (REPO, hub.commit(REPO))
    assert place.url == f"{hub.url}/{REPO}"
    assert done.json["hub"] == msgspec.to_builtins(place)
    assert done.json["changed"] is True
    assert_again_is_a_no_op(zoo, hub)


def test_an_answer_of_no_publishes_nothing(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.StringIO("n\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    done = zoo("publish", NAME)
    assert (done.code, done.out) == (1, "")
    assert "to the private repository me/lora-bert-imdb? [y/N]: nothing was published\n" in done.err
    assert {method for method, _ in hub.requests} <= {"GET"}
    assert registry.get(NAME).hub is None


def test_what_is_sent_names_the_base_as_the_hub_does_at_the_commit_with_its_weights(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    assert zoo("publish", NAME, "--yes").code == 0
    found = published(hub)
    config = found["adapter_config.json"]
    assert config["base_model_name_or_path"] == BASE
    assert config["revision"] == hub.commit(BASE)
    assert config["r"] == 8
    assert found["zoo.json"]["base"]["revision"] == hub.commit(BASE)
    assert found["zoo.json"]["hub"] is None
    for name, content in hub.files(REPO).items():
        assert b"/home/anna" not in content, name
    own = json.loads((registry.adapter_folder(NAME) / "adapter_config.json").read_text(encoding="utf-8"))
    assert own["base_model_name_or_path"] == "/home/anna/bert"


def test_a_name_without_an_owner_goes_into_the_own_account_and_one_with_an_owner_there(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    hub.orgs = {"org": ["me"]}
    assert zoo("publish", NAME, "mine", "--yes", "--public").code == 0
    assert zoo("publish", NAME, "org/ours", "--yes").code == 0
    assert commits(hub, "me/mine")[0] == commits(hub, "org/ours")[0] == SENT
    assert not hub.store.find("models", "me/mine").private
    refused = zoo("publish", NAME, "../x", "--yes")
    assert (refused.code, "cannot name a repository" in refused.error) == (2, True)


def test_a_name_without_an_owner_goes_into_the_namespace_of_the_config(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    hub.orgs = {"team": ["me"]}
    assert zoo("config", "set", "namespace", "team").code == 0
    assert zoo("publish", NAME, "--dry-run", "--json").json["repository"] == f"team/{NAME}"
    assert zoo("publish", NAME, "--yes").code == 0
    assert zoo("publish", NAME, "me/mine", "--yes").code == 0
    assert commits(hub, f"team/{NAME}")[0] == commits(hub, "me/mine")[0] == SENT


def test_a_pull_request_is_opened_once_and_main_stays_as_it_was(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    hub.put(REPO, {"README.md": b"older"}, private=True)
    done = zoo("publish", NAME, "--yes", "--create-pr", "--json")
    assert done.code == 0, done.err
    assert commits(hub) == [{"README.md"}]
    assert commits(hub, revision="refs/pr/1")[0] == SENT
    assert done.json["hub"]["url"] == f"{hub.url}/{REPO}/discussions/1"
    assert_again_is_a_no_op(zoo, hub, "--create-pr")


def test_a_branch_is_made_where_it_is_not_there_and_main_stays_as_it_was(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    done = zoo("publish", NAME, "--yes", "--revision", "v2", "--json")
    assert done.code == 0, done.err
    assert commits(hub, revision="v2") == [SENT, set()]
    assert commits(hub) == [set()]
    assert done.json["hub"]["url"].endswith("/tree/v2")
    assert_again_is_a_no_op(zoo, hub, "--revision", "v2")


def test_files_of_the_version_before_that_this_one_has_not_go_and_those_of_others_stay(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    assert zoo("publish", NAME, "--yes").code == 0
    hub.put(REPO, {**hub.files(REPO), "picture.png": b"x"}, private=True)
    registry.remove(NAME)
    record = add_adapter(registry, value=2.0, base=adapter.base)
    folder = registry.adapter_folder(NAME)
    (folder / "tokenizer_config.json").unlink()
    files = {name: file for name, file in record.files.items() if name != "tokenizer_config.json"}
    registry.replace(msgspec.structs.replace(record, files=files))
    done = zoo("publish", NAME, "--yes")
    assert done.code == 0, done.err
    assert "deleted, because this version has none: tokenizer_config.json" in done.err
    assert commits(hub)[0] == SENT - {"tokenizer_config.json"} | {"picture.png"}


def test_a_whole_model_goes_as_a_model_and_a_foreign_method_with_its_plugin(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    add_adapter(registry, "whole", base=adapter.base, format="transformers")
    plugin = {"method": "zoo-shiny 1.2.3", "task": "adapter-zoo 0.1.0"}
    add_adapter(registry, "shiny", base=adapter.base, format="zoo", plugins=plugin)
    for name in ("whole", "shiny"):
        done = zoo("publish", name, "--yes")
        assert done.code == 0, done.err
    assert b"library_name: transformers" in hub.files("me/whole")["README.md"]
    assert b"base_model_relation: finetune" in hub.files("me/whole")["README.md"]
    card_text = hub.files("me/shiny")["README.md"].decode()
    assert "zoo-shiny" in card_text
    assert "1.2.3" in card_text


# the checks


def statuses(zoo: Zoo, *options: object) -> dict[str, str]:
    done = zoo("publish", NAME, "--dry-run", "--json", *options)
    return {one["name"]: one["status"] for one in done.json["checks"]}


def test_a_dry_run_lists_every_check_and_every_file_and_sends_nothing(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    done = zoo("publish", NAME, "--dry-run")
    assert done.code == 0
    checks, files = ([line.split("\t") for line in table.splitlines()] for table in done.out.split("\n\n"))
    assert checks[0] == ["name", "status", "detail", "fix"]
    assert [one[:2] for one in checks[1:]] == [
        [name, "ok"] for name in ("licence", "base", "metrics", "card", "files", "unchanged")
    ]
    assert files[0] == ["file", "sent", "detail"]
    assert {name for name, sent, _ in files[1:] if sent == "yes"} == SENT
    assert ["tokenizer.json", "yes", "18 bytes"] in files
    assert {method for method, _ in hub.requests} <= {"GET"}
    assert not hub.store.has("models", REPO)


def test_a_dry_run_needs_no_network_and_no_token(registry: Registry, tmp_path: Path) -> None:
    add_adapter(registry)
    env = {"ZOO_REGISTRY": str(registry.path), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = run_process("publish", NAME, "--dry-run", "--json", env={**env, "HF_TOKEN": ""})
    assert done.code == 0, done.err
    assert done.json["repository"] == f"YOUR-ACCOUNT/{NAME}"
    found = {one["name"]: one for one in done.json["checks"]}
    assert found["base"]["status"] == "warning"
    assert "HF_HUB_OFFLINE" in found["base"]["detail"]


def test_a_folder_planted_with_secrets_and_data_publishes_none_of_them_and_says_so(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    folder = registry.adapter_folder(NAME)
    (folder / ".env").write_text(f"HF_TOKEN={TOKEN}", encoding="utf-8")
    (folder / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----", encoding="utf-8")
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "train.csv").write_text("text,label\na,1\n", encoding="utf-8")
    (folder / "checkpoint-10").mkdir()
    (folder / "vocab.txt").symlink_to("/etc/passwd")
    done = zoo("publish", NAME, "--yes", "--json")
    assert done.code == 0, done.err
    assert commits(hub) == [SENT, set()]
    planted = {".env", "id_rsa", "optimizer.pt", "train.csv", "vocab.txt", "checkpoint-10"}
    assert set(done.json["left_out"]) == planted
    for name in planted:
        assert f"left out: '{name}'" in done.err


def test_a_token_in_a_file_that_would_go_stops_it_without_being_shown(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    path = registry.adapter_folder(NAME) / render.FILE
    path.write_text(path.read_text(encoding="utf-8") + f"\nexport HF_TOKEN={TOKEN}\n", encoding="utf-8")
    done = zoo("publish", NAME, "--yes")
    assert done.code == 5
    assert "README.md" in done.error
    assert TOKEN not in done.out + done.err
    assert not hub.store.has("models", REPO)


def test_one_changed_byte_in_the_weights_is_named(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    path = registry.adapter_folder(NAME) / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "adapter_model.safetensors has changed since it was made" in done.error) == (5, True)
    assert not hub.store.has("models", REPO)


def test_edited_prose_is_published_and_an_edited_number_is_refused(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    path = registry.adapter_folder(NAME) / render.FILE
    made = path.read_text(encoding="utf-8")
    path.write_text(made.replace("0.8800", "0.9900"), encoding="utf-8")
    refused = zoo("publish", NAME, "--yes")
    assert (refused.code, "0.99" in refused.error) == (5, True)
    assert refused.err.splitlines()[-1].startswith(f"Next: zoo card {NAME} --write")
    path.write_text(made + "\n## Thanks\n\nTo my cat, who sat on the keyboard.\n", encoding="utf-8")
    done = zoo("publish", NAME, "--yes")
    assert done.code == 0, done.err
    sent = hub.files(REPO)["README.md"].decode()
    assert "To my cat" in sent
    assert REPO in sent, "its snippet opens the repository"


def test_a_card_of_0_1_without_markers_stays_here_and_never_replaces_one_on_the_hub_unseen(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    path = registry.adapter_folder(NAME) / render.FILE
    old = "---\nlicense: apache-2.0\n---\n# Of 0.1.0\n\n| accuracy | 0.99 |\n"
    path.write_text(old, encoding="utf-8")
    done = zoo("publish", NAME, "--yes")
    assert done.code == 0, done.err
    assert "Warning: card: the card has no zoo markers" in done.err
    assert b"0.99" not in hub.files(REPO)["README.md"]
    assert path.read_text(encoding="utf-8") == old
    refused = zoo("publish", NAME, "--yes")
    assert (refused.code, "the card has no zoo markers" in refused.error) == (5, True)
    assert refused.err.splitlines()[-1].startswith(f"Next: zoo card {NAME} --write")
    assert zoo("card", NAME, "--write").code == 0
    assert zoo("publish", NAME, "--yes").code == 0


def test_a_base_of_this_machine_needs_its_id_on_the_hub_and_the_weights_must_be_those(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    local = msgspec.structs.replace(adapter.base, id="local:bert", location="path:/home/anna/bert")
    registry.remove(NAME)
    add_adapter(registry, base=local)
    refused = zoo("publish", NAME, "--yes")
    assert (refused.code, "'local:bert' is on this machine only" in refused.error) == (5, True)
    assert "--base-id OWNER/NAME" in refused.err
    hub.put("google-bert/other", {"model.safetensors": b"other" * 30_000})
    for wrong in ("google-bert/other", "google-bert/none", "/home/anna/bert"):
        refused = zoo("publish", NAME, "--yes", "--base-id", wrong)
        assert (wrong, refused.code, "base:" in refused.error) == (wrong, 5, True)
    done = zoo("publish", NAME, "--yes", "--base-id", "bert-base-cased")
    assert done.code == 0, done.err
    found = published(hub)
    assert found["adapter_config.json"]["base_model_name_or_path"] == BASE
    assert (found["zoo.json"]["base"]["id"], found["zoo.json"]["base"]["source"]) == (BASE, "hub")


def test_a_recorded_base_whose_weights_the_hub_has_otherwise_is_said_aloud(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    hub.put(BASE, {"model.safetensors": b"others" * 30_000})
    done = zoo("publish", NAME, "--yes")
    assert done.code == 0, done.err
    assert f"Warning: base: the weights of {BASE} on the Hub are not those" in done.err
    assert published(hub)["adapter_config.json"]["revision"] is None


def test_without_a_licence_or_metrics_it_is_refused_until_the_person_says_so(
    zoo: Zoo, adapter: AdapterRecord, registry: Registry, hub: LocalHub
) -> None:
    registry.remove(NAME)
    bare = msgspec.structs.replace(adapter.base, licence=None)
    add_adapter(registry, base=bare, metrics=[], baselines={})
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "licence: " in done.error, "metrics: " in done.error) == (5, True, True)
    assert statuses(zoo, "--license", "no-such-licence", "--no-metrics")["card"] == "failed"
    done = zoo("publish", NAME, "--yes", "--license", "mit", "--no-metrics")
    assert done.code == 0, done.err
    assert "Warning: metrics: it was not measured" in done.err
    assert b"license: mit" in hub.files(REPO)["README.md"]


def test_without_a_terminal_nothing_is_asked_and_yes_is_wanted(zoo: Zoo, adapter: AdapterRecord) -> None:
    done = zoo("publish", NAME)
    assert (done.code, "no terminal to ask on" in done.error) == (2, True)
    assert f"zoo publish {NAME} --yes" in done.err


def test_a_public_repository_is_written_to_only_when_that_is_said(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    hub.put(REPO, {"README.md": b"older"})
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "is public" in done.error, "--public" in done.err) == (2, True, True)
    assert commits(hub) == [{"README.md"}]
    assert zoo("publish", NAME, "--yes", "--public").code == 0


# what goes wrong on the way


def test_a_failing_server_is_asked_again_after_longer_and_longer_waits(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, waits: list[float]
) -> None:
    rule = hub.fail("POST", COMMIT, status=503, times=2)
    done = zoo("publish", NAME, "--yes")
    assert (done.code, rule.hits) == (0, 2)
    assert commits(hub) == [SENT, set()]
    assert "the commit: the Hub failed (HTTP 503). Again in 1 s (1 of 4)." in done.err
    assert len(waits) == 2
    assert 0.7 < waits[0] < 1.3 < waits[1] < 2.6
    assert_again_is_a_no_op(zoo, hub)


def test_a_wait_of_an_hour_is_said_instead_of_waited(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, waits: list[float]
) -> None:
    hub.fail("POST", COMMIT, status=429, headers={"Retry-After": "3600"}, times=None)
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "asks to wait 3,600 s" in done.error, waits) == (3, True, [])


def test_a_connection_cut_before_the_commit_is_made_again(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    rule = hub.fail("POST", COMMIT, cut="before")
    done = zoo("publish", NAME, "--yes")
    assert (done.code, rule.hits) == (0, 1), done.err
    assert commits(hub) == [SENT, set()]
    assert_again_is_a_no_op(zoo, hub)


@pytest.mark.parametrize("words", [(), ("--create-pr",), ("--revision", "v2")])
def test_a_commit_whose_answer_was_lost_is_found_and_not_made_twice(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry, words: tuple[str, ...]
) -> None:
    rule = hub.fail("POST", COMMIT, cut="after")
    done = zoo("publish", NAME, "--yes", *words)
    assert (done.code, rule.hits) == (0, 1), done.err
    revision = {(): "main", ("--create-pr",): "refs/pr/1"}.get(words, "v2")
    assert commits(hub, revision=revision) == [SENT, set()]
    place = registry.get(NAME).hub
    assert place is not None
    assert place.revision == hub.commit(REPO, revision=revision)
    assert_again_is_a_no_op(zoo, hub, *words)
    assert [path for method, path in hub.requests if method == "POST" and "/commit/" in path] == [
        f"{COMMIT}{'v2' if 'v2' in words else 'main'}"
    ]


def test_a_commit_whose_answer_stays_lost_is_said_to_be_uncertain_and_the_next_finds_it(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    def fall_silent() -> None:
        hub.fail("*", "*", status=503, times=None)

    hub.fail("POST", COMMIT, cut="after", meanwhile=fall_silent)
    done = zoo("publish", NAME, "--yes")
    assert done.code == 3
    assert "Whether the commit arrived is not known." in done.error
    hub.faults.clear()
    assert commits(hub) == [SENT, set()]
    assert_again_is_a_no_op(zoo, hub)


def test_an_upload_that_fails_once_is_made_again_and_one_that_keeps_failing_leaves_no_commit(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, registry: Registry
) -> None:
    rule = hub.fail("PUT", "/lfs/", status=500, times=None)
    done = zoo("publish", NAME, "--yes")
    assert done.code == 3
    assert done.error == f"Error: the Hub failed (HTTP 500). '{REPO}' was made, and is empty."
    assert f"Next: zoo publish {NAME}" in done.err
    assert commits(hub) == [set()]
    assert registry.get(NAME).hub is None
    rule.times = rule.hits + 1
    done = zoo("publish", NAME, "--yes")
    assert done.code == 0, done.err
    assert "the Hub's client: HTTP Error 500 thrown" in done.err
    assert "http://" not in done.err
    assert commits(hub) == [SENT, set()]
    assert_again_is_a_no_op(zoo, hub)


def test_what_somebody_else_sends_meanwhile_is_one_clear_line_and_never_a_mixture(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    assert zoo("publish", NAME, "--yes").code == 0
    theirs = {**hub.files(REPO), "README.md": b"theirs", "adapter_model.safetensors": b"theirs" * 100}
    hub.put(REPO, {"README.md": b"older"}, private=True)
    hub.fail("POST", COMMIT, meanwhile=lambda: hub.put(REPO, theirs, private=True))
    done = zoo("publish", NAME, "--yes")
    assert done.code == 1
    assert done.error == (
        f"Error: '{REPO}' was changed by somebody else meanwhile (HTTP 412). '{REPO}' is as it was."
    )
    assert hub.files(REPO) == theirs
    assert zoo("publish", NAME, "--yes").code == 0
    assert_again_is_a_no_op(zoo, hub)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/whoami-v2"),
        ("POST", "/api/repos/create"),
        ("GET", f"/api/models/{REPO}"),
        ("POST", "/api/validate-yaml"),
        ("POST", f"/api/models/{REPO}/preupload"),
        ("POST", "/info/lfs/objects/batch"),
    ],
)
def test_any_call_on_the_way_may_fail_twice(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, method: str, path: str
) -> None:
    rule = hub.fail(method, path, status=503, body=b"<html>busy</html>", times=2)
    done = zoo("publish", NAME, "--yes")
    assert (done.code, rule.hits) == (0, 2), done.err
    assert commits(hub) == [SENT, set()]
    assert_again_is_a_no_op(zoo, hub)


def test_a_repository_whose_making_was_not_answered_is_made_once(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    hub.fail("POST", "/api/repos/create", cut="after")
    assert zoo("publish", NAME, "--yes").code == 0
    assert commits(hub) == [SENT, set()]


def test_a_card_that_the_hub_refuses_is_said_in_its_words(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub
) -> None:
    body = json.dumps({"errors": [{"message": '"license" must be kind'}], "warnings": []}).encode()
    hub.fail("POST", "/api/validate-yaml", status=400, body=body)
    done = zoo("publish", NAME, "--yes")
    assert (done.code, '"license" must be kind' in done.error) == (5, True), done.err
    assert commits(hub) == [set()]


# who may, and what must not be seen


def test_a_missing_and_a_refused_token_are_asked_for(
    zoo: Zoo,
    adapter: AdapterRecord,
    hub: LocalHub,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "this machine has none" in done.error, "hf auth login" in done.err) == (4, True, True)
    wrong = "hf_" + "w" * 30
    monkeypatch.setenv("HF_TOKEN", wrong)
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "HTTP 401" in done.error, "hf auth login" in done.err) == (4, True, True)
    assert wrong not in done.err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.read_only = {TOKEN}
    done = zoo("publish", NAME, "--yes")
    assert (done.code, "HTTP 403" in done.error) == (4, True), done.err
    assert waits == []
    assert not hub.store.has("models", REPO)


def test_a_stored_token_does_as_well(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "token").write_text(TOKEN, encoding="utf-8")
    assert zoo("publish", NAME, "--yes").code == 0
    assert commits(hub) == [SENT, set()]


def process_env(hub: LocalHub, registry: Registry, home: Path, **more: str) -> dict[str, str]:
    env = {**hub.env(home, TOKEN), "HF_HUB_OFFLINE": "0", "ZOO_REGISTRY": str(registry.path)}
    return {**env, **more}


def test_no_network_and_a_forbidden_one_are_said_at_once(
    hub: LocalHub, registry: Registry, tmp_path: Path
) -> None:
    add_adapter(registry)
    start = time.monotonic()
    env = process_env(hub, registry, tmp_path / "home", HF_ENDPOINT="http://127.0.0.1:9")
    done = run_process("publish", NAME, "--yes", env=env)
    assert (done.code, "the Hub cannot be reached" in done.error) == (3, True)
    env = process_env(hub, registry, tmp_path / "home", HF_HUB_OFFLINE="1")
    done = run_process("publish", NAME, "--yes", env=env)
    assert (done.code, "HF_HUB_OFFLINE forbids" in done.error) == (3, True)
    assert "unset HF_HUB_OFFLINE" in done.err
    assert time.monotonic() - start < 20


def test_publishing_imports_no_torch(hub: LocalHub, registry: Registry, tmp_path: Path) -> None:
    add_adapter(registry)
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')", encoding="utf-8")
    env = process_env(hub, registry, tmp_path / "home", PYTHONPATH=str(tmp_path))
    done = run_process("publish", NAME, "--yes", env=env)
    assert done.code == 0, done.err


def test_the_record_that_is_sent_has_the_hashes_of_the_files_beside_it(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, tmp_path: Path
) -> None:
    assert zoo("publish", NAME, "--yes").code == 0
    for name, content in hub.files(REPO).items():
        (tmp_path / name).write_bytes(content)
    listed = published(hub)["zoo.json"]["files"]
    assert set(listed) == SENT - {"zoo.json", "README.md"}
    assert {name: sha256(tmp_path / name) for name in listed} == {
        name: file["sha256"] for name, file in listed.items()
    }


def test_too_many_requests_are_waited_for_as_long_as_the_hub_asks(
    zoo: Zoo, adapter: AdapterRecord, hub: LocalHub, waits: list[float]
) -> None:
    hub.fail("POST", COMMIT, status=429, headers={"Retry-After": "17"})
    done = zoo("publish", NAME, "--yes")
    assert (done.code, waits) == (0, [17.0])
    assert commits(hub) == [SENT, set()]
    assert_again_is_a_no_op(zoo, hub)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_token_is_nowhere_in_what_is_printed_though_the_hub_repeats_it(
    hub: LocalHub, registry: Registry, tmp_path: Path, fault: str
) -> None:
    """A hostile Hub says it in its refusal; `--debug` shows the whole chain of exceptions."""
    add_adapter(registry)
    body = json.dumps({"error": f"no: Bearer {TOKEN}"}).encode()
    hub.fail(**FAULTS[fault], body=body, headers={"X-Error-Message": f"no {TOKEN}"}, times=None)
    env = process_env(hub, registry, tmp_path / "home", ZOO_DEBUG="1")
    done = run_process("publish", NAME, "--yes", env=env)
    assert done.code == 1, done.err
    assert "Traceback" in done.err
    assert "hf_***" in done.err
    assert TOKEN not in done.out + done.err
    for path in (tmp_path / "registry").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
