"""The test Hub against the real client of either age. Needs nothing but it, pytest and PyYAML."""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    close_session,
    constants,
    get_session,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.conftest import ROOT
from tests.hub.local_hub import LocalHub

MINE, THEIRS, READER = "hf_mine", "hf_theirs", "hf_reader"
REPO = "me/adapter"
WEIGHTS = b"weights" * 50_000
CARD = """---
license: mit
base_model: google-bert/bert-base-cased
base_model_relation: adapter
library_name: peft
---
# An adapter
"""
FILES = {"adapter_model.safetensors": WEIGHTS, "adapter_config.json": b'{"r": 8}', "README.md": CARD.encode()}
REPO_FILES = {".gitattributes", *FILES}


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The client's switches as `LocalHub.env` sets them: this process may have read others already."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    close_session()
    yield
    close_session()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    tokens = {MINE: "me", THEIRS: "other", READER: "me"}
    with LocalHub(tmp_path / "hub", tokens=tokens, orgs={"team": {"me"}}) as served:
        served.read_only = {READER}
        yield served


@pytest.fixture
def me(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=MINE)


@pytest.fixture
def stranger(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=THEIRS)


def additions(**files: bytes) -> list[CommitOperationAdd]:
    return [CommitOperationAdd(name, content) for name, content in (files or FILES).items()]


def publish(api: HfApi, repo: str = REPO, **options: Any) -> Any:
    return api.create_commit(repo, operations=additions(), commit_message="Publish", **options)


def fetch(hub: LocalHub, folder: Path, name: str, repo: str = REPO, **options: Any) -> bytes:
    options = {"token": MINE, **options}
    path = huggingface_hub.hf_hub_download(repo, name, endpoint=hub.url, cache_dir=folder, **options)
    return Path(path).read_bytes()


def status_of(call: Callable[[], object]) -> int:
    """The status that the client's exception carries."""
    with pytest.raises(HfHubHTTPError) as caught:
        call()
    return int(caught.value.response.status_code)


# who it is


def test_a_known_token_is_answered_with_its_user(me: HfApi) -> None:
    told = me.whoami()
    assert (told["name"], told["type"]) == ("me", "user")
    assert [org["name"] for org in told["orgs"]] == ["team"]
    assert told["auth"]["accessToken"]["role"] == "write"
    assert me.whoami(token=READER)["auth"]["accessToken"]["role"] == "read"


def test_an_unknown_token_is_401_wherever_it_is_shown(hub: LocalHub) -> None:
    hub.put("org/open", {"config.json": b"{}"})
    api = HfApi(endpoint=hub.url, token="hf_wrong")
    assert status_of(api.whoami) == 401
    assert status_of(lambda: api.model_info("org/open")) == 401
    assert HfApi(endpoint=hub.url, token=False).model_info("org/open").id == "org/open"


def test_nothing_is_written_without_a_token_or_with_one_that_may_only_read(hub: LocalHub) -> None:
    assert status_of(lambda: HfApi(endpoint=hub.url, token=False).create_repo(REPO)) == 401
    assert status_of(lambda: HfApi(endpoint=hub.url, token=READER).create_repo(REPO)) == 403
    assert not hub.store.has("models", REPO)


# repositories


def test_a_repository_is_created_private_and_seen_by_its_owner_only(me: HfApi, stranger: HfApi) -> None:
    url = me.create_repo(REPO, private=True)
    assert (url.repo_id, url.repo_type) == (REPO, "model")
    assert me.model_info(REPO).private is True
    assert stranger.repo_exists(REPO) is False
    with pytest.raises(RepositoryNotFoundError):
        stranger.list_repo_files(REPO)
    assert [model.id for model in me.list_models(author="me")] == [REPO]
    assert list(stranger.list_models(author="me")) == []
    me.update_repo_settings(REPO, private=False)
    assert stranger.model_info(REPO).private is False


def test_creating_a_repository_twice_is_409_with_its_address(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    assert status_of(lambda: me.create_repo(REPO)) == 409
    again = me.create_repo(REPO, exist_ok=True)
    assert (again.repo_id, str(again)) == (REPO, f"{hub.url}/{REPO}")


def test_a_repository_is_created_for_an_organisation_of_ones_own_and_for_no_other(me: HfApi) -> None:
    assert me.create_repo("team/adapter").repo_id == "team/adapter"
    assert status_of(lambda: me.create_repo("other/adapter")) == 403


def test_a_data_set_has_an_address_of_its_own(me: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    assert me.create_repo(REPO, repo_type="dataset").repo_type == "dataset"
    me.upload_file(
        path_or_fileobj=WEIGHTS, path_in_repo="a.parquet", repo_id=REPO, repo_type="dataset", token=MINE
    )
    assert fetch(hub, tmp_path, "a.parquet", repo_type="dataset") == WEIGHTS
    assert not hub.store.has("models", REPO)


def test_a_deleted_repository_is_gone(me: HfApi, stranger: HfApi) -> None:
    me.create_repo(REPO)
    assert status_of(lambda: stranger.delete_repo(REPO)) == 403
    me.delete_repo(REPO)
    assert me.repo_exists(REPO) is False
    with pytest.raises(RepositoryNotFoundError):
        me.delete_repo(REPO)
    me.delete_repo(REPO, missing_ok=True)


# commits


def test_a_commit_holds_large_and_small_files_and_they_come_back(
    me: HfApi, hub: LocalHub, tmp_path: Path
) -> None:
    me.create_repo(REPO)
    done = publish(me)
    assert done.oid == hub.commit(REPO) == me.model_info(REPO).sha
    assert set(me.list_repo_files(REPO)) == REPO_FILES
    folder = huggingface_hub.snapshot_download(REPO, endpoint=hub.url, token=MINE, cache_dir=tmp_path)
    assert {name: (Path(folder) / name).read_bytes() for name in FILES} == FILES
    listed: dict[str, Any] = {file.path: file for file in me.list_repo_tree(REPO)}
    weights = listed["adapter_model.safetensors"]
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert (weights.size, listed["adapter_config.json"].lfs) == (len(WEIGHTS), None)


def test_a_folder_is_uploaded_in_one_commit(me: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "made" / name).write_bytes(content)
    me.create_repo(REPO)
    me.upload_folder(repo_id=REPO, folder_path=tmp_path / "made", commit_message="All of it")
    assert {name: hub.files(REPO)[name] for name in FILES} == FILES
    assert [commit.title for commit in me.list_repo_commits(REPO)] == ["All of it", "initial commit"]


def test_the_same_files_again_are_no_commit_and_no_upload(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    first = publish(me)
    hub.requests.clear()
    assert publish(me).oid == first.oid
    assert [path for method, path in hub.requests if method == "PUT" or "/commit/" in path] == []


def test_large_content_that_the_repository_has_under_another_name_is_not_sent_again(
    me: HfApi, hub: LocalHub
) -> None:
    me.create_repo(REPO)
    publish(me)
    hub.requests.clear()
    me.create_commit(REPO, operations=additions(**{"copy.safetensors": WEIGHTS}), commit_message="Copy")
    assert hub.files(REPO)["copy.safetensors"] == WEIGHTS
    assert [method for method, _ in hub.requests if method == "PUT"] == []


def test_a_file_is_large_by_its_name_or_its_size_and_never_when_empty(me: HfApi) -> None:
    me.create_repo(REPO)
    files = {
        "small.safetensors": b"1",
        "big.txt": b"1" * 200_000,
        "small.txt": b"1",
        "empty.safetensors": b"",
    }
    for _ in range(2):  # the second time, each is found to be the same
        done = me.create_commit(REPO, operations=additions(**files), commit_message="Files")
    listed: list[Any] = list(me.list_repo_tree(REPO))
    assert {file.path for file in listed if file.lfs} == {"small.safetensors", "big.txt"}
    assert me.model_info(REPO).sha == done.oid
    assert len(me.list_repo_commits(REPO)) == 2


def test_files_and_folders_are_deleted_by_a_commit(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    me.create_commit(
        REPO, operations=additions(**{"a/b": b"1", "a/c": b"2", "d": b"3"}), commit_message="Add"
    )
    operations = [CommitOperationDelete("a/"), CommitOperationDelete("d")]
    me.create_commit(REPO, operations=operations, commit_message="Remove")
    assert set(hub.files(REPO)) == {".gitattributes"}
    with pytest.raises(EntryNotFoundError):
        me.delete_file("d", REPO)


def test_a_commit_with_one_wrong_part_changes_nothing(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    before = hub.commit(REPO)
    with pytest.raises(EntryNotFoundError):
        me.create_commit(
            REPO, operations=[*additions(), CommitOperationDelete("gone")], commit_message="Half right"
        )
    assert hub.commit(REPO) == before
    assert set(hub.files(REPO)) == {".gitattributes"}


def test_a_commit_on_a_parent_that_is_not_the_head_is_412(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    old = hub.commit(REPO)
    publish(me, parent_commit=old)
    operations = additions(**{"late.txt": b"late"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        me.create_commit(REPO, operations=operations, commit_message="Late", parent_commit=old)
    assert caught.value.response.status_code == 412
    assert "late.txt" not in hub.files(REPO)


def test_a_pull_request_leaves_main_alone_and_can_be_read(me: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    me.create_repo(REPO)
    before = hub.commit(REPO)
    done = publish(me, create_pr=True)
    assert done.pr_url == f"{hub.url}/{REPO}/discussions/1"
    assert (done.pr_num, done.pr_revision) == (1, "refs/pr/1")
    assert hub.commit(REPO) == before
    assert fetch(hub, tmp_path, "adapter_model.safetensors", revision="refs/pr/1") == WEIGHTS
    refs = me.list_repo_refs(REPO, include_pull_requests=True)
    assert [ref.target_commit for ref in refs.pull_requests or []] == [done.oid]
    more = additions(**{"more.txt": b"more"})
    me.create_commit(REPO, operations=more, commit_message="More", revision="refs/pr/1")
    assert "more.txt" in hub.files(REPO, "refs/pr/1")
    assert [pull.title for pull in me.get_repo_discussions(REPO)] == ["Publish"]
    events: list[Any] = me.get_discussion_details(REPO, 1).events
    assert [event.summary for event in events] == ["More", "Publish"]


def test_a_stranger_may_open_a_pull_request_but_not_commit(me: HfApi, stranger: HfApi) -> None:
    me.create_repo(REPO)
    assert status_of(lambda: publish(stranger)) == 403
    assert publish(stranger, create_pr=True).pr_num == 1
    more = additions(**{"more.txt": b"more"})
    done = stranger.create_commit(REPO, operations=more, commit_message="More", revision="refs/pr/1")
    assert done.oid == me.model_info(REPO, revision="refs/pr/1").sha
    assert status_of(lambda: stranger.create_tag(REPO, tag="mine")) == 403


def test_branches_and_tags_are_made_read_and_deleted(me: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    me.create_repo(REPO)
    me.create_branch(REPO, branch="wip")
    done = publish(me, revision="wip")
    me.create_tag(REPO, tag="v1", revision="wip")
    assert fetch(hub, tmp_path, "adapter_config.json", revision="v1") == FILES["adapter_config.json"]
    assert me.model_info(REPO, revision="wip").sha == me.model_info(REPO, revision="v1").sha == done.oid
    assert set(hub.files(REPO)) == {".gitattributes"}
    assert status_of(lambda: me.create_branch(REPO, branch="wip")) == 409
    me.create_branch(REPO, branch="wip", exist_ok=True)
    me.delete_branch(REPO, branch="wip")
    me.delete_tag(REPO, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        me.model_info(REPO, revision="v1")
    with pytest.raises(RevisionNotFoundError):
        publish(me, revision="no-such-branch")
    assert hub.files(REPO, done.oid)["README.md"] == CARD.encode()


def test_a_commit_outlives_later_ones(me: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    me.create_repo(REPO)
    first = publish(me).oid
    changed = additions(**{"adapter_config.json": b'{"r": 16}'})
    me.create_commit(REPO, operations=changed, commit_message="Another rank")
    assert fetch(hub, tmp_path, "adapter_config.json", revision=first) == b'{"r": 8}'
    assert fetch(hub, tmp_path, "adapter_config.json") == b'{"r": 16}'
    assert me.model_info(REPO, revision=first[:10]).sha == first


def test_a_folder_is_served_pushed_to_and_edited(me: HfApi, hub: LocalHub) -> None:
    folder = hub.root / "models" / REPO
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    served = hub.commit(REPO)
    pushed = publish(me, parent_commit=served).oid
    assert hub.commit(REPO) == pushed
    assert set(hub.files(REPO)) == {"config.json", *FILES}
    (folder / "config.json").write_text('{"edited": true}')
    assert set(hub.files(REPO)) == {"config.json"}
    assert set(hub.files(REPO, pushed)) == {"config.json", *FILES}


def test_commits_made_at_once_are_all_there(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    sets = [{f"{number}/{file}": b"text" for file in range(100)} for number in range(8)]

    def add(files: dict[str, bytes]) -> None:
        me.create_commit(REPO, operations=additions(**files), commit_message="Some")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads get in each other's way as often as can be
    try:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(add, sets))
    finally:
        sys.setswitchinterval(interval)
    assert set(hub.files(REPO)) == {".gitattributes"}.union(*sets)
    assert len(me.list_repo_commits(REPO)) == 9


def test_half_a_commit_changes_nothing(me: HfApi, hub: LocalHub) -> None:
    """A client that dies while it sends: every line that came is right, and one did not come."""
    me.create_repo(REPO)
    before = hub.commit(REPO)
    lines = [{"key": "header", "value": {"summary": "Half"}}, {"key": "file", "value": {"path": "a"}}]
    half = json.dumps(lines[0]).encode() + b"\n"
    head = f"POST /api/models/{REPO}/commit/main HTTP/1.1\r\nAuthorization: Bearer {MINE}\r\n"
    head += f"Content-Length: {len(half) + len(json.dumps(lines[1]))}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(hub.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head.encode() + half)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert hub.commit(REPO) == before


def test_what_git_ignores_is_left_out(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    files = {".gitignore": b"*.log\n", "train.log": b"log", "kept.txt": b"kept"}
    me.create_commit(REPO, operations=additions(**files), commit_message="With rules")
    assert set(hub.files(REPO)) == {".gitattributes", ".gitignore", "kept.txt"}


# cards


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"base_model": "/home/me/models/bert"},
            '"base_model" with value "/home/me/models/bert" is not valid',
        ),
        ({"base_model": "./bert"}, '"base_model" with value "./bert" is not valid'),
        ({"base_model_relation": "child"}, '"base_model_relation" must be one of'),
        ({"license": 2}, '"license" must be a string'),
        ({"license": "Apache 2.0"}, '"license" with value "Apache 2.0" is not valid'),
        ({"datasets": ["local data"]}, '"datasets[0]" with value "local data" is not valid'),
        ({"language": "english"}, '"language" with value "english" is not valid'),
        ({"model-index": {}}, '"model-index" must be an array'),
        ({"model-index": [{"results": []}]}, '"model-index[0].name" is required'),
        (
            {"model-index": [{"name": "a", "results": [{"task": {"type": "b"}, "metrics": []}]}]},
            '"model-index[0].results[0].dataset" is required',
        ),
    ],
)
def test_a_card_with_a_fault_is_refused_in_words(
    me: HfApi, hub: LocalHub, change: dict[str, Any], message: str
) -> None:
    me.create_repo(REPO)
    matter = {"license": "mit", "base_model": "org/base", **change}
    text = (
        f"---\n{json.dumps({key: value for key, value in matter.items() if value is not None})}\n---\n# Hi\n"
    )
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md") as caught:
        me.create_commit(REPO, operations=additions(**{"README.md": text.encode()}), commit_message="Card")
    assert message in str(caught.value)
    assert "README.md" not in hub.files(REPO)


def test_a_card_with_results_is_accepted_and_the_client_reads_them(me: HfApi) -> None:
    from huggingface_hub import EvalResult, ModelCardData

    result = EvalResult(
        task_type="text-classification",
        dataset_type="stanfordnlp/imdb",
        dataset_name="IMDB",
        dataset_split="test",
        dataset_revision="0" * 40,
        metric_type="accuracy",
        metric_value=0.88,
    )
    data = ModelCardData(license="mit", base_model="org/base", model_name="mine", eval_results=[result])
    me.create_repo(REPO)
    text = f"---\n{data.to_yaml()}\n---\n# Hi\n"
    me.create_commit(REPO, operations=additions(**{"README.md": text.encode()}), commit_message="Card")
    told = me.model_info(REPO)
    assert told.card_data is not None
    assert told.card_data.eval_results is not None
    assert told.card_data.eval_results[0].metric_value == 0.88


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (b"# Hi\n", "empty or missing yaml metadata"),
        (b"---\nlibrary_name: peft\n---\n# Hi\n", '"license" is missing'),
    ],
)
def test_a_card_without_front_matter_or_licence_is_a_warning(
    me: HfApi, hub: LocalHub, card: bytes, message: str
) -> None:
    me.create_repo(REPO)
    with pytest.warns(UserWarning, match=message):
        me.create_commit(REPO, operations=additions(**{"README.md": card}), commit_message="Card")
    assert hub.files(REPO)["README.md"] == card


# search


def test_an_adapter_is_found_by_its_base_its_author_and_words_of_its_name(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    publish(me)
    hub.put("org/other", {"README.md": CARD.replace("bert-base-cased", "bert-large").encode()}, likes=9)
    hub.put("org/model", {"config.json": b'{"model_type": "bert"}'}, downloads=5)

    def ids(**options: Any) -> list[str]:
        return [model.id for model in me.list_models(**options)]

    assert ids(filter="base_model:adapter:google-bert/bert-base-cased") == [REPO]
    assert ids(filter=["peft", "license:mit"], sort="likes") == ["org/other", REPO]
    assert ids(filter="peft", author="org") == ["org/other"]
    assert ids(search="ADAPT") == [REPO]
    assert ids(sort="downloads", limit=1) == ["org/model"]
    assert next(iter(me.list_models(search="org/model", full=True))).library_name == "transformers"
    assert next(iter(me.list_models(author="me", cardData=True))).card_data == me.model_info(REPO).card_data
    assert next(iter(me.list_models(author="me", expand=["sha"]))).sha == hub.commit(REPO)


def test_a_list_of_1200_models_comes_in_pages_and_none_is_lost(me: HfApi, hub: LocalHub) -> None:
    for number in range(1200):
        hub.put(f"org/adapter-{number}", {"README.md": CARD.encode()})
    hub.requests.clear()
    found = [model.id for model in me.list_models(filter="base_model:adapter:google-bert/bert-base-cased")]
    assert len(found) == len(set(found)) == 1200
    assert len(hub.requests) == 2
    hub.requests.clear()
    assert len(list(me.list_models(limit=1100))) == 1100
    hub.page, hub.requests = 100, []
    assert len(list(me.list_models(limit=250))) == 250
    assert len(hub.requests) == 3


# downloads


def test_large_content_comes_from_another_host_without_the_token(
    me: HfApi, hub: LocalHub, tmp_path: Path
) -> None:
    me.create_repo(REPO, private=True)
    publish(me)
    hub.requests.clear()
    assert fetch(hub, tmp_path, "adapter_model.safetensors") == WEIGHTS
    assert [method for method, path in hub.requests if path.startswith("/cdn/")] == ["GET"]
    assert hub.sent() == [f"/{REPO}/resolve/{hub.commit(REPO)}/adapter_model.safetensors"]
    address = hub.signed(f"/cdn/{REPO}/resolve/{hub.commit(REPO)}/adapter_model.safetensors")
    session = get_session()
    assert session.get(address).content == WEIGHTS
    assert session.get(address, headers={"Authorization": f"Bearer {MINE}"}).status_code == 400
    assert session.get(f"{address}0").status_code == 403


def test_a_gated_repository_is_its_owners_to_read(me: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    me.create_repo(REPO)
    publish(me)
    me.update_repo_settings(REPO, gated="auto")
    with pytest.raises(GatedRepoError):
        fetch(hub, tmp_path, "adapter_config.json", token=THEIRS)
    assert fetch(hub, tmp_path, "adapter_config.json") == FILES["adapter_config.json"]


# faults


def test_an_error_is_answered_as_often_as_asked_for_then_no_more(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    fault = hub.fail("POST", "/commit/", status=503, times=2)
    assert status_of(lambda: publish(me)) == 503
    assert status_of(lambda: publish(me)) == 503
    assert publish(me).oid == hub.commit(REPO)
    assert fault.hits == 2


def test_a_rate_limit_carries_its_header_and_the_client_waits(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    fault = hub.fail("POST", "*/preupload/main", status=429, headers={"Retry-After": "0"})
    publish(me)
    assert fault.hits == 1
    hub.fail("POST", "/commit/", status=429, headers={"Retry-After": "7"})
    with pytest.raises(HfHubHTTPError) as caught:
        me.create_commit(REPO, operations=additions(**{"new": b"new"}), commit_message="New")
    assert caught.value.response.headers["Retry-After"] == "7"


def test_a_connection_cut_before_the_commit_leaves_the_repository_as_it_was(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    before = hub.commit(REPO)
    hub.fail("POST", "/commit/", cut="before")
    with pytest.raises(Exception, match="disconnected"):
        publish(me)
    assert hub.commit(REPO) == before
    assert publish(me).oid != before


def test_a_connection_cut_after_the_commit_leaves_a_whole_commit_and_no_answer(
    me: HfApi, hub: LocalHub
) -> None:
    me.create_repo(REPO)
    hub.fail("POST", "/commit/", cut="after")
    with pytest.raises(Exception, match="disconnected"):
        publish(me)
    made = hub.commit(REPO)
    assert set(hub.files(REPO)) == REPO_FILES
    assert publish(me).oid == made
    assert len(me.list_repo_commits(REPO)) == 2


def test_an_upload_that_fails_is_tried_again_by_the_client(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    fault = hub.fail("PUT", "/lfs/", status=500)
    publish(me)
    assert fault.hits == 1
    assert hub.files(REPO)["adapter_model.safetensors"] == WEIGHTS


def test_what_somebody_commits_in_the_meantime_makes_the_parent_stale(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    before = hub.commit(REPO)
    hub.fail("POST", "/commit/", meanwhile=lambda: hub.put(REPO, {"theirs.txt": b"theirs"}))
    assert status_of(lambda: publish(me, parent_commit=before)) == 412
    assert set(hub.files(REPO)) == {"theirs.txt"}


def test_a_slow_answer_is_slow_and_right(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    hub.fail("GET", f"/api/models/{REPO}", delay=0.3)
    start = time.monotonic()
    assert me.model_info(REPO).id == REPO
    assert time.monotonic() - start >= 0.3


def test_an_error_of_the_server_on_info_says_its_status(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    hub.fail("GET", f"/api/models/{REPO}*", status=500, times=None, body=b"token hf_mine is bad")
    assert status_of(lambda: me.model_info(REPO)) == 500
    hub.faults.clear()
    assert me.model_info(REPO).id == REPO


def test_a_body_that_breaks_off_is_noticed_and_asked_for_again(
    me: HfApi, hub: LocalHub, tmp_path: Path
) -> None:
    me.create_repo(REPO)
    publish(me)
    hub.fail("GET", "/cdn/", cut="within")
    hub.requests.clear()
    assert fetch(hub, tmp_path, "adapter_model.safetensors") == WEIGHTS
    assert len([path for method, path in hub.requests if path.startswith("/cdn/")]) == 2


# a hostile Hub


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "a/../../evil.txt", "/etc/evil", "C:\\evil", "a\x1b[31mred", "a\nb", "con", "..\\x"],
)
def test_any_name_is_listed_and_served(hub: LocalHub, name: str) -> None:
    hub.put("org/odd", {name: b"evil"})
    api = HfApi(endpoint=hub.url, token=False)
    assert api.list_repo_files("org/odd") == [name]
    assert [file.rfilename for file in api.model_info("org/odd").siblings or []] == [name]
    address = huggingface_hub.hf_hub_url("org/odd", name, endpoint=hub.url)
    assert get_session().get(address).content == b"evil"


def test_content_and_size_and_hash_can_be_other_than_announced(hub: LocalHub, tmp_path: Path) -> None:
    api = HfApi(endpoint=hub.url, token=False)
    hub.put("org/odd", FILES)
    hub.lie("org/odd", "adapter_model.safetensors", body=b"something else")
    listed: dict[str, Any] = {file.path: file for file in api.list_repo_tree("org/odd")}
    assert listed["adapter_model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    with pytest.raises(OSError, match="Consistency check failed"):
        fetch(hub, tmp_path, "adapter_model.safetensors", "org/odd", token=False)
    swapped = WEIGHTS[:-1] + b"X"
    hub.lie("org/odd", "adapter_model.safetensors", body=swapped)
    assert fetch(hub, tmp_path, "adapter_model.safetensors", "org/odd", token=False) == swapped
    for name, oid in (("adapter_config.json", "0" * 40), ("adapter_model.safetensors", "0" * 64)):
        hub.lie("org/odd", name, oid=oid, size=3)
        address = huggingface_hub.hf_hub_url("org/odd", name, endpoint=hub.url)
        told = huggingface_hub.get_hf_file_metadata(address, token=False)
        assert (told.etag, told.size) == (oid, 3)


def test_a_listing_names_files_that_are_not_there_and_hides_some_that_are(
    hub: LocalHub, tmp_path: Path
) -> None:
    hub.put("org/odd", {**FILES, "adapter_model.bin": pickle.dumps({"weights": 1})})
    hub.lie("org/odd", "adapter_model.bin", listed=False)
    hub.lie("org/odd", "ghost.json", size=12)
    api = HfApi(endpoint=hub.url, token=False)
    assert set(api.list_repo_files("org/odd")) == {*FILES, "ghost.json"}
    assert fetch(hub, tmp_path, "adapter_model.bin", "org/odd", token=False)[:1] == b"\x80"
    with pytest.raises(EntryNotFoundError):
        fetch(hub, tmp_path, "ghost.json", "org/odd", token=False)


def test_a_card_and_weights_are_served_as_they_are(hub: LocalHub, tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    bomb = (10**9).to_bytes(8, "little") + b"{"
    card = CARD.encode() + b"\x1b]0;owned\x07\x1b[2J"
    files = {"README.md": card, "adapter_model.safetensors": pointer, "model.safetensors": bomb}
    hub.put("org/odd", files)
    for name, content in files.items():
        assert fetch(hub, tmp_path, name, "org/odd", token=False) == content


def test_the_hub_needs_neither_torch_nor_the_zoo_nor_the_client() -> None:
    code = "import sys, tests.hub.local_hub; print({'torch', 'zoo', 'huggingface_hub'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
