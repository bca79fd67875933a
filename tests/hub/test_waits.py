"""Every wait for the network is named after three seconds and ends after a minute of silence."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from tests.hub import bad_servers
from tests.hub.test_publish import add_adapter
from zoo.errors import UnreachableError, UsageError
from zoo.hub import waits
from zoo.hub.client import client, to_zoo_error
from zoo.registry.store import Registry
from zoo.runtime import console
from zoo.runtime.console import RecordingReport

Zoo = Callable[..., Result]
NAME = "lora-bert-imdb"
SILENT = {
    "silent": bad_servers.silent,
    "slow headers": bad_servers.slow_headers,
    "slow body": bad_servers.slow_body,
    "cut short": bad_servers.cut_short,
}
SERVERS: dict[str, bad_servers.Behaviour | None] = {
    **SILENT,
    "refusing": None,
    "unavailable": bad_servers.unavailable,
    "busy": bad_servers.busy,
}
TRAIN = ("train", "lora", "bert-imdb", "--name", "x", "--limit", "20")
COMMANDS = {
    "search": ("search", "imdb"),
    "pull": ("pull", "org/adapter"),
    "import": ("import", "hub:org/adapter"),
    "publish": ("publish", NAME, "org/adapter", "--yes"),
    "train, base": (*TRAIN, "--base", "hub:org/model", "--data", "rows.csv"),
    "train, data": (*TRAIN, "--data", "hub:org/rows"),
}
QUICK = ("search", "pull", "publish", "train, base", "train, data")


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, a hundred times shorter, and a client without a past."""
    from huggingface_hub.utils._http import close_session

    monkeypatch.setenv(waits.VARIABLE, "0.4")
    monkeypatch.setattr(waits, "SPEAK_AFTER", 0.1)
    monkeypatch.setattr(waits, "_clock", waits._Clock())
    monkeypatch.setattr(console, "_process", console.Report())
    close_session()


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Point the client of this process, which read its settings long ago, somewhere."""
    from huggingface_hub import constants
    from huggingface_hub.utils._http import close_session

    def to(url: str) -> None:
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "hf-cache"),
            "HF_TOKEN_PATH": str(tmp_path / "no-token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")

    yield to
    close_session()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an adapter and rows."""
    add_adapter(Registry(tmp_path / "registry" / "registry.json"))
    rows = "".join(f"a fine film number {number},{number % 2}\n" for number in range(60))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("server", SERVERS)
def test_a_command_names_the_host_it_waits_for_and_gives_up_on_silence(
    zoo: Zoo, here: Path, hurry: None, point: Callable[[str], None], server: str
) -> None:
    wrong = []
    with bad_servers.served(SERVERS[server]) as url:
        point(url)
        host = url.removeprefix("http://")
        for name in QUICK if server == "silent" else ("search",):
            waits._clock = waits._Clock()
            start = time.monotonic()
            done = zoo(*COMMANDS[name])
            seconds = time.monotonic() - start
            said = f"waiting for {host} ... (Ctrl-C stops)" in done.err
            if (done.code, said, seconds < 10) != (3, server in SILENT, True) or "Next:" not in done.err:
                wrong.append((name, done.code, seconds, done.err))
            assert done.out == ""
    assert not wrong


def test_what_was_given_up_is_not_asked_again_by_the_same_command(
    hurry: None, point: Callable[[str], None]
) -> None:
    with bad_servers.served(bad_servers.silent) as url:
        point(url)
        with pytest.raises(UnreachableError, match=r"gave no whole answer in \d s\."):
            client().model_info("org/model")
        start = time.monotonic()
        with pytest.raises(UnreachableError, match="gave no whole answer"):
            client().dataset_info("org/rows")
        assert time.monotonic() - start < 0.5


def test_a_sleep_that_the_server_asks_for_is_no_longer_than_the_silence(
    hurry: None, point: Callable[[str], None]
) -> None:
    with bad_servers.served(bad_servers.busy) as url:
        point(url)
        with pytest.raises(UnreachableError, match=r"asks to wait 3,600 s \(HTTP 503\)\."):
            client().hf_hub_download("org/model", "config.json")


def test_a_large_file_that_keeps_arriving_is_fetched_however_long_it_takes(
    hurry: None, point: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(waits.VARIABLE, "0.8")
    monkeypatch.setattr(waits, "SPEAK_AFTER", 0.7)
    heard = RecordingReport()
    console.speak_through(heard)
    with bad_servers.served(bad_servers.steady(3 << 20, 1.3)) as url:
        point(url)
        start = time.monotonic()
        path = client().hf_hub_download("org/model", "model.safetensors")
    assert time.monotonic() - start > 1.5 * waits.patience()
    assert Path(path).stat().st_size == 3 << 20
    assert heard.messages == []


def test_storage_with_connections_of_its_own_is_waited_for_no_longer(
    hurry: None, point: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    heard = RecordingReport()
    console.speak_through(heard)
    with (
        bad_servers.served(bad_servers.silent) as storage,
        bad_servers.served(bad_servers.hub_of_storage(storage)) as url,
    ):
        point(url)
        start = time.monotonic()
        with waits.transfers(), pytest.raises(RuntimeError) as failed:
            client().hf_hub_download("org/model", "weights", tqdm_class=waits.bar())
        assert time.monotonic() - start < 10
    host = storage.removeprefix("http://")
    assert heard.messages == [f"waiting for {host} ... (Ctrl-C stops)"]
    assert str(to_zoo_error("org/model", failed.value)).startswith(f"{host} gave no whole answer in ")


def test_a_large_file_that_keeps_leaving_is_sent_however_long_it_takes(
    hurry: None, point: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server reads evenly, and answers at the end."""
    monkeypatch.setenv(waits.VARIABLE, "0.8")
    size, taken = 16 << 20, []

    def read_slowly(connection: Any, request: bytes) -> None:
        left = size - len(request.partition(b"\r\n\r\n")[2])
        while left > 0:
            left -= len(connection.recv(1 << 16))
            time.sleep(0.004)
        taken.append(size)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    from huggingface_hub import get_session

    with bad_servers.served(read_slowly) as url:
        point(url)
        client()
        start = time.monotonic()
        answer = get_session().put(f"{url}/lfs", content=bytes(size))
    assert (answer.status_code, taken) == (200, [size])
    assert time.monotonic() - start > waits.patience()


def test_ctrl_c_ends_the_waits_of_a_downloads_own_threads(
    hurry: None, point: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(waits.VARIABLE, "30")
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            client().model_info("org/model")
        except BaseException as error:
            errors.append(error)

    with bad_servers.served(bad_servers.silent) as url:
        point(url)
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        monkeypatch.setattr("zoo.runtime.signals._asked", True)
        asking.join(5)
        assert not asking.is_alive()
    assert [type(one) for one in errors] == [UnreachableError]


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_patience_that_is_no_time_is_a_usage_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waits.VARIABLE, text)
    with pytest.raises(UsageError, match="seconds above 0"):
        waits.patience()


# as a person sees it: a process, the real bounds


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_speaks_four_seconds_after_it_asks_and_ends_within_seventy(
    here: Path, server: str, name: str
) -> None:
    behaviour, asked = SERVERS[server], []

    def answer(client: Any, request: bytes) -> None:
        asked.append(time.monotonic())
        assert behaviour is not None
        behaviour(client, request)

    with bad_servers.served(answer if behaviour else None) as url:
        env = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(here / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "hf_mine",
            "NO_PROXY": "127.0.0.1",
            "ZOO_REGISTRY": str(here / "registry" / "registry.json"),
        }
        asked = [time.monotonic()] if behaviour is None else asked
        code, lines = timed(COMMANDS[name], here, **env)
    lines = [(when - asked[0], line) for when, line in lines]
    ended = lines[-1][0]
    print(f"\n{server}, {name}: exit {code} after {ended:.1f} s; {lines}")
    assert code == 3
    assert ended < 70
    host = url.removeprefix("http://")
    if server in SILENT:
        assert any(f"waiting for {host}" in line and when < 4 for when, line in lines), lines
    assert len([line for _, line in lines if line.startswith("Error:")]) == 1
    assert lines[-1] == (ended, "")
    assert lines[-2][1].startswith("Next:")


def timed(words: tuple[str, ...], cwd: Path, **env: str) -> tuple[int, list[tuple[float, str]]]:
    """The exit code, and the lines of stderr with the time at which they came; the last is the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "zoo", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
    ) as process:
        assert process.stderr is not None
        lines = [(time.monotonic(), line.rstrip()) for line in process.stderr]
    return process.returncode, [*lines, (time.monotonic(), "")]


@pytest.mark.slow
def test_sixty_four_megabytes_in_ten_seconds_arrive_under_a_bound_of_five(tmp_path: Path) -> None:
    fetch = "from zoo.hub.client import client; print(client().hf_hub_download('org/model', 'weights'))"
    with bad_servers.served(bad_servers.steady(64 << 20, 10.0)) as url:
        env = {
            **os.environ,
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            waits.VARIABLE: "5",
        }
        done = subprocess.run(
            [sys.executable, "-c", fetch], capture_output=True, text=True, env=env, check=True
        )
    assert Path(done.stdout.strip()).stat().st_size == 64 << 20
