"""Trainings that stopped, failed or are alive, by the place that says how to go on."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.next_steps.harness import TRAIN, Case, World
from tests.conftest import reviews, write_csv
from zoo.registry.store import Registry
from zoo.training import checkpoints, progress, runs

KEPT = "--registry kept"
MINE = f"{TRAIN} --name mine"
PIPELINE = "zoo/training/pipeline.py"
PREPARE = "zoo/training/prepare.py"
RUNS = "zoo/training/runs.py"


def stopped(world: World) -> runs.Run:
    """`mine` was stopped after its first step."""
    is_stopped(world)
    done = world.run(MINE)
    well(world)
    assert done.code == 130, done.err
    (run,) = runs.all_runs(world.registry)
    return run


def alive(world: World, until: threading.Event | None = None) -> None:
    """`mine` is being trained, and ends a moment after it is asked to, or after `until`."""
    run = stopped(world)
    state, begun = run.state, threading.Event()

    def train() -> None:  # a lock belongs to its thread
        opened = runs.open_run(world.registry, state.asked, state.config, state.inputs, run)
        begun.set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if until.is_set() if until else runs.is_asked_to_stop(run.folder):
                break
            time.sleep(0.02)
        opened.close()

    threading.Thread(target=train, daemon=True).start()
    assert begun.wait(10)


def busy(world: World) -> None:
    """`mine` is alive, and in a step that takes its time."""
    world.lock = threading.Event()
    world.finally_do(world.lock.set)
    done: threading.Event = world.lock
    alive(world, done)
    world.lock = done
    world.patch.setattr("zoo.cli.runs._STOP_SECONDS", 0.2)


def ends(world: World) -> None:
    world.patch.setattr("zoo.cli.runs._STOP_SECONDS", 20.0)
    threading.Timer(0.3, world.lock.set).start()


def fails(name: str, error: BaseException, calls: int = 1) -> Callable[[World], None]:
    """What `name` calls fails the n-th time."""

    def state(world: World) -> None:
        module, _, function = name.rpartition(".")
        real, count = getattr(pytest.importorskip(module), function), []

        def fail(*args: Any, **settings: Any) -> Any:
            count.append(name)
            if len(count) == calls:
                raise error
            return real(*args, **settings)

        fault(world).setattr(name, fail)

    return state


def fault(world: World) -> pytest.MonkeyPatch:
    """For what goes wrong until `well`."""
    world.lock = pytest.MonkeyPatch()
    world.finally_do(world.lock.undo)
    patch: pytest.MonkeyPatch = world.lock
    return patch


def well(world: World) -> None:
    world.lock.undo()


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_room(world: World) -> None:
    usage = shutil.disk_usage(world.folder)
    fault(world).setattr("zoo.training.prepare.shutil.disk_usage", lambda _: usage._replace(free=0))


def other_rows(world: World) -> None:
    stopped(world)
    write_csv(world.folder / "reviews.csv", reviews(seed=3))


def trained(world: World) -> None:
    world.keep_trained()


def unregistered(world: World) -> None:
    world.keep_trained()
    world.registry.path.unlink()


def locked(world: World) -> None:
    fault(world).setattr(Registry, "add", _locked)


def altered(world: World) -> None:
    """`mine` is trained, not registered, and its weights were changed since."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "add", _locked)
        assert world.run(MINE).code == 1
    (run,) = runs.all_runs(world.registry)
    (run.made / "adapter_model.safetensors").write_bytes(b"other")


def _locked(*_: Any) -> None:
    from zoo.errors import LockedError

    raise LockedError("another zoo has held registry.json.lock for 600 s.", "again")


def taken_meanwhile(world: World) -> None:
    fault(world).setattr(runs, "taken_names", lambda _: {"mine"})


def gone_on_meanwhile(world: World) -> None:
    run = stopped(world)
    state = run.state
    opened = runs.open_run(world.registry, state.asked, state.config, state.inputs, run)
    world.finally_do(opened.close)
    fault(world).setattr(runs, "to_go_on_with", lambda *_, **__: run)


def of_another_model(world: World) -> None:
    from safetensors.torch import load_file, save_file

    run = stopped(world)
    (checkpoint,) = checkpoints.find(run.checkpoints)
    step = checkpoints.step_of(checkpoint)
    checkpoints.begin(run.checkpoints, step)
    beside = checkpoints.beside(run.checkpoints, step)
    for path in checkpoint.iterdir():
        if path.name != checkpoints.MANIFEST:
            shutil.copy(path, beside)
    tensors = load_file(beside / "trained.safetensors")
    save_file(
        {**tensors, "another.weight": next(iter(tensors.values())).clone()}, beside / "trained.safetensors"
    )
    checkpoints.finish(beside, set())


def diverges_in_bf16(world: World) -> None:
    from zoo.tasks.text_classification import TextClassification

    loss = TextClassification.loss

    def none(self: Any, outputs: Any, labels: Any, items: Any = None) -> Any:
        return loss(self, outputs, labels, items) * float("nan")

    patch = fault(world)
    patch.setattr("zoo.runtime.device.has_bf16", lambda: True)
    patch.setattr(TextClassification, "loss", none)


def little_memory(world: World) -> None:
    import torch

    from zoo.tasks.text_classification import TextClassification

    load = TextClassification.load_model

    def load_model(self: Any, *args: Any, **options: Any) -> Any:
        model, head = load(self, *args, **options)

        def refuse(module: Any, inputs: Any) -> None:
            if module.training:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        model.register_forward_pre_hook(refuse)
        return model, head

    fault(world).setattr(TextClassification, "load_model", load_model)


def no_memory_for_the_optimizer(world: World) -> None:
    import torch

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    fault(world).setattr("torch.optim.AdamW.step", fail)


def little_memory_for_several(world: World) -> None:
    little_memory(world)
    world.lock.setattr("zoo.training.smaller_batches.distributed", SimpleNamespace(world_size=lambda: 2))


def is_stopped(world: World) -> None:
    step_end = progress.Live.step_end

    def stop(live: Any, *steps: int) -> str:
        live.stopping = True
        return step_end(live, *steps)

    fault(world).setattr(progress.Live, "step_end", stop)


CASES = [
    Case("zoo/cli/runs.py rm_command 1", f"runs rm mine {KEPT}", "zoo stop ", alive),
    Case("zoo/cli/runs.py stop_command 1", f"stop mine {KEPT}", "zoo resume ", stopped),
    Case("zoo/training/trainer.py _train 2", MINE, "zoo resume ", is_stopped, meanwhile=well),
    Case(f"{PIPELINE} _open 2", MINE, "--allow-changes", other_rows),
    Case(
        f"{PIPELINE} _out_of_space 2",
        MINE,
        "zoo resume ",
        fails("zoo.training.pipeline._save", full_disk()),
        meanwhile=well,
    ),
    Case(
        f"{PREPARE} _check_space 1",
        f"{MINE} --dry-run",
        "--registry FOLDER",
        no_room,
        meanwhile=well,
        fill={"FOLDER": "elsewhere"},
    ),
    Case(f"{PREPARE} _new_name 1", f"{TRAIN} --dry-run --name lora", "--name lora-2", trained),
    Case(
        f"{PREPARE} _new_name 2",
        f"{TRAIN} --dry-run --name lora",
        "zoo registry rebuild --registry kept",
        unregistered,
    ),
    Case(f"{PREPARE} _new_name 4", f"{MINE} --seed 7 --dry-run", "--fresh", stopped),
    Case(f"{RUNS} get 1", f"resume lora {KEPT}", "zoo show lora", trained),
    Case(f"{RUNS} get 2", f"resume mime {KEPT}", "zoo resume mine", stopped),
    Case(f"{RUNS} get 2", f"resume something-else {KEPT}", "zoo runs", stopped),
    Case(f"{RUNS} to_go_on_with 1", f"{TRAIN} --dry-run --name new --resume", "--name new"),
]
SLOW = [
    Case("zoo/cli/runs.py resume_command 1", f"resume mine {KEPT}", "zoo stop ", alive),
    Case("zoo/cli/runs.py stop_command 2", f"stop mine {KEPT}", "zoo stop ", busy, meanwhile=ends),
    Case(
        f"{PIPELINE} _interrupted 1",
        MINE,
        "zoo resume ",
        fails("zoo.training.pipeline._save", KeyboardInterrupt()),
        meanwhile=well,
    ),
    Case(f"{PIPELINE} _open 1", f"{MINE} --seed 7 --resume", "--fresh", stopped),
    Case(
        f"{PIPELINE} _out_of_space 1",
        MINE,
        "--registry FOLDER",
        fails("zoo.training.pipeline._load", full_disk()),
        fill={"FOLDER": "elsewhere"},
        meanwhile=well,
    ),
    Case(f"{PIPELINE} _register 1", MINE, "zoo resume ", locked, meanwhile=well),
    Case(f"{PIPELINE} _register_finished 1", f"resume mine {KEPT}", "zoo runs rm ", altered),
    Case(f"{PREPARE} _new_name 3", f"{MINE} --dry-run", "--name mine-2", alive),
    Case(f"{RUNS} open_run 1", MINE, "--name mine-2", taken_meanwhile, meanwhile=well),
    Case(f"{RUNS} open_run 2", MINE, "zoo runs", gone_on_meanwhile),
    Case(
        "zoo/training/trainer.py _train 1",
        MINE,
        "zoo methods lora",
        no_memory_for_the_optimizer,
        meanwhile=well,
    ),
    Case(
        "zoo/training/trainer.py _make_trainer.TokenBudgetTrainer._load_from_checkpoint 1",
        f"{MINE} --resume",
        "--fresh",
        of_another_model,
    ),
    Case("zoo/training/finite.py explain 1", f"{MINE} --lr 1e30 --epochs 5".replace("lora", "full"), "--lr "),
    Case(
        "zoo/training/finite.py explain 2",
        MINE.replace("fp32", "bf16"),
        "--precision fp32",
        diverges_in_bf16,
        meanwhile=well,
    ),
    Case(
        "zoo/training/smaller_batches.py SmallerBatches._more 1",
        MINE,
        "--batch-tokens 128",
        little_memory_for_several,
        meanwhile=well,
    ),
    Case(
        "zoo/training/smaller_batches.py SmallerBatches._more 2",
        MINE,
        "--gradient-checkpointing",
        little_memory,
        meanwhile=well,
    ),
]
