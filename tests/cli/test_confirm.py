"""Questions on a terminal: yes does it, no does nothing and ends with 1, Ctrl-C with 130."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.records import add_record
from zoo.registry.store import Registry


@pytest.fixture
def asked(registry: Registry) -> Any:
    """`zoo rm mine` on a terminal of its own, at its question."""
    pexpect = pytest.importorskip("pexpect", reason="needs pexpect (the test extra)")
    add_record(registry, "mine")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "zoo", "rm", "mine", "--registry", str(registry.path)],
        env={**os.environ, "TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect_exact("Remove mine and their files? [y/N]:")
        yield child
    finally:
        child.close(force=True)


@pytest.mark.parametrize(
    ("typed", "code", "said", "kept"),
    [
        ("y\r", 0, "removed 'mine'", False),
        ("n\r", 1, "nothing was removed", True),
        ("\r", 1, "nothing was removed", True),
        ("\x04", 1, "nothing was removed", True),  # Ctrl-D
        ("\x03", 130, "interrupted; nothing was removed.", True),  # Ctrl-C
    ],
    ids=["yes", "no", "enter", "end of input", "interrupt"],
)
def test_rm_does_what_is_answered(
    asked: Any, registry: Registry, typed: str, code: int, said: str, kept: bool
) -> None:
    asked.send(typed)
    printed = asked.read()
    asked.wait()
    assert asked.exitstatus == code
    last = [line for line in printed.splitlines() if line.strip()][-1].removeprefix("Error: ")
    assert last.startswith(f"{said}; zoo undo 1 --registry ") if code == 0 else last == said
    assert ("mine" in registry) == kept
    assert (registry.adapter_folder("mine") / "zoo.json").is_file() == kept


def test_every_question_of_the_commands_says_what_no_means() -> None:
    """By the one function that does."""
    asking = {
        str(path.relative_to(ROOT)): len(
            re.findall(r"click\.(?:confirm|prompt)\(", path.read_text(encoding="utf-8"))
        )
        for path in Path(ROOT / "zoo").rglob("*.py")
    }
    assert {name: count for name, count in asking.items() if count} == {"zoo/cli/common.py": 1}
