"""A run that was killed, stopped or changed: it goes on to the same weights, or says why it does not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from zoo.registry.store import Registry
from zoo.training import checkpoints, runs

WEIGHTS = "adapter_model.safetensors"
FORKS = """
import json, os, signal, sys
import torch, transformers, peft, datasets, pandas, accelerate, zoo.cli.train
from zoo.training import pipeline, saving

def kill_in_save(number, line):
    save, saves = saving.Saving.save, 0
    def traced(self, trainer):
        nonlocal saves
        saves += 1
        left = line
        def trace(frame, event, _):
            nonlocal left
            left -= event == "line"
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        if saves == number:
            sys.settrace(trace)
        save(self, trainer)
        sys.settrace(None)
    saving.Saving.save = traced

for text in sys.stdin:
    asked = json.loads(text)
    child = os.fork()
    if child == 0:
        out = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1), os.dup2(out, 2)
        if asked["save"]:
            kill_in_save(asked["save"], asked["line"])
        sys.argv = ["zoo", *asked["words"]]
        code = 0
        try:
            zoo.cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Trains in forks of a process that has imported everything; with `save`, kill -9 within that save."""


class Place:
    def __init__(self, folder: Path, base: Path, rows: Path):
        self.folder, self.base, self.rows = folder, base, rows
        self.registry = Registry(folder / "kept" / "registry.json")

    def words(self, *more: object) -> list[str]:
        quick = ["--epochs", 3, "--precision", "fp32", "--batch-tokens", 128, "-s", "dropout=0.2"]
        words = ["train", "lora", "bert-imdb", "--base", self.base, "--data", self.rows, *quick, *more]
        return [*map(str, words), "--registry", str(self.registry.path)]

    def weights(self, name: str) -> str:
        return self.registry.get(name).files[WEIGHTS].sha256


@pytest.fixture
def place(tmp_path: Path, tiny_bert: Path, reviews_csv: Path) -> Place:
    import shutil

    base = Path(shutil.copytree(tiny_bert, tmp_path / "base"))
    return Place(tmp_path, base, reviews_csv)


@pytest.fixture
def forked(place: Place) -> Iterator[Callable[..., int]]:
    pipe: Any = subprocess.PIPE
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def run(words: list[str], save: int = 0, line: int = 0) -> int:
            told = {"words": words, "save": save, "line": line, "log": str(place.folder / "log")}
            asked.write(json.dumps(told) + "\n")
            asked.flush()
            return int(answers.readline())

        yield run
        asked.close()


def kill_and_go_on(place: Place, forked: Callable[..., int], trials: int, seed: int) -> dict[str, int]:
    """From which checkpoint the trials went on; each must end with the weights of the undisturbed run."""
    pick = random.Random(seed)
    assert forked(place.words("--name", "whole")) == 0, (place.folder / "log").read_text()
    expected, found = place.weights("whole"), dict[str, int]()
    for number in range(trials):
        save, line = pick.randrange(1, 4), int(10 ** pick.uniform(0, 4.3))
        log = place.folder / "log"
        log.unlink()
        name = f"trial-{number}"
        code = forked(place.words("--name", name), save, line)
        if code == -9:
            (run,) = runs.all_runs(place.registry)
            assert run.status == "interrupted"
            newest, _ = checkpoints.newest(run.checkpoints)
            from_where = newest.name if newest else "the beginning"
            found[from_where] = found.get(from_where, 0) + 1
            assert forked(place.words("--name", name)) == 0, log.read_text()
            assert "going on with run" in log.read_text()
        else:
            assert code == 0, log.read_text()  # the save took fewer lines
            found["not killed"] = found.get("not killed", 0) + 1
        assert place.weights(name) == expected, (number, save, line)
        assert runs.all_runs(place.registry) == []
    return found


@pytest.mark.skipif(os.name == "nt", reason="forks")
@pytest.mark.slow
def test_sixty_runs_killed_within_a_save_end_with_the_same_weights(
    place: Place, forked: Callable[..., int]
) -> None:
    found = kill_and_go_on(place, forked, trials=60, seed=0)
    print(found)
    assert len(found) > 3


@pytest.fixture
def stopped(zoo: Callable[..., Result], place: Place, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    """A run that was stopped at its fifth step."""
    from zoo.training import progress

    step_end, calls = progress.Live.step_end, []

    def stop_at_the_fifth(live: Any, *steps: int) -> str:
        calls.append(live)
        live.stopping = len(calls) == 5
        return step_end(live, *steps)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Live, "step_end", stop_at_the_fifth)
        done = zoo(*place.words("--name", "mine"))
    assert done.code == 130, done.err
    assert "stopped at step 5 of " in done.error
    (run,) = runs.all_runs(place.registry)
    assert f"zoo resume {run.id} --registry {place.registry.path}" in done.err
    return run


def test_the_same_command_goes_on_and_says_so(
    zoo: Callable[..., Result], place: Place, stopped: runs.Run
) -> None:
    assert (stopped.status, stopped.step, stopped.reserves_name) == ("interrupted", 5, True)
    total = stopped.total
    done = zoo(*place.words("--name", "mine"))
    assert done.code == 0, done.err
    assert f"going on with run {stopped.id}, stopped at step 5 of {total}; --fresh starts over" in done.err
    assert "resuming from checkpoint-5" in done.err
    assert place.registry.get("mine").run == stopped.id
    assert runs.all_runs(place.registry) == []


def test_fresh_starts_over_and_takes_the_name(
    zoo: Callable[..., Result], place: Place, stopped: runs.Run
) -> None:
    done = zoo(*place.words("--name", "mine", "--fresh"))
    assert done.code == 0, done.err
    assert "going on with" not in done.err
    assert place.registry.get("mine").run != stopped.id


def test_zoo_resume_goes_on_from_another_folder(
    zoo: Callable[..., Result],
    place: Place,
    stopped: runs.Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = zoo("resume", "mine", "--registry", place.registry.path, "--json")
    assert done.code == 0, done.err
    assert done.json["name"] == "mine"
    assert done.json["run"] == stopped.id


def test_an_explicit_name_of_a_stopped_run_with_other_settings_is_refused(
    zoo: Callable[..., Result], place: Place, stopped: runs.Run
) -> None:
    done = zoo(*place.words("--name", "mine", "--seed", "7"))
    assert done.code == 2
    assert done.error == "Error: the interrupted run of 'mine' had other settings: seed was 42."
    assert "--fresh" in done.err
    assert zoo(*place.words("--name", "other", "--seed", "7", "--dry-run")).code == 0


def edit_rows(place: Place) -> None:
    with place.rows.open("a", encoding="utf-8") as file:
        file.write("a film that came later,1\n")


def alter_base(place: Place) -> None:
    from tests.records import change_weights

    change_weights(
        place.base / "model.safetensors",
        lambda tensors: tensors["embeddings.word_embeddings.weight"].mul_(2),
    )


def alter_config(place: Place) -> None:
    path = place.base / "config.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


CHANGES: dict[str, tuple[Callable[[Place], object], str]] = {
    "data edited": (edit_rows, "the data has other rows than"),
    "base altered": (alter_base, "the base has other weights (model.safetensors)"),
    "config altered": (alter_config, "the base has another config.json"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_refused_by_name_unless_it_is_allowed(
    change: Callable[[Place], object],
    said: str,
    zoo: Callable[..., Result],
    place: Place,
    stopped: runs.Run,
) -> None:
    change(place)
    at = ("--registry", place.registry.path)
    for words in (["resume", "mine", *at], place.words("--name", "mine")):
        done = zoo(*words)
        assert done.code == 5
        assert said in done.error
        assert "--allow-changes" in done.err
    assert [run.step for run in runs.all_runs(place.registry)] == [5]
    done = zoo("resume", "mine", "--allow-changes", *at, "--json")
    assert done.code == 0, done.err
    assert said in done.json["training"]["changes"][0]


def test_other_threads_are_refused_and_the_recorded_ones_applied(
    zoo: Callable[..., Result], place: Place, stopped: runs.Run
) -> None:
    import torch

    at = ("--registry", place.registry.path)
    before = torch.get_num_threads()
    done = zoo("resume", "mine", "--threads", before + 1, *at)
    assert done.code == 5
    assert f"threads was {before}, and is {before + 1}" in done.error
    torch.set_num_threads(before + 1)
    try:
        done = zoo("resume", "mine", *at, "--json")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert done.code == 0, done.err
    assert (done.json["training"]["threads"], done.json["training"]["changes"]) == (before, [])


def test_a_damaged_checkpoint_is_named_and_the_older_one_used(
    zoo: Callable[..., Result], place: Place, stopped: runs.Run
) -> None:
    at = ("--registry", place.registry.path)
    (stopped.checkpoints / "checkpoint-5" / "optimizer.pt").unlink()
    done = zoo("resume", "mine", *at)
    assert done.code == 0, done.err
    assert "Warning: checkpoint-5 is skipped: optimizer.pt is missing." in done.err
    assert "there is no whole checkpoint to go on from: training starts from the beginning" in done.err


def test_a_finished_run_that_a_lock_kept_out_is_only_registered_later(
    zoo: Callable[..., Result], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.errors import LockedError

    def locked(*_: object) -> None:
        raise LockedError("another zoo has held registry.json.lock for 600 s.", "again")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "add", locked)
        done = zoo(*place.words("--name", "mine"))
    assert done.code == 1
    assert done.error.endswith("The adapter is trained and kept.")
    (run,) = runs.all_runs(place.registry)
    assert run.status == "finished"
    assert run.finished is not None
    at = ("--registry", place.registry.path)
    (listed,) = zoo("runs", *at, "--json").json
    assert (listed["status"], listed["detail"]) == (
        "finished",
        "trained; only its registration is left to do",
    )
    assert listed["next"] == f"zoo resume {run.id}"
    done = zoo("resume", "mine", *at, "--json")
    assert done.code == 0, done.err
    assert "training" not in done.err.replace("'mine' is trained", "")
    assert done.json["files"] == {name: vars_of(file) for name, file in run.finished.files.items()}
    assert runs.all_runs(place.registry) == []


def vars_of(file: Any) -> dict[str, Any]:
    return {"bytes": file.bytes, "sha256": file.sha256}


def test_runs_are_listed_resumed_and_removed(
    zoo: Callable[..., Result], place: Place, stopped: runs.Run
) -> None:
    at = ("--registry", place.registry.path)
    (row,) = zoo("runs", *at, "--json").json
    assert row["run"] == stopped.id
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_REGISTRY", str(place.registry.path))
        assert f"    zoo resume {stopped.id}\n" in zoo().out
    assert (row["name"], row["status"], row["step"], row["method"]) == ("mine", "interrupted", 5, "lora")
    assert row["next"] == f"zoo resume {stopped.id}"
    done = zoo("runs", *at)
    assert done.out.splitlines()[1].split("\t")[:4] == [stopped.id, "mine", "interrupted", "5"]
    assert zoo("stop", "mine", *at).error == f"Error: run {stopped.id} is not alive: it is interrupted."
    assert zoo("runs", "rm", "mine", *at).code == 2
    assert zoo("resume", "mime", *at).code == 3
    done = zoo("runs", "rm", "mine", "--yes", *at)
    assert done.code == 0, done.err
    assert zoo("runs", *at, "--json").json == []
    assert "no training is alive" in zoo("runs", *at).err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_disk_that_is_full_at_one_of_twenty_sizes_loses_nothing(
    zoo: Callable[..., Result], place: Place, tmp_path: Path
) -> None:
    assert zoo(*place.words("--name", "whole")).code == 0
    expected, disk = place.weights("whole"), tmp_path / "disk"
    disk.mkdir()
    small = Place(tmp_path, place.base, place.rows)
    small.registry = Registry(disk / "registry.json")
    seen: dict[str, int] = {}
    for number in range(20):
        size = f"{24 * 1.35**number:.0f}k"
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if subprocess.run(options, check=False).returncode:
            pytest.skip("mounts are not allowed here")
        try:
            done = zoo(*small.words("--name", "mine"))
            assert "Traceback" not in done.err
            assert "Error: unexpected" not in done.err
            what = done.error.partition(" /")[0] or "registered"
            seen[what] = seen.get(what, 0) + 1
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            if done.code:
                assert done.code == 1, done.err
                step = next(line for line in done.err.splitlines() if line.startswith("Next: "))
                if "zoo resume" in step:
                    assert zoo(*step.split()[2:]).code == 0
                else:
                    assert zoo(*small.words("--name", "mine")).code == 0
            assert small.weights("mine") == expected
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    print(seen)
    assert len(seen) > 2
