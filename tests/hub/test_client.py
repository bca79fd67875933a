"""The Hub's client: its exceptions as ZooErrors, bounded retries, and no tokens."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.hub.local_hub import LocalHub
from tests.third_party import waits as waits
from zoo.errors import AuthError, IncompatibleError, NotFoundError, UnreachableError, UsageError, ZooError
from zoo.hub import client as door
from zoo.runtime.console import RecordingReport

TOKEN = "hf_canaryCanaryCanaryCanaryCanary1234"
REPO = "me/adapter"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with LocalHub(tmp_path / "hub", tokens={TOKEN: "me"}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.put(REPO, {"README.md": b"x"})
        yield hub


def caught(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def ask() -> Any:
    return door.client().model_info(REPO)


# errors


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (401, "", AuthError, f"the Hub refuses '{REPO}' (HTTP 401)."),
        (403, "", AuthError, f"the Hub refuses '{REPO}' (HTTP 403)."),
        (403, "GatedRepo", AuthError, f"'{REPO}' is gated: its owner must grant access first."),
        (404, "RepoNotFound", UnreachableError, "the Hub has no such repository, or it is private."),
        (404, "RevisionNotFound", NotFoundError, f"'{REPO}' has no such revision on the Hub."),
        (412, "", ZooError, f"'{REPO}' was changed by somebody else meanwhile (HTTP 412)."),
        (413, "", IncompatibleError, f"the Hub does not accept '{REPO}' (HTTP 413): too much"),
        (429, "", UnreachableError, "the Hub has had too many requests (HTTP 429)."),
        (500, "", UnreachableError, "the Hub failed (HTTP 500)."),
    ],
)
def test_each_answer_becomes_one_line_of_our_tree(
    served: LocalHub, status: int, code: str, kind: type[ZooError], words: str
) -> None:
    headers = {"X-Error-Code": code} if code else {}
    served.fail("GET", REPO, status=status, headers=headers, body=json.dumps({"error": "too much"}).encode())
    found = door.to_zoo_error(REPO, caught(ask))
    assert type(found) is kind
    assert str(found).startswith(words)
    assert "\n" not in str(found)


def test_what_the_server_says_is_cut_and_cannot_move_the_cursor(served: LocalHub) -> None:
    said = "\x1b[2Jno\n" + "x" * 1000
    served.fail("GET", REPO, status=413, body=json.dumps({"error": said}).encode())
    words = str(door.to_zoo_error(REPO, caught(ask)))
    assert "\x1b" not in words
    assert len(words) < 300


def test_what_never_reached_the_hub_is_named(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached (" in str(door.to_zoo_error(REPO, caught(ask)))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in str(door.to_zoo_error(REPO, caught(ask)))
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
    assert type(door.to_zoo_error("", caught(door.client().whoami))) is AuthError
    assert type(door.to_zoo_error("a/b/c", caught(lambda: door.client().model_info("a/b/c")))) is UsageError


def test_a_full_disk_is_not_the_fault_of_the_hub() -> None:
    found = door.to_zoo_error(REPO, OSError(errno.ENOSPC, "No space left on device"))
    assert type(found) is ZooError
    assert "No space left" in str(found)


def test_a_token_that_the_server_repeats_is_struck_out_of_the_exception_too(served: LocalHub) -> None:
    body = json.dumps({"error": f"no: Bearer {TOKEN}"}).encode()
    served.fail("GET", REPO, status=413, body=body, headers={"X-Error-Message": f"never {TOKEN}"})
    error = caught(ask)
    assert TOKEN in str(error)
    assert TOKEN not in str(door.to_zoo_error(REPO, error))
    assert TOKEN not in str(error)


def test_a_token_that_cannot_be_a_header_is_not_shown(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret\x01word-of-mine")
    error = caught(ask)
    found = door.to_zoo_error(REPO, error)
    assert type(found) is AuthError
    assert "word-of-mine" not in f"{found} {error} {error.__cause__} {error.__context__}"


# trying again


def test_a_transient_failure_is_tried_again_and_reported(served: LocalHub, waits: list[float]) -> None:
    served.fail("GET", REPO, status=502)
    served.fail("GET", REPO, cut="before")
    heard = RecordingReport()
    assert door.retrying(ask, "looking", heard).id == REPO
    assert [line.split(" Again in ")[0].split(" (")[0] for line in heard.messages] == [
        "looking: the Hub failed",
        "looking: the Hub cannot be reached",
    ]
    assert len(waits) == 2


def test_it_gives_up_after_the_last_attempt(served: LocalHub, waits: list[float]) -> None:
    rule = served.fail("GET", REPO, status=503, times=None)
    assert door.status_of(caught(lambda: door.retrying(ask, "looking", RecordingReport()))) == 503
    assert rule.hits == door.ATTEMPTS
    assert len(waits) == door.ATTEMPTS - 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412])
def test_an_answer_is_not_asked_for_again(served: LocalHub, waits: list[float], status: int) -> None:
    rule = served.fail("GET", REPO, status=status, times=None)
    caught(lambda: door.retrying(ask, "looking", RecordingReport()))
    assert (rule.hits, waits) == (1, [])


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_after_header_is_waited_for(served: LocalHub, waits: list[float], form: str) -> None:
    value = "30" if form == "seconds" else formatdate(time.time() + 30, usegmt=True)
    served.fail("GET", REPO, status=503, headers={"Retry-After": value})
    door.retrying(ask, "looking", RecordingReport())
    assert 25 < waits[0] <= 30


def test_no_connection_at_all_is_waited_for_only_by_the_patient(
    served: LocalHub, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    caught(lambda: door.retrying(ask, "looking", RecordingReport(), patient=False))
    assert waits == []
    caught(lambda: door.retrying(ask, "looking", RecordingReport()))
    assert len(waits) == door.ATTEMPTS - 1


def test_what_has_landed_is_not_sent_again(served: LocalHub, waits: list[float]) -> None:
    sent = []

    def send() -> str:
        sent.append(1)
        ask()
        return "sent"

    served.fail("GET", REPO, cut="after", times=None)
    assert door.retrying(send, "sending", RecordingReport(), landed=lambda: "landed") == "landed"
    assert len(sent) == 1


def test_the_clients_own_retries_are_reported_without_its_addresses(
    served: LocalHub, waits: list[float], tmp_path: Path
) -> None:
    served.fail("POST", "/preupload/", status=500)
    from huggingface_hub import CommitOperationAdd

    heard = RecordingReport()
    with door.log_client_warnings(heard):
        door.client().preupload_lfs_files(REPO, [CommitOperationAdd("a.txt", b"x")])
    assert heard.messages[0] == "the Hub's client: HTTP Error 500 thrown"
    assert len(heard.messages) == 2
    assert "http" not in " ".join(heard.messages)


def test_the_client_does_not_wait_for_ever() -> None:
    from huggingface_hub import get_session

    door.client()
    timeout: Any = get_session().timeout
    assert timeout.connect is not None
    assert timeout.read is not None
