"""A run has a folder, a name and a lock of its own; two of them never share any."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Result
from tests.records import make_base, make_data
from zoo.errors import NotFoundError, UsageError
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry
from zoo.training import checkpoints, runs
from zoo.training.inputs import Inputs, input_differences

ASKED = AdapterSpec(method="lora", task="bert-imdb")
CONFIG = msgspec.structs.replace(ASKED, name="lora-bert-imdb", epochs=1.0)
INPUTS = Inputs(
    base=make_base(),
    data=make_data(),
    threads=2,
    precision="fp32",
    device="cpu",
    kernels="AVX2",
    processes=1,
    versions={"torch": "2.13.0"},
    plugins={"method": "adapter-zoo 0.1.0"},
)


def opened(registry: Registry, asked: AdapterSpec = ASKED, resumed: runs.Run | None = None) -> runs.Opened:
    config = msgspec.structs.replace(CONFIG, name=asked.name or CONFIG.name)
    return runs.open_run(registry, asked, config, INPUTS, resumed)


def save_checkpoint(run: runs.Run, step: int) -> None:
    checkpoints.begin(run.checkpoints, step)
    (checkpoints.beside(run.checkpoints, step) / "trained.safetensors").write_bytes(b"weights")
    checkpoints.finish(checkpoints.beside(run.checkpoints, step), set())


def test_a_default_name_is_reserved_while_a_run_is_alive_and_while_it_can_go_on(registry: Registry) -> None:
    first, second = opened(registry), opened(registry)
    assert (first.run.name, second.run.name) == ("lora-bert-imdb", "lora-bert-imdb-2")
    assert [run.status for run in runs.all_runs(registry)] == ["alive", "alive"]
    save_checkpoint(first.run, 3)
    first.close()
    second.close()  # it has nothing to go on from, so nothing is left of it
    assert [(run.name, run.status, run.step) for run in runs.all_runs(registry)] == [
        ("lora-bert-imdb", "interrupted", 3)
    ]
    assert opened(registry).run.name == "lora-bert-imdb-2"


def test_an_explicit_name_that_another_run_has_taken_is_refused(registry: Registry) -> None:
    asked = msgspec.structs.replace(ASKED, name="mine")
    first = opened(registry, asked)
    with pytest.raises(UsageError, match="a run of 'mine' has just been started") as caught:
        opened(registry, asked)
    assert caught.value.hint == "--name mine-2"
    first.close()
    assert runs.all_runs(registry) == []


def test_a_stopped_run_is_found_by_the_same_command_only(registry: Registry) -> None:
    run = opened(registry)
    save_checkpoint(run.run, 3)
    other = msgspec.structs.replace(ASKED, seed=7)
    assert runs.to_go_on_with(registry, ASKED, "lora-bert-imdb", resume=False) is None, "it is alive"
    run.close()
    found = runs.to_go_on_with(registry, ASKED, "lora-bert-imdb", resume=False)
    assert found is not None
    assert found.id == run.run.id
    assert runs.to_go_on_with(registry, other, "lora-bert-imdb", resume=False) is None
    again = opened(registry, resumed=found)
    assert (again.run.id, again.run.name, again.run.state.created) == (
        found.id,
        "lora-bert-imdb",
        found.state.created,
    )
    with pytest.raises(UsageError, match="is alive: another process goes on with it"):
        opened(registry, resumed=found)


def test_a_failed_run_reserves_nothing_and_says_why(registry: Registry) -> None:
    run = opened(registry)
    save_checkpoint(run.run, 3)
    run.failed("the loss is no longer a finite number", final=True)
    run.close()
    (found,) = runs.all_runs(registry)
    assert (found.status, found.state.failure) == ("failed", "the loss is no longer a finite number")
    assert found.next_step == f"zoo runs rm --yes {found.id}"
    assert runs.to_go_on_with(registry, ASKED, "lora-bert-imdb", resume=False) is None
    assert opened(registry).run.name == "lora-bert-imdb"


def test_a_run_is_found_by_its_id_and_the_name_of_its_adapter(registry: Registry) -> None:
    run = opened(registry).run
    assert runs.get(registry, run.id).id == runs.get(registry, "lora-bert-imdb").id == run.id
    with pytest.raises(NotFoundError, match="Did you mean 'lora-bert-imdb'") as caught:
        runs.get(registry, "lora-bert-imbd")
    assert caught.value.hint == "lora-bert-imdb instead of lora-bert-imbd"


def test_a_damaged_file_of_a_run_is_no_run(registry: Registry) -> None:
    run = opened(registry).run
    (run.folder / runs.FILE).write_text("{", encoding="utf-8")
    assert runs.all_runs(registry) == []


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "weights": (
        {"base": make_base(weights={"model.safetensors": "0" * 64})},
        "the base has other weights (model.safetensors)",
    ),
    "rows": ({"data": make_data(fingerprint="0" * 64)}, "the data has other rows than"),
    "division": ({"data": make_data(n_train=1)}, "the rows are divided in another way"),
    "threads": ({"threads": 4}, "threads was 2, and is 4"),
    "kernels": ({"kernels": "AVX512"}, "kernels was AVX2, and is AVX512"),
    "versions": ({"versions": {"torch": "2.14.0"}}, "torch was 2.13.0, and is 2.14.0"),
    "plugins": ({"plugins": {"method": "zoo-more 2.0"}}, "method was adapter-zoo 0.1.0, and is zoo-more 2.0"),
}


@pytest.mark.parametrize(("change", "said"), CHANGED.values(), ids=CHANGED)
def test_each_input_that_is_another_one_is_named(change: dict[str, Any], said: str) -> None:
    (line,) = input_differences(INPUTS, msgspec.structs.replace(INPUTS, **change))
    assert said in line
    assert list(input_differences(INPUTS, INPUTS)) == []


def test_a_base_in_another_file_is_the_same_input() -> None:
    moved = make_base(location="path:/elsewhere", id="local:elsewhere")
    assert list(input_differences(INPUTS, msgspec.structs.replace(INPUTS, base=moved))) == []


def endless(place: Path, base: Path, rows: Path, *more: str) -> subprocess.Popen[str]:
    words = ["train", "lora", "bert-imdb", "--base", base, "--data", rows, "--epochs", 100_000, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", *map(str, words), "--precision", "fp32", "--registry", str(place)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_zoo_stop_lets_a_living_run_save_and_end(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    process = endless(tmp_path / "kept", tiny_bert, reviews_csv, "--name", "mine")
    at = ("--registry", tmp_path / "kept")
    (tmp_path / "kept").mkdir(exist_ok=True)
    deadline = time.monotonic() + 120
    found: list[dict[str, Any]] = []
    while not (found and found[0]["step"]) and time.monotonic() < deadline:
        time.sleep(0.2)
        found = zoo("runs", *at, "--json").json
    assert found, process.communicate(timeout=5)
    assert (found[0]["status"], found[0]["name"], found[0]["pid"]) == ("alive", "mine", process.pid)
    assert found[0]["next"] == f"zoo stop {found[0]['run']}"
    assert "is alive" in zoo("resume", "mine", *at).error
    assert "is alive" in zoo("runs", "rm", "mine", "--yes", *at).error
    done = zoo("stop", "mine", *at)
    assert done.code == 0, done.err
    assert f"run {found[0]['run']} has ended" in done.err
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "stopped at step" in err
    (after,) = zoo("runs", *at, "--json").json
    assert after["status"] == "interrupted"
    assert after["step"] >= found[0]["step"]
    assert after["next"] == f"zoo resume {after['run']}"


def trained_at_once(place: Path, base: Path, rows: Path, number: int) -> set[str]:
    """Names of the adapters that so many processes register, which start together under one default name."""
    command = [sys.executable, "-m", "zoo", "train", "lora", "bert-imdb", "--base", str(base), "--data"]
    command += [str(rows), "--epochs", "1", "--precision", "fp32", "--registry", str(place), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    pipe: Any = subprocess.PIPE
    processes = [
        subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) for _ in range(number)
    ]
    names = set()
    for process in processes:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        names.add(msgspec.json.decode(out)["name"])
    registry = Registry(place / "registry.json")
    assert set(registry.records()) >= names
    for name in names:
        from zoo.adapters.integrity import changed_files

        assert changed_files(registry.get(name), registry.adapter_folder(name)) == ([], [])
    assert runs.all_runs(registry) == []
    return names


@pytest.mark.slow
@pytest.mark.parametrize("number", [*[2] * 12, 8])
def test_trainings_that_start_together_under_a_default_name_are_all_registered(
    number: int, tiny_bert: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    names = trained_at_once(tmp_path / "kept", tiny_bert, reviews_csv, number)
    assert names == {"lora-bert-imdb", *(f"lora-bert-imdb-{one}" for one in range(2, number + 1))}
