"""What `zoo doctor` finds, by the place that names the fix."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tests.cli.next_steps.harness import Case, World
from tests.cli.next_steps.hub_cases import online
from tests.cli.next_steps.plugin_cases import BAD, installed
from tests.cli.next_steps.run_cases import stopped
from tests.hub.test_publish import BASE, add_adapter
from tests.records import change_weights
from tests.third_party import adapter_files, put_down
from zoo.models.fingerprint import file_ids
from zoo.registry.schema import UNKNOWN
from zoo.registry.store import RECORD_FILE

DOCTOR = "doctor --fast --registry kept"
WHOLE = "doctor --registry kept"
CHECKS = "zoo/cli/doctor_checks"
OWN = f"{CHECKS}/adapters.py"
BASES = f"{CHECKS}/bases.py"
HOUSE = f"{CHECKS}/housekeeping.py"
MACHINE = f"{CHECKS}/environment.py"
NAME = "lora-bert-imdb"


def _only_lora(world: World) -> Any:
    registry = world.keep_trained()
    for name in ("head", "full"):
        registry.remove(name)
    return registry


def no_torch(world: World) -> None:
    """Without the process that starts torch, which takes seconds."""
    world.patch.setattr("zoo.cli.doctor_checks.environment.probe", lambda: None)


def lost_file(world: World) -> None:
    (_only_lora(world).adapter_folder("lora") / "adapter_model.safetensors").unlink()


def lost_head(world: World) -> None:
    registry = _only_lora(world)
    folder = registry.adapter_folder("lora")

    def behead(tensors: dict[str, Any]) -> None:
        for name in [one for one in tensors if "classifier" in one]:
            del tensors[name]

    change_weights(folder / "adapter_model.safetensors", behead)
    files = {name: file for name, file in file_ids(folder).items() if name != RECORD_FILE}
    registry.replace(msgspec.structs.replace(registry.get("lora"), files=files))


def lost_card(world: World) -> None:
    no_torch(world)
    (_only_lora(world).adapter_folder("lora") / "README.md").unlink()


def without_plugin(world: World) -> None:
    registry = _only_lora(world)
    record = registry.get("lora")
    spec = msgspec.structs.replace(record.spec, task="nowhere")
    plugins = {**record.plugins, "task": "zoo-nowhere 1.0"}
    registry.replace(msgspec.structs.replace(record, spec=spec, plugins=plugins))


def on_base(**changes: Any) -> Callable[[World], None]:
    """`lora` is on a base with another identity."""

    def state(world: World) -> None:
        registry = _only_lora(world)
        record = registry.get("lora")
        base = msgspec.structs.replace(record.base, **changes)
        registry.replace(msgspec.structs.replace(record, base=base))

    return state


def changed_base(world: World) -> None:
    no_torch(world)
    on_base(location=f"path:{world.folder / 'base'}", config_sha256="ab" * 32)(world)


def moved(*, private: bool = False, revision: str = "0" * 40, **changes: Any) -> Callable[[World], None]:
    """`lora` is on a base of the Hub, at a revision that is not its newest."""

    def state(world: World) -> None:
        no_torch(world)
        hub = online(world)
        folder = world.folder / "base"
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        if not private:
            first = hub.put(BASE, files)
            hub.put(BASE, {**files, "README.md": b"newer"})
        here = (
            {"location": f"path:{folder}"} if changes.get("here") else {"location": f"hub:{BASE}@{revision}"}
        )
        at = first if changes.get("first") else revision
        on_base(id=BASE, source="hub", revision=at, **here)(world)

    return state


def failing_hub(world: World) -> None:
    moved()(world)
    hub = world.fixture("hub")
    hub.fail("GET", f"/api/models/{BASE}", status=500, times=None)


def damaged(world: World) -> None:
    add_adapter(world.registry)
    world.registry.path.write_text("{", encoding="utf-8")


def imported(world: World) -> None:
    """An adapter that was imported with all that can be stated, and lost a file."""
    put_down(world.folder / "theirs", adapter_files(world.folder / "base"))
    stated = "--task bert-imdb --labels bad,good --base base"
    done = world.run(f"import theirs --name mine {stated} --registry kept")
    assert done.code == 0, done.err
    (world.registry.adapter_folder("mine") / "adapter_model.safetensors").unlink()


def origin_gone(world: World) -> None:
    imported(world)
    shutil.rmtree(world.folder / "theirs")


def trained_again(world: World) -> None:
    """`lora` lost a file, and was trained anew as `lora-2`."""
    registry = _only_lora(world)
    made = shutil.copytree(registry.adapter_folder("lora"), registry.work_folder("again") / "made")
    later = msgspec.structs.replace(registry.get("lora"), name="lora-2", created="2099-01-01T00:00:00+00:00")
    registry.add(later, made)
    shutil.rmtree(registry.work_folder("again"))
    (registry.adapter_folder("lora") / "adapter_model.safetensors").unlink()


def killed(world: World) -> None:
    """A removal that has said what it will do, and not done it."""
    add_adapter(world.registry)
    with world.patch.context() as patch:
        patch.setattr("zoo.registry.trash._apply", lambda *_: None)
        patch.setattr("zoo.registry.trash._close", lambda _: None)
        world.registry.remove(*world.registry.records())


def no_record(world: World) -> None:
    registry = _only_lora(world)
    (registry.adapter_folder("lora") / "zoo.json").unlink()


def no_folder(world: World) -> None:
    registry = _only_lora(world)
    shutil.rmtree(registry.adapter_folder("lora"))


def not_in_the_registry(world: World) -> None:
    registry = _only_lora(world)
    shutil.copytree(registry.adapter_folder("lora"), registry.adapter_folder("copy"))


def not_an_adapter(world: World) -> None:
    registry = _only_lora(world)
    folder = registry.adapter_folder("notes")
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")


def half_made(world: World) -> None:
    folder = world.registry.work_folder("half")
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x")
    long_ago = time.time() - 3600
    for path in (folder / "weights", folder):
        os.utime(path, (long_ago, long_ago))


def stopped_training(world: World) -> None:
    no_torch(world)
    stopped(world)


def held(world: World) -> None:
    import fcntl

    path = world.folder / "kept" / "registry.json.lock"
    world.lock = path.open("w")
    fcntl.flock(world.lock, fcntl.LOCK_EX)


def half_written(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    world.write(f"kept/registry.json.{int(done.stdout)}.tmp", "{")


def cut_off(world: World) -> None:
    folder = world.folder / "hf"
    world.patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    path = world.write("hf/models--a--b/blobs/abc.incomplete", "x")
    os.utime(path, (time.time() - 3600,) * 2)


def full_disk(world: World) -> None:
    world.patch.setattr("zoo.cli.doctor_checks.environment._LITTLE_ROOM", 1 << 62)
    Path(os.environ["ZOO_CACHE"]).mkdir(parents=True)
    world.patch.setattr("huggingface_hub.constants.HF_HOME", str(world.folder / "hf-home"))


def unmet(world: World) -> None:
    world.patch.setattr("zoo.cli.doctor_checks.environment.requires", lambda _: ["no-such-library>=2"])


def broken_torch(world: World) -> None:
    world.patch.setattr("zoo.cli.doctor_checks.environment._PROBE", "raise ImportError('libtorch')")


def fetched(world: World) -> None:
    """What the fix asks a person to fetch is taken as fetched."""


CASES = [
    Case(
        "zoo/cli/doctor.py _broken_plugins 1",
        DOCTOR,
        "pip install --upgrade zoo-bad",
        installed(replace(BAD, module="no_such_module")),
    ),
    Case(f"{OWN} missing_plugins 1", DOCTOR, "pip install zoo-nowhere==1.0", without_plugin),
    Case(f"{OWN} cards 1", WHOLE, "zoo card lora --write --registry kept", lost_card, check="lora"),
    Case(
        f"{BASES} bases 1",
        DOCTOR,
        "zoo check lora --registry kept",
        on_base(id=UNKNOWN, source=UNKNOWN, location="", weights={}, revision=None),
        check="lora",
        code=3,
    ),
    Case(
        f"{BASES} _base 2",
        DOCTOR,
        f"hf download {BASE}",
        on_base(id=BASE, source="hub", location=f"hub:{BASE}@{'0' * 40}", revision="0" * 40),
        check="of lora",
    ),
    Case(
        f"{BASES} _base 3",
        DOCTOR,
        "zoo check lora --base FOLDER --registry kept",
        on_base(location="path:/nowhere/base"),
        fill={"FOLDER": "base"},
    ),
    Case(
        f"{BASES} _base 4",
        WHOLE,
        "zoo check lora --base FOLDER --registry kept",
        changed_base,
        fill={"FOLDER": "base"},
    ),
    Case(f"{BASES} _on_hub 1", WHOLE, f"zoo check lora --base hub:{BASE} --registry kept", moved(), code=3),
    Case(f"{BASES} _on_hub 3", WHOLE, "zoo doctor --registry kept", failing_hub, check="of lora"),
    Case(
        f"{BASES} _on_hub 4",
        WHOLE,
        f"zoo check lora --base hub:{BASE}@",
        moved(first=True, here=True),
        check="of lora",
        code=3,
    ),
    Case(
        f"{MACHINE} shortcomings 1",
        DOCTOR,
        "zoo list --sort bytes --registry kept",
        full_disk,
        check="registry.json",
    ),
    Case(f"{MACHINE} shortcomings 1", DOCTOR, "rm -r ", full_disk, check="cache"),
    Case(f"{MACHINE} _missing 1", DOCTOR, "pip install 'no-such-library>=2'", unmet),
    Case(f"{MACHINE} answer 1", WHOLE, "pip install --force-reinstall torch", broken_torch),
    Case(f"{HOUSE} _compare 1", DOCTOR, "zoo registry restore lora --registry kept", no_record),
    Case(
        f"{HOUSE} _compare 1",
        DOCTOR,
        "zoo registry rebuild --registry kept",
        not_in_the_registry,
        check="copy",
    ),
    Case(f"{HOUSE} _compare 1", DOCTOR, "mv ", not_an_adapter, check="notes"),
    Case(f"{HOUSE} _work 1", DOCTOR, "rm -r ", half_made, check="half"),
    Case(f"{HOUSE} _work 2", DOCTOR, "zoo resume ", stopped_training, check="a training of 'mine'"),
    Case(f"{HOUSE} _lock 1", DOCTOR, "fuser ", held, check=".lock"),
    Case(f"{HOUSE} _left 1", DOCTOR, "rm -r ", half_written, check=".tmp"),
    Case(
        f"{OWN} adapters 1",
        DOCTOR,
        "zoo import theirs --name mine --replace --task bert-imdb --labels bad,good --base path:base",
        imported,
        check="adapters/mine",
    ),
    Case(f"{OWN} adapters 1", DOCTOR, "zoo rm mine --registry kept", origin_gone, check="adapters/mine"),
    Case(f"{OWN} adapters 1", DOCTOR, "zoo rm lora --registry kept", trained_again, check="adapters/lora"),
    Case(f"{HOUSE} _begun 1", DOCTOR, "zoo registry rebuild --registry kept", killed, check=".begun"),
    Case(f"{HOUSE} _downloads 1", DOCTOR, "find ", cut_off, check="hf"),
]
SLOW = [
    Case(f"{BASES} _on_hub 2", WHOLE, "hf auth login", moved(private=True)),
    Case(f"{MACHINE} shortcomings 1", DOCTOR, "hf cache prune", full_disk, check="hf-home"),
    Case(f"{OWN} adapters 1", DOCTOR, "--name lora-2 --registry kept", lost_file, check="adapters/lora"),
    Case(f"{OWN} adapters 1", DOCTOR, "--name lora-2 --registry kept", lost_head, check="adapters/lora"),
    Case(f"{HOUSE} _compare 1", DOCTOR, "--name lora-2 --registry kept", no_folder, check="adapters/lora"),
]
