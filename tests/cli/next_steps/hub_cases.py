"""What the Hub and adapters of others refuse, by the place that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.next_steps.harness import Case, World
from tests.hub.local_hub import LocalHub
from tests.hub.test_publish import BASE, add_adapter, save_weights
from tests.records import add_record, make_base
from tests.third_party import adapter_files, put_down
from zoo.models.hash_cache import sha256

KEPT = "--registry kept"
NAME = "lora-bert-imdb"
PULL = "zoo/hub/pull.py"
IMPORT = "zoo/hub/import_adapter.py"
INFER = "zoo/hub/infer_record.py"
CLIENT = "zoo/hub/client.py to_zoo_error"
CHECKS = "zoo/hub/publish_checks.py"
TRIAL = f"publish {NAME} me/{NAME} --dry-run {KEPT}"


def plain(world: World) -> None:
    put_down(world.folder / "plain", adapter_files(world.folder / "base"))


def taken(world: World) -> None:
    plain(world)
    add_record(world.registry, "mine")


def other_base(world: World) -> None:
    plain(world)
    world.base("distilbert", "other")


def pickled(world: World) -> None:
    import torch
    from safetensors.torch import load

    files = adapter_files(world.folder / "base")
    folder = put_down(world.folder / "plain", {"adapter_config.json": files["adapter_config.json"]})
    torch.save(load(files["adapter_model.safetensors"]), folder / "adapter_model.bin")


def online(world: World) -> LocalHub:
    hub: LocalHub = world.fixture("hub")
    world.fixture("waits")
    world.env |= hub.env(world.folder / "home")
    return hub


def holds(repo: str, *, family: str | None = None, below: str = "", **files: bytes) -> Callable[[World], Any]:
    """The Hub has a repository: an adapter, or a base of the family."""

    def state(world: World) -> LocalHub:
        hub = online(world)
        if family is not None:
            folder = world.base(family, "of-the-hub")
            found = {path.name: path.read_bytes() for path in folder.iterdir()}
        else:
            found = adapter_files(world.folder / "base")
        hub.put(repo, {f"{below}{name}": content for name, content in {**found, **files}.items()})
        return hub

    return state


def only_a_card(world: World) -> None:
    online(world).put("org/none", {"README.md": b"---\nlicense: mit\n---\n"})


def lies(**told: Any) -> Callable[[World], None]:
    def state(world: World) -> None:
        holds("org/plain")(world).lie("org/plain", "adapter_model.safetensors", **told)

    return state


def honest(world: World) -> None:
    world.fixture("hub").find("models", "org/plain", "main").lies.clear()


def gated(world: World) -> None:
    holds("org/plain")(world).gated = {"org/plain"}


def no_room(world: World) -> None:
    holds("org/plain")(world)
    world.patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0})())


def with_base(world: World) -> None:
    hub = holds("org/plain")(world)
    hub.put(BASE, {path.name: path.read_bytes() for path in (world.folder / "base").iterdir()})


def set_offline(world: World) -> None:
    online(world)
    world.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def set_online(world: World) -> None:
    world.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def publishable(world: World, of_base: dict[str, Any] | None = None, **changes: Any) -> LocalHub:
    hub = online(world)
    world.patch.setenv("HF_TOKEN", "hf_mine")
    save_weights(world.folder / "model.safetensors", 3.0)
    weights = world.folder / "model.safetensors"
    hub.put(BASE, {"config.json": b"{}", "model.safetensors": weights.read_bytes()})
    base = make_base(weights={"model.safetensors": sha256(weights)}, revision=None, **(of_base or {}))
    add_adapter(world.registry, **{"base": base, **changes})
    return hub


def without_licence(world: World) -> None:
    publishable(world, {"licence": None})


def local_base(world: World) -> None:
    publishable(world, {"id": "local:bert", "source": "local", "location": "path:/home/anna/bert"})


def changed_weights(world: World) -> None:
    publishable(world)
    save_weights(world.registry.adapter_folder(NAME) / "adapter_model.safetensors", 9.0)


def _card(world: World) -> Path:
    return world.registry.adapter_folder(NAME) / "README.md"


def edited_number(world: World) -> None:
    publishable(world)
    card = _card(world)
    text = card.read_text(encoding="utf-8")
    assert "0.88" in text
    card.write_text(text.replace("0.88", "0.98"), encoding="utf-8")


def old_card(world: World) -> None:
    publishable(world)
    _card(world).write_text("---\nlicense: apache-2.0\n---\nMine.\n", encoding="utf-8")


def publishable_offline(world: World) -> None:
    publishable(world)
    set_offline(world)


def public(world: World) -> None:
    publishable(world).put(f"me/{NAME}", {"README.md": b"mine"}, private=False)


def token(value: str | None) -> Callable[[World], None]:
    def state(world: World) -> None:
        publishable(world)
        world.patch.delenv("HF_TOKEN")
        if value is not None:
            world.patch.setenv("HF_TOKEN", value)

    return state


def fails(status: int, path: str = "/commit/") -> Callable[[World], None]:
    def state(world: World) -> None:
        publishable(world).fail("POST", path, status=status)

    return state


def several_configurations(world: World) -> None:
    rows = json.dumps([{"text": f"a film {one}", "label": one % 2} for one in range(40)])
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}.json\n"
        for name in ("a", "b")
    )
    files = {"README.md": f"{card}---\n".encode(), "a.json": rows.encode(), "b.json": rows.encode()}
    online(world).put("org/films", files, repo_type="dataset")


def a_clone(name: str) -> Callable[[World], None]:
    """A folder that was cloned without its large files."""

    def state(world: World) -> None:
        plain(world)
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        (world.folder / "plain" / name).write_bytes(pointer)

    return state


def pickled_on_the_hub(world: World) -> None:
    pickled(world)
    files = {path.name: path.read_bytes() for path in (world.folder / "plain").iterdir()}
    online(world).put("org/pickled", files)


CASES = [
    Case(
        "zoo/models/safetensors_header.py _not_whole 1",
        f"import ./plain {KEPT}",
        "lfs pull",
        a_clone("adapter_model.safetensors"),
    ),
    Case(
        "zoo/security/safe_read.py read_text 1",
        f"import ./plain {KEPT}",
        "lfs pull",
        a_clone("adapter_config.json"),
    ),
    Case(f"{IMPORT} import_folder 1", f"import plain/adapter_config.json {KEPT}", "zoo import plain", plain),
    Case(
        f"{IMPORT} import_folder 2", f"import ./plian {KEPT}", "zoo import", plain, fill={"FOLDER": "./plain"}
    ),
    Case(f"{IMPORT} register 1", f"import ./plain --convert-bin {KEPT}", "zoo import ./plain", plain),
    Case(f"{IMPORT} check_new_name 1", f"import ./plain --name mine {KEPT}", "--name mine-2", taken),
    Case(
        f"{IMPORT} _check_fit 1",
        f"import ./plain --base other {KEPT}",
        "--base FOLDER",
        other_base,
        fill={"FOLDER": "base"},
    ),
    Case(
        f"{INFER} _asserted_base 1",
        f"import ./plain --base 'no model' {KEPT}",
        "--base FOLDER",
        plain,
        fill={"FOLDER": "base"},
    ),
    Case(f"{INFER} _check_task 1", f"import ./plain --task tinyllama-chat {KEPT}", "zoo tasks", plain),
    Case(f"{INFER} _labels 1", f"import ./plain --labels a,b,c {KEPT}", "--labels label0,label1", plain),
    Case(f"{PULL} _parse 1", f"pull 'not a repository' {KEPT}", "zoo search", online),
    Case(
        f"{PULL} _wanted 2",
        f"import org/plain --convert-bin {KEPT}",
        "zoo import org/plain",
        holds("org/plain"),
    ),
    Case(
        f"{PULL} _no_adapter 1",
        f"pull org/nested {KEPT}",
        "hf download org/nested --local-dir nested && zoo import nested/last/best",
        holds("org/nested", below="last/best/"),
    ),
    Case(
        f"{PULL} _no_adapter 2",
        f"pull org/whole {KEPT}",
        "zoo train lora bert-imdb --base hub:org/whole --registry kept",
        holds("org/whole", family="bert"),
        also="--data reviews.csv --dry-run",
    ),
    Case(f"{PULL} _no_adapter 3", f"pull org/none {KEPT}", "zoo search", only_a_card),
    Case(
        f"{PULL} _fetch 2",
        f"pull org/plain {KEPT}",
        f"zoo pull org/plain {KEPT}",
        lies(oid="0" * 64),
        meanwhile=honest,
    ),
    Case(
        f"{PULL} _fetch 1",
        f"pull org/plain {KEPT}",
        f"zoo pull org/plain {KEPT}",
        lies(body=b"x"),
        meanwhile=honest,
    ),
    Case(f"{PULL} pull 1", f"pull org/plain {KEPT}", "zoo list --sort bytes --registry kept", no_room),
    Case(
        "zoo/hub/search.py search 1",
        "search bert",
        "unset HF_HUB_OFFLINE && zoo search bert",
        set_offline,
        meanwhile=set_online,
    ),
    Case(
        "plugins/zoo_sources/hub.py _wanted 1",
        "data check hub:org/films --task bert-imdb --base base",
        "zoo data check hub:org/films:a",
        several_configurations,
    ),
    Case(
        "plugins/zoo_sources/hub.py _wanted 2",
        "data check hub:org/films:c --task bert-imdb --base base",
        "zoo data check hub:org/films:a",
        several_configurations,
    ),
    Case("zoo/cli/publish.py publish_command 1", f"publish {NAME} {KEPT}", "--yes", publishable),
    Case(
        "zoo/hub/publish.py _repository 1",
        f"publish {NAME} 'me/my adapter!' --dry-run {KEPT}",
        f"zoo publish {NAME} me/my-adapter",
        publishable,
    ),
    Case(f"{CHECKS} check_licence 1", TRIAL, "--license apache-2.0", without_licence),
    Case(f"{CHECKS} check_licence 1", TRIAL, "--license apache-2.0", without_licence, check="licence"),
    Case(f"{CHECKS} check_metrics 1", TRIAL, "--no-metrics", lambda world: publishable(world, metrics=[])),
    Case(f"{CHECKS} check_base 1", TRIAL, "--base-id OWNER/NAME", local_base, fill={"OWNER/NAME": BASE}),
    Case(
        f"{CHECKS} check_base 2",
        f"{TRIAL} --base-id org/nowhere",
        "--base-id OWNER/NAME",
        publishable,
        fill={"OWNER/NAME": BASE},
    ),
    Case(
        f"{CHECKS} check_base 3",
        f"{TRIAL} --base-id org/whole",
        "--base-id OWNER/NAME",
        lambda world: (publishable(world), holds("org/whole", family="bert")(world)),
        fill={"OWNER/NAME": BASE},
    ),
    Case(f"{CHECKS} check_unchanged 1", TRIAL, f"zoo verify {NAME} --registry kept", changed_weights, code=5),
    Case(f"{CHECKS} check_card 1", TRIAL, f"zoo card {NAME} --write --registry kept", old_card, check="card"),
    Case(f"{CHECKS} check_card 2", TRIAL, f"zoo card {NAME} --write --registry kept", edited_number),
    Case(
        "zoo/hub/upload.py Upload._check_visibility 1",
        f"publish {NAME} me/{NAME} --yes {KEPT}",
        "--public",
        public,
    ),
    Case(
        "zoo/hub/upload.py account 1",
        f"publish {NAME} --yes {KEPT}",
        f"unset HF_HUB_OFFLINE && zoo publish {NAME} --yes --registry kept",
        publishable_offline,
        meanwhile=set_online,
    ),
    Case(f"{CLIENT} 1", f"pull org/plain {KEPT}", "hf auth login", gated),
    Case(f"{CLIENT} 3", f"publish {NAME} --yes {KEPT}", "hf auth login", token(None)),
    Case(f"{CLIENT} 4", f"publish {NAME} --yes {KEPT}", "hf auth login", token("hf_other")),
    Case(f"{CLIENT} 5", f"publish {NAME} --yes {KEPT}", f"zoo publish {NAME} --yes", fails(412)),
    Case(f"{CLIENT} 6", f"publish {NAME} --yes {KEPT}", "hf auth login", token("hf_\u00fc")),
]
SLOW = [
    Case(
        f"{PULL} _wanted 1",
        f"pull org/pickled {KEPT}",
        "zoo import org/pickled --convert-bin",
        pickled_on_the_hub,
    ),
    Case("zoo/hub/import_adapter.py import_folder 3", f"import ./plain {KEPT}", "--convert-bin", pickled),
    Case(
        f"{PULL} verify_locally 1",
        f"import org/plain --task bert-imdb {KEPT}",
        "zoo verify plain --registry kept",
        with_base,
        warns=True,
    ),
]
