"""Runs a command that fails, and types what it says is next."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.cli.next_steps.places import Reached
from tests.conftest import Result
from tests.records import copy_registry
from zoo.registry.store import Registry

BERT = "lora bert-imdb --base base --data reviews.csv"
QUICK = "--epochs 1 --precision fp32 --limit 16 --eval-limit 8 --batch-tokens 256"
TRAIN = f"train {BERT} {QUICK} --registry kept"
"""A training of a second. `{...} --dry-run` is enough where the run is refused before it reads weights."""
_PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b(?:\.\.\.)?|'A TEXT'")


@dataclass(frozen=True)
class Case:
    place: str
    """That the command reaches: `zoo/registry/store.py _check_has 1`."""
    command: str
    then: str = ""
    """What it prints after `Next: `, or as the fix of the check; a part of it is enough."""
    state: Callable[[World], object] | None = None
    """Makes what the command finds."""
    fill: Mapping[str, str] = field(default_factory=dict)
    """Placeholder -> what only the person knows."""
    check: str | None = None
    """The step is the fix in the row of this check rather than the line `Next: `."""
    warns: bool = False
    """The command goes on, and the step belongs to a line of its report."""
    meanwhile: Callable[[World], object] | None = None
    """What comes to pass before the step is typed: another process ends, the Hub is well again."""
    code: int = 0
    """With which the step ends: 0, but where it asks for what is only there on other machines."""

    also: str = ""
    """Options that are typed after the step, so that it takes less time: `--dry-run`."""

    def __str__(self) -> str:
        return self.place


class World:
    """A person's folder: `base`, `reviews.csv`, and the registry `kept`, which is not the default one."""

    def __init__(self, folder: Path, zoo: Callable[..., Result], request: pytest.FixtureRequest):
        self.folder, self._zoo, self._request = folder, zoo, request
        self.env: dict[str, str] = {}
        """Of commands that are processes of their own."""
        self.lock: Any = None
        self.broken = pytest.MonkeyPatch()
        """What fails by accident, until it is undone."""

    @property
    def registry(self) -> Registry:
        return Registry(self.folder / "kept" / "registry.json")

    def base(self, family: str, name: str) -> Path:
        return Path(shutil.copytree(self.fixture("tiny_models")[family], self.folder / name))

    @property
    def patch(self) -> pytest.MonkeyPatch:
        patch: pytest.MonkeyPatch = self.fixture("monkeypatch")
        return patch

    def finally_do(self, action: Callable[[], object]) -> None:
        """When the test is over, however it ends."""
        self._request.addfinalizer(lambda: action())

    def fixture(self, name: str) -> Any:
        return self._request.getfixturevalue(name)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def keep_trained(self) -> Registry:
        """`lora`, `head` and `full` are in `kept`, on `own-base`, learnt from `own.csv`."""
        trained = self.fixture("trained_bert")
        (self.folder / "kept").rmdir()
        return copy_registry(trained, self.folder / "kept")

    def install(self, package: str) -> None:
        """As pip does, but into a folder of the test."""
        site = self.folder / "site"
        quiet = ("--no-index", "--no-deps", "--no-build-isolation", "--target", str(site))
        subprocess.run(
            [sys.executable, "-m", "pip", "install", *quiet, str(Path(package).resolve())], check=True
        )
        self.patch.syspath_prepend(site)
        self.patch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def set_variable(self, program: str, assigned: str) -> Result:
        """`export NAME=VALUE` or `unset NAME`: what is typed next is in the same shell."""
        name, _, value = assigned.partition("=")
        if program == "unset":
            self.patch.delenv(name)
        else:
            self.patch.setenv(name, value)
        if name == "HF_HUB_OFFLINE":  # which the client of this process read when it was imported
            self.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        return Result(0, "", "")

    def run(self, command: str) -> Result:
        return self._zoo(*shlex.split(command))

    def paste(self, step: str) -> Result:
        """Type a step as a shell would take it; commands of the zoo run in this process."""
        done = Result(0, "", "")
        for part in step.split(" && "):
            command, into, path = part.partition(" > ")
            program, *words = shlex.split(command)
            if program == "zoo":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("sys.stdin", _Yes("y\n"))
                    done = self._zoo(*words)
            elif program == "pip":
                done = check_pip(words)
                if Path(words[-1]).is_dir():
                    self.install(words[-1])
            elif program in ("export", "unset"):
                done = self.set_variable(program, *words)
            elif program in ("hf", "git", "fuser"):
                done = check_exists(program, words, self.env)
            else:
                done = run_in_shell(command)
            if into:
                Path(shlex.split(path)[0]).write_text(done.out, encoding="utf-8")
            if done.code:
                break
        return done


class _Yes(io.StringIO):
    """A person at a terminal who agrees."""

    def isatty(self) -> bool:
        return True


def check_pip(words: list[str]) -> Result:
    """`pip install WHAT` without an index: pip knows the options, and WHAT can be asked for."""
    action, *rest = words
    asked = [word for word in rest if not word.startswith("-")]
    for one in asked:
        extra = re.fullmatch(r"(/.*)\[(\w+)\]", one)
        if extra:
            project = (Path(extra[1]) / "pyproject.toml").read_text(encoding="utf-8")
            assert re.search(rf"^{extra[2]} = \[", project, re.MULTILINE), one
        elif not one.startswith("/"):
            Requirement(one)
    if action == "uninstall":
        return Result(0 if asked else 1, "", "")
    assert action == "install"
    known = re.split(r"[\s,]", _help(sys.executable, "-m", "pip", action).out)
    unknown = [word for word in rest if word.startswith("-") and word not in known]
    return Result(1 if unknown or not asked else 0, "", f"pip does not know {unknown}" if unknown else "")


def run_in_shell(command: str) -> Result:
    """In bash; what zsh reads, in zsh."""
    shell = shutil.which("zsh" if command.endswith("/_zoo") else "bash")
    if shell is None:
        pytest.skip("needs the shell that the step is for")
    ran = subprocess.run([shell, "-c", command], capture_output=True, check=False)
    return Result(ran.returncode, ran.stdout.decode("utf-8"), ran.stderr.decode("utf-8", "replace"))


def check_exists(program: str, words: list[str], env: Mapping[str, str]) -> Result:
    """A command that asks a person or other machines: its help is there."""
    if program == "hf":
        program = str(Path(sys.executable).with_name("hf"))
        if words[0] != "download" or not env:
            return _help(program, *(word for word in words if "/" not in word))
        settings = {**os.environ, **env, "HF_HUB_OFFLINE": "0"}
        ran = subprocess.run([program, *words], capture_output=True, text=True, check=False, env=settings)
        return Result(ran.returncode, ran.stdout, ran.stderr)
    if program == "git":
        assert words[0] == "-C"
        assert Path(words[1]).is_dir()
        return Result(0 if words[2:] in (["lfs", "pull"], ["pull"]) else 1, "", "")
    return Result(0 if len(words) == 1 else 1, "", "")


@cache
def _help(*command: str) -> Result:
    ran = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    return Result(ran.returncode, ran.stdout, ran.stderr)


def step_of(case: Case, done: Result) -> str:
    """What the command says to type next."""
    if case.check is not None:
        rows = [line.split("\t") for line in done.out.splitlines()]
        found = [
            row[-1]
            for row in rows
            if len(row) > 3 and (row[0].endswith(case.check) or case.check in row[2]) and row[-1]
        ]
    else:
        found = [line.removeprefix("Next: ") for line in done.err.splitlines() if line.startswith("Next: ")]
    assert len(found) == 1, f"{done.out}\n{done.err}"
    return found[0]


def assert_next_step_works(case: Case, world: World, reached: Reached) -> None:
    if case.state is not None:
        case.state(world)
    reached.lines.clear()
    failed = world.run(case.command)
    assert failed.code or case.check or case.warns, "it did not fail"
    assert "Traceback" not in failed.err
    step = step_of(case, failed)
    assert case.place in reached.names(), f"{failed.err}\nreached: {sorted(reached.names())}"
    assert case.then in step, step
    for placeholder, value in case.fill.items():
        assert placeholder in step, step
        step = step.replace(placeholder, value)
    assert not _PLACEHOLDER.search(re.sub(r"/\S+", "", step)), f"what is to be filled in? {step}"
    if case.meanwhile is not None:
        case.meanwhile(world)
    done = world.paste(f"{step} {case.also}".strip())
    assert done.code == case.code, f"{step}\n{done.out}\n{done.err}"
    if not (done.out + done.err).strip() and step.startswith("zoo "):  # config unset says nothing
        assert world.run(case.command).code == 0


def parametrize(*groups: list[Case], slow: bool = False) -> pytest.MarkDecorator:
    marks = [pytest.mark.slow] if slow else []
    every = [case for group in groups for case in group]
    cases = [pytest.param(case, id=f"{case.place}: {case.command}"[:90], marks=marks) for case in every]
    return pytest.mark.parametrize("case", cases)
