"""Filters, settings, completion, schemas, registries and local bases that are refused, by the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.next_steps.harness import TRAIN, Case, World
from tests.cli.next_steps.hub_cases import holds, online, plain, set_offline
from tests.records import add_record
from tests.third_party import adapter_files, put_down
from zoo.testing.data import write_conversations

KEPT = "--registry kept"
DRY = f"{TRAIN} --dry-run"
CHAT = "data check --task tinyllama-chat --base llama"
CONFIG = "zoo/runtime/config.py"
COMPLETION = "zoo/cli/completion.py"
FILTERS = "zoo/cli/filters.py"
LOCAL = "plugins/zoo_sources/local.py Local.resolve"
FORMAT = "zoo/registry/registry_json.py"


def one(world: World) -> None:
    add_record(world.registry)


def without_offers(world: World) -> None:
    world.patch.setattr("zoo.cli.first_adapter.local_offers", lambda _: [])
    world.patch.setattr("zoo.plugins.source.local_offers", lambda _: [])


def variable(name: str, value: str) -> Callable[[World], None]:
    return lambda world: world.patch.setenv(name, value)


def config(text: str) -> Callable[[World], None]:
    def state(world: World) -> None:
        world.patch.setenv("ZOO_CONFIG", str(world.write("config.toml", text)))

    return state


def home(world: World) -> None:
    world.patch.setenv("HOME", str(world.folder))
    world.patch.setenv("SHELL", "/bin/bash")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR", "ZDOTDIR"):
        world.patch.delenv(name, raising=False)


def own_completion(world: World) -> None:
    home(world)
    world.write(".local/share/bash-completion/completions/zoo", "complete -W 'a b' zoo\n")


def another_shell(world: World) -> None:
    home(world)
    world.patch.setenv("SHELL", "/bin/tcsh")


def no_tracker(world: World) -> None:
    world.patch.setitem(__import__("sys").modules, "swanlab", None)


def impatient(world: World) -> None:
    online(world)
    world.patch.setenv("ZOO_HUB_PATIENCE", "soon")


def cut_from(state: Callable[[World], object]) -> Callable[[World], None]:
    def offline(world: World) -> None:
        state(world)
        world.patch.setenv("HF_HUB_OFFLINE", "1")
        set_offline(world)

    return offline


def films(world: World) -> None:
    without_offers(world)
    rows = "".join(f"a film {number},{number % 2}\n" for number in range(40))
    online(world).put("org/films", {"train.csv": f"text,label\n{rows}".encode()}, repo_type="dataset")


def chats(world: World) -> None:
    """The Hub lacks the task's data; a person has rows."""
    online(world)
    world.base("llama", "llama")
    write_conversations(world.folder / "talk.jsonl")


def dolly(world: World) -> None:
    chats(world)
    rows = (world.folder / "talk.jsonl").read_bytes()
    hub = world.fixture("hub")
    hub.put("databricks/databricks-dolly-15k", {"train.jsonl": rows}, repo_type="dataset")


def nested(world: World) -> None:
    put_down(world.folder / "outer" / "inner", adapter_files(world.folder / "base"))


def empty(world: World) -> None:
    online(world)
    (world.folder / "empty").mkdir()


def table(world: World) -> None:
    world.write("table.csv", "a,b\n1,2\n")


def a_folder_as_registry(world: World) -> None:
    Path(world.folder / "kept" / "registry.json").mkdir()
    (world.folder / "other").mkdir()


def note(world: World) -> None:
    world.write("note.txt", "a note")


def note_alone(world: World) -> None:
    note(world)
    without_offers(world)


def packed(world: World) -> None:
    world.write("model.gguf", "GGUF")


def on(base: str) -> str:
    return DRY.replace("--base base", f"--base {base}")


CASES = [
    Case("zoo/cli/adapters.py list_command 1", f"list {KEPT}", "zoo tasks", without_offers, warns=True),
    Case("zoo/cli/common.py _registry_option.find 1", "list --registry nope", "zoo config get registry"),
    Case(f"{FILTERS} _check_base 1", f"list --base ./nope {KEPT}", "zoo sources"),
    Case(f"{FILTERS} _check_base 2", f"list --base base {KEPT}", f"zoo list {KEPT} --base ./base"),
    Case(f"{FILTERS} _check_base 3", f"list --base xyzzy {KEPT}", "zoo sources"),
    Case(f"{FILTERS} check_on_hub 1", f"list --base bert-bas-cased {KEPT}", "--base bert-base-cased"),
    Case(f"{FILTERS} _check_metric 1", f"list --min accuracyy=.9 {KEPT}", "--min accuracy=.9", one),
    Case(f"{FILTERS} _check_metric 1", f"list --max xyzzy=.9 {KEPT}", f"zoo list {KEPT}", one),
    Case("zoo/cli/config.py set_command 1", "config set precision fp16", "zoo config set precision fp32"),
    Case(f"{CONFIG} check_key 1", "config get wied", "zoo config list"),
    Case(
        f"{CONFIG} look_up 1",
        "config get wide",
        "unset ZOO_WIDE && zoo config get wide",
        variable("ZOO_WIDE", "maybe"),
    ),
    Case(f"{CONFIG} read 1", "config list", "zoo config unset width", config("width = 100\n")),
    Case(f"{CONFIG} read 2", "config list", "zoo config unset wide", config("wide = 'always'\n")),
    Case(
        f"{CONFIG} _text 1",
        "config list",
        "export ZOO_CONFIG=FILE && zoo config list",
        variable("ZOO_CONFIG", "."),
        fill={"FILE": "mine.toml"},
    ),
    Case(
        f"{CONFIG} write 1",
        "config set wide true",
        "export ZOO_CONFIG=FILE && zoo config set wide true",
        variable("ZOO_CONFIG", "/proc/zoo/config.toml"),
        fill={"FILE": "mine.toml"},
    ),
    Case(
        f"{COMPLETION} _install 1",
        "completion bash --install",
        "completions/zoo.old && zoo completion bash --install",
        own_completion,
    ),
    Case(f"{COMPLETION} _install 2", "completion bash --install", "source ~/.local/", home, warns=True),
    Case(f"{COMPLETION} _install 2", "completion zsh --install", ">> ~/.zshrc && source", home, warns=True),
    Case(f"{COMPLETION} _shell 1", "completion", "zoo completion bash --install", another_shell),
    Case(
        f"{COMPLETION} completion_command 1",
        "completion --install --uninstall",
        "zoo completion --install",
        home,
    ),
    Case("zoo/cli/schema.py _outputs 1", "schema data chekc", "zoo schema data check"),
    Case("zoo/cli/schema.py _outputs 1", "schema xyzzy", "zoo schema"),
    Case("zoo/cli/schema.py _outputs 2", "schema plugin", "zoo schema plugin check"),
    Case("zoo/cli/schema.py _outputs 2", "schema completion", "zoo schema"),
    Case("zoo/runtime/trackers.py check_known 1", f"{DRY} --tracker tensorbord", "--tracker none"),
    Case(
        "zoo/runtime/trackers.py check_installed 1",
        f"{DRY} --tracker swanlab",
        "pip install swanlab",
        no_tracker,
    ),
    Case(
        "zoo/hub/waits.py patience 1", "search bert", "unset ZOO_HUB_PATIENCE && zoo search bert", impatient
    ),
    Case(
        "zoo/hub/client.py to_zoo_error 2",
        f"pull org/plain {KEPT}",
        f"unset HF_HUB_OFFLINE && zoo pull org/plain {KEPT}",
        cut_from(holds("org/plain")),
    ),
    Case(
        "zoo/hub/client.py to_zoo_error 2",
        "data check hub:org/films --task bert-imdb --base base",
        "unset HF_HUB_OFFLINE && zoo data check hub:org/films",
        cut_from(films),
    ),
    Case("zoo/plugins/source.py resolve 2", CHAT, f"zoo {CHAT} FILE", chats, fill={"FILE": "talk.jsonl"}),
    Case("zoo/plugins/source.py resolve 2", CHAT, f"unset HF_HUB_OFFLINE && zoo {CHAT}", cut_from(dolly)),
    Case(f"{LOCAL} 1", on("note.txt"), "--base pip:", note),
    Case(f"{LOCAL} 1", on("model.gguf"), "--base pip:", packed),
    Case(f"{LOCAL} 1", on("note.txt"), "zoo sources", note_alone),
    Case(f"{LOCAL} 2", on("plain"), f"zoo import plain {KEPT}", plain),
    Case(f"{LOCAL} 3", on("kept"), "--base pip:"),
    Case(f"{LOCAL} 3", on("kept"), "zoo sources", without_offers),
    Case(
        "zoo/adapters/formats.py read_adapter_config 1",
        f"import ./outer {KEPT}",
        f"zoo import outer/inner {KEPT}",
        nested,
    ),
    Case(
        "zoo/adapters/formats.py read_adapter_config 1",
        f"import ./base {KEPT}",
        f"zoo train lora bert-imdb --base base {KEPT}",
        also="--data reviews.csv --dry-run",
    ),
    Case("zoo/adapters/formats.py read_adapter_config 1", f"import ./empty {KEPT}", "zoo search", empty),
    Case(f"{FORMAT} not_ours 1", "list --registry table.csv", "zoo list --registry .", table),
    Case(
        f"{FORMAT} not_ours 1",
        f"{DRY} --registry table.csv".replace(f"{KEPT} ", ""),
        "--registry .",
        table,
    ),
    Case(
        f"{FORMAT} not_ours 1",
        f"list {KEPT}",
        "zoo list --registry FOLDER",
        a_folder_as_registry,
        fill={"FOLDER": "other"},
    ),
    Case("zoo/registry/folders.py read_record 1", f"show ./plain {KEPT}", f"zoo import plain {KEPT}", plain),
]
SLOW = [
    Case(
        "zoo/cli/adapters.py list_command 1",
        f"list {KEPT}",
        "zoo train lora bert-imdb --base pip:",
        warns=True,
        also="--dry-run",
    ),
]
