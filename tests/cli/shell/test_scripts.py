"""Bash, zsh and fish themselves: `zoo completion --install`, the line that it says, and TAB."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import write_csv
from tests.records import add_record
from zoo.registry.store import Registry

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
MINI = "sentence-transformers/all-MiniLM-L6-v2"
TYPED = {
    "zoo tr": "zoo train ",
    "zoo train --bat": "zoo train --batch-tokens ",
    "zoo show lora-b": "zoo show lora-bert-imdb ",
    "zoo show --registry other els": "zoo show --registry other elsewhere ",
    "zoo train hir": "zoo train hira ",
    "zoo train lora bert-im": "zoo train lora bert-imdb ",
    "zoo train lora bert-imdb --base sent": f"zoo train lora bert-imdb --base {MINI} ",
    "zoo train lora bert-imdb --base pip:sent": f"zoo train lora bert-imdb --base pip:{MINI} ",
    "zoo train lora bert-imdb -s al": "zoo train lora bert-imdb -s alpha=",
    "zoo train hra bert-imdb -s gram_schmidt=t": "zoo train hra bert-imdb -s gram_schmidt=true ",
    "zoo train lora bert-imdb --precision=b": "zoo train lora bert-imdb --precision=bf16 ",
    "zoo train lora bert-imdb --data rev": "zoo train lora bert-imdb --data reviews.csv ",
    "zoo merge lora-bert-imdb -o oth": "zoo merge lora-bert-imdb -o other/",
    "bin/zoo tr": "bin/zoo train ",
    "zoo nosuch ": "zoo nosuch ",
}
"""What is typed -> what stands on the line after TAB."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder, with a `zoo` on the PATH and two registries."""
    command = tmp_path / "bin" / "zoo"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m zoo "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    write_csv(tmp_path / "reviews.csv", [("a", "b")])
    add_record(Registry(tmp_path / "registry.json"))
    add_record(Registry(tmp_path / "other" / "registry.json"), "elsewhere")
    for variable in (
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "BASH_COMPLETION_USER_DIR",
        "ZDOTDIR",
        "ZOO_REGISTRY",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def installed(shell: str) -> str:
    """Install for a shell, as a person; the line to paste."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        ["zoo", "completion", shell, "--install"], capture_output=True, text=True, timeout=60, check=True
    )
    return next((line[6:] for line in done.stderr.splitlines() if line.startswith("Next: ")), "")


def press_tab(command: str, setup: Iterable[str]) -> dict[str, str]:
    """Type each line and TAB in an interactive shell, whose Ctrl-G shows the line and Ctrl-U clears it."""
    pexpect = pytest.importorskip("pexpect", reason="needs pexpect (the test extra)")
    shell = pexpect.spawn(command, encoding="utf-8", timeout=30, dimensions=(50, 250))
    for line in setup:
        shell.sendline(line)
    shell.sendline("echo rea''dy")
    shell.expect("ready\r\n")
    found = {}
    for typed in TYPED:
        shell.send(f"{typed}\t\x07\x15")
        shell.expect("<(<[^>]*>)>")
        found[typed] = shell.match[1][1:-1]
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    return found


def test_tab_in_bash(home: Path) -> None:
    """Through bash-completion, which reads the script when `zoo` is first completed."""
    installed("bash")
    if not BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed")
    setup = (
        f"source {BASH_COMPLETION}",
        "show() { printf '<<%s>>\\n' \"$READLINE_LINE\"; }",
        "bind -x '\"\\C-g\": show'",
        "bind 'set enable-bracketed-paste off'",
    )
    assert press_tab("bash --norc --noprofile -i", setup) == TYPED


def test_tab_in_zsh(home: Path) -> None:
    """Through the line that --install says, pasted."""
    line = installed("zsh")
    subprocess.run(["zsh", "-fc", line], check=True, timeout=60)
    setup = (
        'show() { print -r -- "<<$BUFFER>>" }',
        "zle -N show",
        "bindkey '^G' show",
        "bindkey '^U' kill-whole-line",
        "unsetopt list_beep",
    )
    assert press_tab("zsh -i", setup) == TYPED


def test_tab_in_fish(home: Path) -> None:
    """From its own folder; `complete -C` says what TAB would put in place of the last word."""
    installed("fish")
    asked = "; ".join(f"echo '> {typed}'; complete -C '{typed}'" for typed in TYPED)
    done = subprocess.run(["fish", "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("> "):
            words = found[line[2:]] = []
        else:
            words.append(line.split("\t")[0])
    nothing = "zoo nosuch "
    assert found == {one: [] if one == nothing else [whole.split()[-1]] for one, whole in TYPED.items()}
