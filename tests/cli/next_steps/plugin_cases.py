"""Methods that do not fit, and plugins that are broken or not there."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.cli.next_steps.harness import QUICK, TRAIN, Case, World
from zoo.plugins import manager
from zoo.plugins.manager import Plugin

KEPT = "--registry kept"
DRY = f"{TRAIN} --dry-run"
MANAGER = "zoo/plugins/manager.py"
PEFT = "zoo/plugins/peft_method.py PeftMethod"
SCAFFOLD = "zoo/plugins/scaffold.py"
METHODS = "plugins/zoo_methods"


def dry(method: str, options: str, base: str = "base") -> str:
    return f"train {method} bert-imdb --base {base} --data reviews.csv {QUICK} {KEPT} --dry-run {options}"


def llama(world: World) -> None:
    world.base("llama", "llama")


def distilbert(world: World) -> None:
    world.base("distilbert", "distilbert")


def quantised(world: World) -> None:
    path = world.folder / "base" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    path.write_text(json.dumps(config), encoding="utf-8")


def no_bf16(world: World) -> None:
    world.patch.setattr("zoo.runtime.device.has_bf16", lambda: False)


def without_bitsandbytes(world: World) -> None:
    find = sys.modules["zoo.plugins.method"].find_spec
    world.patch.setattr(
        "zoo.plugins.method.find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )


def installed(*plugins: Plugin, **attributes: Any) -> Callable[[World], None]:
    """Plugins are installed besides; `attributes` are those of their module `zoo_bad`."""

    def state(world: World) -> None:
        find = manager.find
        more = {one.kind: {one.name: one} for one in plugins}
        world.patch.setattr(manager, "find", lambda kind: {**find(kind), **more.get(kind, {})})
        module = types.ModuleType("zoo_bad")
        vars(module).update(attributes)
        world.patch.setitem(sys.modules, "zoo_bad", module)

    return state


def well(world: World) -> None:
    world.patch.undo()


BAD = Plugin("method", "bad", "zoo_bad", "zoo-bad 1.0")
TWINS = replace(
    BAD, distribution="zoo-bad 1.0 and zoo-worse 2.0", claimed_by=("zoo-bad 1.0", "zoo-worse 2.0")
)


def taken(world: World) -> None:
    (world.folder / "mine").mkdir()


CASES = [
    Case("zoo/cli/plugins.py _kind_of 2", "plugin check nowhere", "zoo plugins"),
    Case(
        "zoo/cli/__init__.py LazyGroup.resolve_command 1", "lsit --registry kept", "zoo list --registry kept"
    ),
    Case("zoo/cli/__init__.py main 1", f"list --metod lora {KEPT}", "zoo list --method lora --registry kept"),
    Case("zoo/cli/__init__.py main 1", f"show {KEPT}", "zoo list --registry kept"),
    Case("zoo/cli/__init__.py main 1", "train lora", "zoo tasks"),
    Case(f"{SCAFFOLD} write_package 1", "plugin new method mine", "zoo plugin new method mine-2", taken),
    Case(f"{SCAFFOLD} _check_name 1", "plugin new method 'A Method'", "zoo plugin new method my-a-method"),
    Case(
        f"{SCAFFOLD} _check_name 2",
        "plugin new method lora --into .",
        "zoo plugin new method my-lora --into .",
    ),
    Case(
        f"{MANAGER} load_module 1",
        DRY.replace("lora", "bad"),
        "pip uninstall zoo-worse",
        installed(TWINS),
    ),
    Case(
        f"{MANAGER} _check_api 2",
        DRY.replace("lora", "bad"),
        "pip install --upgrade zoo-bad",
        installed(BAD, zoo_api=0),
    ),
    Case(f"{MANAGER} _check_api 2", DRY.replace("lora", "bad"), "", installed(BAD, zoo_api=99)),
    Case(
        "zoo/plugins/method.py Method.check_installed 1",
        DRY.replace("lora", "qlora"),
        "[qlora]'",
        without_bitsandbytes,
    ),
    Case(f"{PEFT}.does_not_fit 1", dry("lora", "-s targets=nothing"), "zoo methods lora"),
    Case(f"{PEFT}.block 1", dry("oft", "-s oft_block_size=7"), "-s oft_block_size="),
    Case(f"{PEFT}._check_rank 1", dry("lora", "-s r=48 -s targets=q_proj,k_proj", "llama"), "-s r=32", llama),
    Case(f"{METHODS}/bitfit.py BitFit.attach 1", dry("bitfit", "-s targets=nothing"), "-s targets="),
    Case(f"{METHODS}/bitfit.py BitFit.attach 1", dry("bitfit", "", "llama"), "zoo train ln-tuning", llama),
    Case(
        f"{METHODS}/bottleneck.py Bottleneck.attach 1",
        dry("bottleneck", "-s reduction=100"),
        "-s reduction=32",
    ),
    Case(
        f"{METHODS}/ln_tuning.py LNTuning.fit 1", dry("ln-tuning", "-s targets=query"), "-s targets=LayerNorm"
    ),
    Case(
        f"{METHODS}/prefix.py Prefix.fit 1", dry("prefix", "", "distilbert"), "zoo train prompt", distilbert
    ),
    Case(f"{METHODS}/qlora.py QLora.attach 1", dry("qlora", ""), "zoo train lora", quantised),
    Case("zoo/runtime/device.py choose_precision 2", f"{DRY} --precision bf16", "--precision auto", no_bf16),
]
SLOW = [
    Case(
        "zoo/cli/plugins.py methods_command 1",
        "methods --base base",
        "--task TASK",
        fill={"TASK": "bert-imdb"},
    ),
    Case(
        "zoo/cli/plugins.py _kind_of 1",
        "plugin check head",
        "--kind",
        installed(replace(BAD, kind="task", name="head")),
    ),
    Case(
        "zoo/cli/plugins.py new_command 1",
        "plugin new task mine",
        "pip install -e mine && zoo plugin check mine",
        warns=True,
    ),
    Case(
        f"{METHODS}/prefix.py _refuse_checkpointing 1",
        f"train prefix bert-imdb --base llama --data reviews.csv {QUICK} {KEPT} --gradient-checkpointing",
        f"zoo train prefix bert-imdb --base llama --data reviews.csv {QUICK} {KEPT}",
        llama,
    ),
]
