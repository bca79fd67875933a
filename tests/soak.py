"""Runs random commands against one registry, several at once, kills some, and checks what must hold.

    python tests/soak.py --seconds 900 --processes 4 --seed 1

The commands, their signals and their moments follow from the seed; what each finds depends on the machine's
pace. Every command is a fork of a process that has imported the slow libraries, and is killed as any process.
A round is one command for each process; when all have ended:

- registry.json is read, and has every adapter whose command ended with 0, until a `zoo rm` has been started,
  or a `zoo undo` that may take it back;
- it has none that a `zoo rm` took away with 0, unless a later command may have made it again;
- the files of each have the sizes and hashes of its record;
- no command printed a traceback, ended with a code that is not documented, or took two minutes;
- whatever else lies in the folder is what `zoo doctor` names, or is of a process that may still be at work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", COLUMNS="200", TOKENIZERS_PARALLELISM="false")

from tests import warm_process  # noqa: E402
from zoo.registry.schema import AdapterRecord  # noqa: E402
from zoo.registry.store import Registry  # noqa: E402
from zoo.registry.trash import entries  # noqa: E402
from zoo.training.runs import all_runs  # noqa: E402

CODES = {0, 1, 2, 3, 4, 5, 129, 130, 138, 143}
"""That the documentation names."""
LONGEST = 120.0
"""Seconds of a command."""
KILLED = 0.4
"""Share of the commands that get a signal."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_LIBRARIES = (
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "peft",
    "datasets",
)
_DEFAULT = "head-bert-imdb"
_YOUNG = 600.0
"""Seconds in which doctor takes what it cannot name for somebody's work."""


class World:
    """One folder with a registry, models and data, and what is known of it."""

    def __init__(self, folder: Path, choose: random.Random):
        self.folder, self.choose = folder, choose
        self.registry = Registry(folder / "registry" / "registry.json")
        self.must: set[str] = set()
        """Adapters that were acknowledged."""
        self.gone: set[str] = set()
        """Adapters whose removal was."""
        self.undoable: set[str] = set()
        """Adapters that a `zoo undo` may bring back or take away."""
        self.made = 0
        self.pace = 1.0
        """How many times as long as on a quiet machine the commands take here, now."""

    def prepare(self) -> None:
        """Models, rows, and an adapter that others made: in forks, which import what the commands import."""
        made = self.folder / "made" / "registry.json"
        child = os.fork()
        if child == 0:
            from zoo.testing import reviews, save_tiny_model, write_csv

            save_tiny_model("bert", self.folder / "base")
            write_csv(self.folder / "reviews.csv", reviews())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        self.done(*self.training("lora", "--name", "theirs", "--registry", str(made)))
        theirs = shutil.copytree(made.parent / "adapters" / "theirs", self.folder / "theirs")
        (theirs / "zoo.json").unlink()

    def done(self, *words: str) -> None:
        """Run a command, which succeeds."""
        running = _fork(words, self, self.folder / "prepare")
        code = os.waitstatus_to_exitcode(os.waitpid(running, 0)[1])
        assert code == 0, _text(self.folder / "prepare.err")

    def environment(self) -> dict[str, str]:
        own = {"ZOO_REGISTRY": str(self.registry.path), "ZOO_CACHE": str(self.folder / "cache")}
        own |= {"ZOO_CONFIG": str(self.folder / "config.toml"), "HOME": str(self.folder)}
        return {**os.environ, **own, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}

    def training(self, method: str, *more: str) -> list[str]:
        small = ["--limit", "16", "--eval-limit", "8", "--epochs", "1", "--precision", "fp32"]
        places = ["--base", str(self.folder / "base"), "--data", str(self.folder / "reviews.csv")]
        return ["train", method, "bert-imdb", *places, *small, *more]

    def any_adapter(self) -> str:
        """One that is there, or was; now and then one that never was."""
        names = sorted(self.must | {*sorted(self.gone)[:1]} | {"nobody"})
        return self.choose.choice(names)

    def note_undoable(self) -> None:
        kept = [entry for _, entry in entries(self.registry.folder)]
        self.undoable = {name for entry in kept for name in entry.changed}

    def fresh_name(self) -> str:
        self.made += 1
        return f"own-{self.made}"


@dataclass
class Command:
    """What is typed, and what it may change."""

    words: list[str]
    adds: str | None = None
    """The name that it registers, which may be numbered."""
    removes: list[str] = field(default_factory=list)
    undoes: bool = False
    """It may bring back what was removed, and take away what was added."""
    seconds: float = 3.0
    """That it usually takes: the signal comes within it."""


def _train(world: World) -> Command:
    return Command([*world.training("head"), "--json"], adds=_DEFAULT)


def _train_named(world: World) -> Command:
    name = world.fresh_name()
    return Command([*world.training("lora", "--name", name), "--json"], adds=name)


def _import(world: World) -> Command:
    name = world.choose.choice(["theirs", world.fresh_name()])
    named = ["--name", name] if name != "theirs" else []
    stated = ["--task", "bert-imdb", "--labels", "negative,positive", "--base", str(world.folder / "base")]
    return Command(["import", str(world.folder / "theirs"), *named, *stated, "--json"], adds=name)


def _replace(world: World) -> Command:
    """In the place of whatever has the name: an adapter of ours, or none."""
    name = world.any_adapter()
    stated = ["--task", "bert-imdb", "--labels", "negative,positive", "--base", str(world.folder / "base")]
    return Command(
        ["import", str(world.folder / "theirs"), "--name", name, "--replace", *stated, "--json"], adds=name
    )


def _join(world: World) -> Command:
    made = world.folder / "made" / "registry.json"
    return Command(["registry", "merge", str(made), "--json"], adds="theirs", seconds=1.0)


def _undo(world: World) -> Command:
    return Command(["undo", "--json"], undoes=True, seconds=0.5)


def _resume(world: World) -> Command:
    stopped = [run for run in all_runs(world.registry) if not run.alive]
    run = world.choose.choice(stopped) if stopped else None
    return Command(["resume", run.id if run else _DEFAULT, "--json"], adds=run.name if run else _DEFAULT)


def _remove_run(world: World) -> Command:
    return Command(["runs", "rm", "--yes", _DEFAULT], seconds=0.5)


def _rm(world: World) -> Command:
    name = world.any_adapter()
    return Command(["rm", "--yes", name], removes=[name], seconds=0.5)


def _merge(world: World) -> Command:
    folder = world.folder / "merged" / str(world.choose.randrange(4))
    return Command(["merge", world.any_adapter(), "-o", str(folder)])


def _on_one(*words: str, seconds: float = 1.0) -> Callable[[World], Command]:
    """A command about an adapter; `NAME` stands for it."""

    def make(world: World) -> Command:
        name = world.any_adapter()
        return Command([name if word == "NAME" else word for word in words], seconds=seconds)

    return make


def _plain(*words: str) -> Callable[[World], Command]:
    return lambda world: Command(list(words), seconds=1.0)


COMMANDS: dict[Callable[[World], Command], int] = {
    _train: 5,
    _train_named: 3,
    _import: 3,
    _rm: 5,
    _merge: 1,
    _plain("list", "--json"): 1,
    _plain("list", "--min", "accuracy=0.1"): 1,
    _plain("registry", "rebuild"): 2,
    _replace: 2,
    _join: 2,
    _undo: 3,
    _resume: 3,
    _remove_run: 1,
    _plain("stop", _DEFAULT): 1,
    _plain("runs", "--json"): 1,
    _plain("registry", "check"): 1,
    _plain("registry", "migrate"): 1,
    _on_one("reproduce", "NAME", "--json", seconds=6.0): 1,
    _plain("doctor", "--fast"): 1,
    _on_one("show", "NAME"): 1,
    _on_one("check", "NAME"): 1,
    _on_one("card", "NAME", "--write"): 2,
    _on_one("verify", "NAME", seconds=3.0): 1,
    _on_one("predict", "NAME", "a good film", seconds=3.0): 1,
}
"""How often each is chosen, of their sum."""


@dataclass
class Running:
    command: Command
    pid: int
    paths: list[Path]
    started: float
    signal: int | None
    """That it gets, and `at` which moment."""
    at: float
    code: int | None = None
    took: float = 0.0

    @property
    def out(self) -> str:
        return _text(self.paths[0])

    @property
    def err(self) -> str:
        return _text(self.paths[1])


def _text(path: Path) -> str:
    """Nothing where a command was killed before it opened the file."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _start(world: World, command: Command, number: int) -> Running:
    beside = world.folder / f"{number}"
    paths = [beside.with_suffix(suffix) for suffix in (".out", ".err")]
    kill = world.choose.choice(SIGNALS) if world.choose.random() < KILLED else None
    moment = world.choose.uniform(0.0, command.seconds) * world.pace
    pid = _fork(command.words, world, beside)
    return Running(command, pid, paths, time.monotonic(), kill, moment)


def _fork(words: Sequence[str], world: World, beside: Path) -> int:
    """The process that runs `zoo WORDS`, with its output in two files."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        paths = [str(beside.with_suffix(suffix)) for suffix in (".out", ".err")]
        warm_process._become_zoo([*words], world.environment(), str(world.folder), paths)
    return pid


def _wait(running: list[Running]) -> Iterator[str]:
    """Send the signals and wait for every end; yields what took too long."""
    while left := [one for one in running if one.code is None]:
        for one in left:
            since = time.monotonic() - one.started
            if one.signal is not None and since >= one.at and _listens(one):
                os.kill(one.pid, one.signal)
                one.at = float("inf")
            if since > LONGEST:
                os.kill(one.pid, signal.SIGKILL)
                yield f"took more than {LONGEST:.0f} s: zoo {' '.join(one.command.words)}"
            done, status = os.waitpid(one.pid, os.WNOHANG)
            if done:
                one.code, one.took = os.waitstatus_to_exitcode(status), since
        time.sleep(0.005)


def _listens(one: Running) -> bool:
    """Before the command line is up, a signal ends the interpreter as any: nothing is promised of that."""
    if one.signal == signal.SIGKILL:
        return True
    try:
        status = Path(f"/proc/{one.pid}/status").read_text(encoding="ascii")
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def _judge(world: World, ended: list[Running]) -> Iterator[str]:
    """What is wrong with how the commands ended; what they did is noted in `world`."""
    removing = {name for one in ended for name in one.command.removes}
    added: set[str] = set()
    possible: set[str] = set()
    for one in ended:
        typed = f"zoo {' '.join(one.command.words)}"
        was_killed = one.code == -signal.SIGKILL and one.signal == signal.SIGKILL
        if one.code not in CODES and not was_killed:
            yield f"exit code {one.code} (signal {one.signal}): {typed}: {one.err[-400:]}"
        if "Traceback" in one.err or "unexpected " in one.err:
            yield f"{typed} (signal {one.signal}): {one.err[-2000:]}"
        if one.command.adds and one.code == 0:
            added |= _added(json.loads(one.out))
        elif one.command.adds:
            possible.add(one.command.adds)
    world.must = (world.must - removing) | added
    removed = {name for one in ended if one.code == 0 for name in one.command.removes}
    world.gone = {name for name in world.gone | removed if not _is_numbered(name, possible)} - added
    if any(one.command.undoes for one in ended):
        # which of this round's commands it came after is not known
        touched = world.undoable | added | removing
        world.must, world.gone = world.must - touched, world.gone - touched


def _added(printed: dict[str, Any]) -> set[str]:
    """The names that a command registered: one record, or what `zoo registry merge` took."""
    if "renamed" in printed:
        return {*printed["added"], *printed["renamed"].values()}
    return {printed["name"]}


def _is_numbered(name: str, bases: set[str]) -> bool:
    return any(name == base or re.fullmatch(rf"{re.escape(base)}-\d+", name) for base in bases)


def _check(world: World) -> Iterator[str]:
    """What does not hold of the registry and its files."""
    if not world.registry.path.exists():
        if world.must:
            yield f"registry.json is gone, with {sorted(world.must)}"
        return
    try:
        records = world.registry.records()
    except Exception as error:
        yield f"registry.json is not read: {error!r}"
        return
    if lost := world.must - set(records):
        yield f"acknowledged and not listed: {sorted(lost)}"
    if back := world.gone & set(records):
        yield f"removed and listed: {sorted(back)}"
    for name, record in records.items():
        yield from _check_files(name, record, world.registry.adapter_folder(name))
    # what nobody acknowledged is there all the same, and is kept from now on
    world.must |= set(records)


def _check_files(name: str, record: AdapterRecord, folder: Path) -> Iterator[str]:
    for file, told in record.files.items():
        try:
            content = (folder / file).read_bytes()
        except OSError as error:
            yield f"{name} has lost {file}: {error}"
            continue
        if (len(content), hashlib.sha256(content).hexdigest()) != (told.bytes, told.sha256):
            yield f"{name} has another {file} than its record says"


def _leftovers(world: World) -> Iterator[str]:
    """What lies in the registry's folder and neither belongs there nor is named by doctor."""
    if not world.registry.folder.is_dir():
        return
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "doctor", "--fast", "--json"],
        env=world.environment(), capture_output=True, text=True, timeout=LONGEST, check=False,
    )  # fmt: skip
    try:
        told = json.dumps(json.loads(done.stdout))
    except ValueError:
        yield f"doctor printed no JSON: {done.stderr[-500:]}"
        return
    folder, records = world.registry.path.parent, world.registry.records()
    known = {"registry.json", "registry.json.lock", "adapters", ".trash", ".gitignore"}
    found = [path for path in folder.iterdir() if path.name not in known]
    found += [
        path for path in world.registry.folder.iterdir() if path.name not in {*records, ".work", ".trash"}
    ]
    work = world.registry.folder / ".work"
    found += [] if not work.is_dir() else [path for path in work.iterdir() if path.name != "lock"]
    for path in found:
        is_young = path.parent == work and time.time() - path.stat().st_mtime < _YOUNG
        if path.name not in told and not is_young:
            yield f"doctor does not know {path}"


@dataclass
class Summary:
    commands: int = 0
    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, ended: Sequence[Running]) -> None:
        """Count a round; what the commands printed is removed."""
        self.rounds += 1
        self.commands += len(ended)
        for one in ended:
            self.codes[one.code or 0] += 1
            if one.signal is not None and one.at == float("inf"):
                self.killed[signal.Signals(one.signal).name] += 1
            if one.code == 0 and (one.command.adds or one.command.removes):
                self.acknowledged["adds" if one.command.adds else "removals"] += 1
            for path in one.paths:
                path.unlink(missing_ok=True)


def soak(seconds: float, processes: int, seed: int, commands: int = 1 << 30, look: int = 10) -> Summary:
    """Rounds until one of both is used up.

    Args:
        look: rounds after which doctor is asked for what was left behind.
    """
    import importlib

    choose, summary = random.Random(seed), Summary()
    # no TemporaryDirectory: a fork that ends would remove it
    world = World(Path(mkdtemp(prefix="zoo-soak-")), choose)
    try:
        for name in (*warm_process._LIBRARIES, *_LIBRARIES):
            importlib.import_module(name)
        world.prepare()
        end = time.monotonic() + seconds
        makers, weights = list(COMMANDS), list(COMMANDS.values())
        while time.monotonic() < end and summary.commands < commands:
            chosen = [make(world) for make in choose.choices(makers, weights, k=processes)]
            world.note_undoable()
            ended = [_start(world, one, summary.commands + at) for at, one in enumerate(chosen)]
            found = [*_wait(ended), *_judge(world, ended), *_check(world)]
            summary.add(ended)
            whole = [one.took / one.command.seconds for one in ended if one.signal is None]
            world.pace = (world.pace + max(whole)) / 2 if whole else world.pace
            if summary.rounds % look == 0:
                found += _leftovers(world)
            summary.problems += [f"seed {seed}, round {summary.rounds}: {one}" for one in found]
        summary.problems += [f"seed {seed}, at the end: {one}" for one in _leftovers(world)]
    finally:
        shutil.rmtree(world.folder, ignore_errors=True)
    return summary


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Random commands against one registry, with kills.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--commands", type=int, default=1 << 30, metavar="N", help="End after N commands.")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}", flush=True)
    found = soak(asked.seconds, asked.processes, asked.seed, asked.commands)
    facts: dict[str, Any] = {
        "commands": found.commands,
        "rounds": found.rounds,
        "signals": dict(sorted(found.killed.items())),
        "codes": dict(sorted(found.codes.items())),
        "acknowledged": dict(found.acknowledged),
        "problems": len(found.problems),
    }
    print(json.dumps(facts))
    for one in found.problems:
        print(one, file=sys.stderr)
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
