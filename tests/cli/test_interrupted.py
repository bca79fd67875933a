"""Only Ctrl-C, and the end of what a person types, is an interruption."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable

import pytest

from tests.conftest import Result
from zoo import cli
from zoo.errors import ZooError
from zoo.registry.store import Registry

Zoo = Callable[..., Result]


def test_a_file_that_ends_too_early_is_no_interruption(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "listed", lambda registry: pickle.loads(b""))  # raises EOFError
    done = zoo("list")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        "Error: unexpected EOFError: Ran out of input",
        "Next: zoo --debug list",
    ]


def test_debug_shows_where_a_file_ended_too_early(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "listed", lambda registry: pickle.loads(b""))
    with pytest.raises(ZooError) as caught:
        zoo("--debug", "list")
    assert isinstance(caught.value.__cause__, EOFError)


def test_ctrl_c_after_the_command_has_ended_changes_nothing(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The soak found tracebacks of what torch does at the interpreter's end, and of half an error."""
    said = cli.error_lines

    def interrupted(message: str, hint: str | None) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return said(message, hint)

    monkeypatch.setattr(cli, "error_lines", interrupted)
    done = zoo("show", "nobody")
    assert (done.code, done.err.splitlines()) == (
        3,
        ["Error: no adapter is called 'nobody'.", "Next: zoo list"],
    )


def test_ctrl_c_is_an_interruption(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(registry: Registry) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Registry, "listed", interrupted)
    done = zoo("list")
    assert (done.code, done.error) == (130, "Error: interrupted; nothing was registered.")
