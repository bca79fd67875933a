"""The test Hub against the real client of either age. Needs nothing but it, pytest and PyYAML."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
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
)

from tests.conftest import ROOT
from tests.hub.local_hub import LocalHub

MINE = "hf_mine"
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
    with LocalHub(tmp_path / "hub", tokens={MINE: "me"}) as served:
        yield served


@pytest.fixture
def me(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=MINE)


def additions(**files: bytes) -> list[CommitOperationAdd]:
    return [CommitOperationAdd(name, content) for name, content in (files or FILES).items()]


def publish(api: HfApi, repo: str = REPO, **options: Any) -> Any:
    return api.create_commit(repo, operations=additions(), commit_message="Publish", **options)


def fetch(hub: LocalHub, folder: Path, name: str, repo: str = REPO, **options: Any) -> bytes:
    options = {"token": MINE, **options}
    path = huggingface_hub.hf_hub_download(repo, name, endpoint=hub.url, cache_dir=folder, **options)
    return Path(path).read_bytes()


# commits


def test_a_file_is_large_by_its_name_or_its_size_and_never_when_empty(me: HfApi, hub: LocalHub) -> None:
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
    assert len(list(hub.store.find("models", REPO).history("main"))) == 2


def test_a_commit_with_one_wrong_part_changes_nothing(me: HfApi, hub: LocalHub) -> None:
    me.create_repo(REPO)
    before = hub.commit(REPO)
    with pytest.raises(EntryNotFoundError):
        me.create_commit(
            REPO, operations=[*additions(), CommitOperationDelete("gone")], commit_message="Half right"
        )
    assert hub.commit(REPO) == before
    assert set(hub.files(REPO)) == {".gitattributes"}


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
def test_a_card_with_a_fault_is_refused_with_its_reason(
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


def test_the_hub_needs_neither_torch_nor_the_zoo_nor_the_client() -> None:
    code = "import sys, tests.hub.local_hub; print({'torch', 'zoo', 'huggingface_hub'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
