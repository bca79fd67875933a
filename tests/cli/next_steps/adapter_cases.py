"""Adapters that cannot be used as asked, by the place that says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import msgspec

from tests.cli.next_steps.harness import Case, World
from tests.conftest import reviews, write_csv
from tests.records import change_weights, make_base, make_record
from zoo.registry.schema import UNKNOWN, AdapterSpec
from zoo.testing.data import write_conversations, write_pictures

ADAPTERS = "zoo/adapters"
KEPT = "--registry kept"
PREDICT = f"predict lora 'A fine film.' {KEPT}"


def trained(world: World) -> None:
    world.keep_trained()


def changed(**settings: object) -> Callable[[World], None]:
    """`lora` with another record, in the registry and in its folder."""

    def state(world: World) -> None:
        registry = world.keep_trained()
        record = registry.get("lora")
        registry.replace(msgspec.structs.replace(record, **settings))

    return state


def other_data(world: World) -> None:
    registry = world.keep_trained()
    record = registry.get("lora")
    assert record.data is not None
    path = write_csv(world.folder / "mine.csv", reviews(seed=1))
    data = msgspec.structs.replace(record.data, location=f"path:{path}")
    registry.replace(msgspec.structs.replace(record, data=data))


def other_rows(world: World) -> None:
    world.keep_trained()
    write_csv(world.folder / "other.csv", reviews(seed=1))


def gone_rows(world: World) -> None:
    registry = world.keep_trained()
    record = registry.get("lora")
    assert record.data is not None
    data = msgspec.structs.replace(record.data, location="path:/nowhere/reviews.csv")
    registry.replace(msgspec.structs.replace(record, data=data))


def gone_base(world: World) -> None:
    registry = world.keep_trained()
    record = registry.get("lora")
    base = msgspec.structs.replace(record.base, location="path:/nowhere/base")
    registry.replace(msgspec.structs.replace(record, base=base))
    trained = world.fixture("trained_bert")
    shutil.copytree(trained.path.parent / "base", world.folder / "true-base")


def other_weights(world: World) -> None:
    world.keep_trained()
    change_weights(
        world.folder / "base" / "model.safetensors",
        lambda tensors: tensors["embeddings.word_embeddings.weight"].mul_(2),
    )


def other_config(world: World) -> None:
    registry = world.keep_trained()
    record = registry.get("lora")
    registry.replace(
        msgspec.structs.replace(record, base=msgspec.structs.replace(record.base, config_sha256="ab" * 32))
    )


def other_family(world: World) -> None:
    world.keep_trained()
    world.base("distilbert", "other")


def chats(world: World) -> None:
    world.base("llama", "llama")
    write_conversations(world.folder / "talk.jsonl")
    done = world.run(
        "train lora tinyllama-chat --base llama --data talk.jsonl --name talk --epochs 1 --limit 8 "
        f"--eval-limit 4 --precision fp32 {KEPT}"
    )
    assert done.code == 0, done.err


def lost_file(world: World) -> None:
    registry = world.keep_trained()
    (registry.adapter_folder("lora") / "adapter_model.safetensors").unlink()


def full(world: World) -> None:
    world.keep_trained()
    world.write("merged/notes.txt", "mine")


def retrieval(world: World) -> None:
    world.base("clip", "clip")
    write_pictures(world.folder / "pictures")
    done = world.run(
        "train lora clip-retrieval --base clip --data pictures --name clip --epochs 1 "
        f"--precision fp32 {KEPT}"
    )
    assert done.code == 0, done.err


def _spec() -> AdapterSpec:
    return make_record().spec


def nobody_s_base(world: World) -> None:
    unknown = make_base(id=UNKNOWN, source=UNKNOWN, location="", weights={}, revision=None)
    changed(base=unknown)(world)


CASES = [
    Case(
        f"{ADAPTERS}/evaluate.py HeldOut.rows 1",
        f"evaluate lora {KEPT}",
        "zoo evaluate lora --data FILE --registry kept",
        changed(data=None),
        fill={"FILE": "reviews.csv"},
    ),
    Case(
        f"{ADAPTERS}/evaluate.py HeldOut.rows 2",
        f"evaluate lora {KEPT}",
        "zoo evaluate lora --data FILE --registry kept",
        other_data,
        fill={"FILE": "reviews.csv"},
    ),
    Case(f"{ADAPTERS}/find_base.py find 1", PREDICT, "zoo check lora --registry kept", nobody_s_base),
    Case(
        f"{ADAPTERS}/find_base.py find 2",
        PREDICT,
        "--base FOLDER",
        gone_base,
        fill={"FOLDER": "true-base"},
    ),
    Case(f"{ADAPTERS}/integrity.py check_files 1", PREDICT, "zoo rm lora --registry kept", lost_file),
    Case(
        f"{ADAPTERS}/integrity.py _check_installed 1",
        PREDICT,
        "zoo tasks",
        changed(spec=msgspec.structs.replace(_spec(), task=UNKNOWN)),
    ),
    Case(
        f"{ADAPTERS}/integrity.py _check_installed 2",
        PREDICT,
        "pip install zoo-nowhere",
        changed(
            spec=msgspec.structs.replace(_spec(), task="nowhere"),
            plugins={"task": "zoo-nowhere 1.0", "method": "adapter-zoo 0.1.0"},
        ),
    ),
    Case(
        f"{ADAPTERS}/load.py Adapters._check_base 1",
        f"{PREDICT} --base base",
        "--allow-other-base",
        other_weights,
    ),
    Case(
        f"{ADAPTERS}/merge.py _check_free 1",
        f"merge lora -o merged {KEPT}",
        "-o FOLDER",
        full,
        fill={"FOLDER": "merged-too"},
    ),
    Case(
        f"{ADAPTERS}/chat.py Chat.__init__ 1",
        f"chat lora --prompt 'A fine film.' {KEPT}",
        "zoo predict lora 'A fine film.' --registry kept",
        trained,
    ),
    Case(
        f"{ADAPTERS}/load.py Adapters._check_base 2",
        PREDICT,
        "zoo verify lora --registry kept",
        other_config,
        warns=True,
    ),
    Case(
        f"{ADAPTERS}/load.py _check_fits 1",
        f"{PREDICT} --base other --allow-other-base",
        "zoo check lora --registry kept",
        other_family,
    ),
    Case("zoo/cli/card.py card_command 1", f"card lora --force {KEPT}", "--write", trained),
    Case("zoo/cli/common.py confirm_unless 1", f"rm lora head {KEPT}", "zoo rm lora head", trained),
    Case(
        "zoo/cli/use.py predict_command 1", f"predict lora {KEPT}", "zoo predict lora 'A fine film.'", trained
    ),
    Case(
        "zoo/cli/use.py _check_inputs 1",
        f"predict lora --pair 'A.' 'B.' {KEPT}",
        "zoo predict lora 'A fine film.' --registry kept",
        trained,
    ),
    Case(
        "zoo/training/reproduce.py _find_rows 1",
        f"reproduce lora {KEPT}",
        "--data FILE",
        gone_rows,
        fill={"FILE": "reviews.csv"},
    ),
    Case(
        "zoo/training/reproduce.py _recorded 1",
        f"reproduce lora {KEPT}",
        "zoo verify lora --registry kept",
        changed(data=None),
    ),
    Case(
        "zoo/training/reproduce.py _reproduce 1",
        f"reproduce lora --data other.csv {KEPT}",
        "--data FILE",
        other_rows,
        fill={"FILE": "reviews.csv"},
    ),
    Case(
        "zoo/training/reproduce.py _reproduce 1",
        f"reproduce lora --base base {KEPT}",
        "--base FOLDER",
        other_weights,
        fill={"FOLDER": "kept/base"},
    ),
    Case("zoo/registry/store.py _check_has 1", f"show lroa {KEPT}", "zoo show lora --registry kept", trained),
    Case("zoo/registry/store.py _check_has 1", f"show something-else {KEPT}", "zoo list", trained),
]
SLOW = [
    Case("zoo/cli/use.py chat_command 1", f"chat talk --prompt ' ' {KEPT}", "zoo chat talk --prompt", chats),
    Case(
        "zoo/tasks/causal_lm/generation.py room 1",
        f"chat talk --prompt Hello --max-new-tokens 600 {KEPT}",
        "--max-new-tokens 256",
        chats,
    ),
    Case(
        "zoo/tasks/image_text/task.py ImageTextRetrieval.predict 1",
        f"predict clip 'a red square' {KEPT}",
        "--gallery FOLDER",
        retrieval,
        fill={"FOLDER": "pictures"},
    ),
]
