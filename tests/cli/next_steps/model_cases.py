"""Bases of other kinds, templates of no use, and plugins that do not do their work, by the place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import zoo_sources.pip as packages
from tests.cli.next_steps.accident_cases import fixed
from tests.cli.next_steps.harness import TRAIN, Case, World
from tests.cli.next_steps.plugin_cases import BAD, installed
from zoo.testing.data import write_conversations
from zoo_sources.pip import Pip

KEPT = "--registry kept"
DRY = f"{TRAIN} --dry-run"
CHAT = "data check talk.jsonl --task tinyllama-chat --base llama"
TEMPLATE = "zoo/tasks/causal_lm/chat_template.py _not_usable 1"
SMOLLM = "pip:HuggingFaceTB/SmolLM2-135M-Instruct"
UNUSABLE = (
    "",
    "{{ raise_exception('no system') }}",
    "{{ bos_token }}",
    "{% for m in messages %}{{ loop.length }}{{ m['content'] | upper }}{% endfor %}",
)
"""Templates: none, one that refuses, one without the answers, and one that changes them."""
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def of_type(kind: str) -> Callable[[World], None]:
    """`base` is of another model type, of which the zoo knows nothing."""

    def state(world: World) -> None:
        config = {"model_type": kind, "vocab_size": 200, "embedding_size": 32, **SMALL}
        world.write("base/config.json", json.dumps(config))

    return state


def chats(world: World) -> None:
    world.base("llama", "llama")
    write_conversations(world.folder / "talk.jsonl")


def template(text: str) -> Callable[[World], None]:
    """The base `llama` has this chat template; a small chat model is in the package of the other."""

    def state(world: World) -> None:
        chats(world)
        world.write("llama/chat_template.jinja", text)
        small = world.base("llama", "small")
        world.patch.setattr(Pip, "prepare", lambda _, found, *__, **___: replace(found, path=small))

    return state


def no_other(world: World) -> None:
    template("")(world)
    find = packages._installed
    world.broken.setattr(packages, "_installed", lambda name: None if name == "gguf" else find(name))


def slow_tokenizer(world: World) -> None:
    template("{{ messages }}")(world)
    world.broken.setattr("transformers.PreTrainedTokenizerFast.is_fast", False)


def deaf_tokenizer(world: World) -> None:
    """To whatever is no letter."""
    path = world.folder / "base" / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["normalizer"] = {"type": "Replace", "pattern": {"Regex": "[^A-Za-z :]"}, "content": ""}
    path.write_text(json.dumps(settings), encoding="utf-8")


def written(kind: str, source: str) -> Callable[[World], None]:
    """A plugin `bad` whose module is on the path."""

    def state(world: World) -> None:
        world.write("site/zoo_bad.py", f"{source}\nzoo_api = 1\n")
        world.patch.setenv("PYTHONPATH", str(world.folder / "site"), prepend=os.pathsep)
        made: dict[str, Any] = {}
        exec(source, made)
        installed(replace(BAD, kind=kind, class_name="Bad"), zoo_api=1, Bad=made["Bad"])(world)

    return state


TAGS = """
from zoo import TextClassification

class Bad(TextClassification):
    name, summary = "bad", "a kind of task that the kit has no rows for"
    labels, peft_type = ("negative", "positive"), "TOKEN_CLS"
    bases = data = ("hub:org/none",)
"""
FORGETFUL = """
from zoo_methods.bitfit import BitFit

class Bad(BitFit):
    name = "bad"

    def state(self, model):
        return {name: value for name, value in super().state(model).items() if "classifier" in name}
"""


CASES = [
    Case(
        "plugins/zoo_methods/prompt.py _tokens 2",
        f"{DRY} -s init_text='#'".replace("lora", "prompt"),
        "-s 'init_text=Classify this text:'",
        deaf_tokenizer,
    ),
    Case(
        "zoo/plugins/peft_method.py PeftMethod._settle_targets 1",
        DRY.replace("lora", "ia3"),
        "-s targets=all-linear",
        of_type("squeezebert"),
    ),
    Case(
        "zoo/plugins/transformer_layers.py layers_of 1",
        DRY.replace("lora", "bottleneck"),
        "zoo methods",
        of_type("squeezebert"),
    ),
    Case("zoo/training/parameter_counts.py attach_without_weights 1", DRY, "zoo tasks", of_type("wav2vec2")),
    *(Case(TEMPLATE, CHAT, f"--base {SMOLLM}", template(text)) for text in UNUSABLE),
    Case(TEMPLATE, CHAT, f"--base {SMOLLM}", slow_tokenizer, meanwhile=fixed),
    Case(TEMPLATE, CHAT, f"gguf && zoo {CHAT[:-5]}{SMOLLM}", no_other, meanwhile=fixed),
]
SLOW = [
    Case(
        "zoo/testing/plugin_checks.py _samples 1",
        "plugin check bad",
        "zoo plugin check bad --base FOLDER --data FILE",
        written("task", TAGS),
        fill={"FOLDER": "base", "FILE": "reviews.csv"},
    ),
    Case(
        "zoo/training/check_saved.py check_saved 1",
        TRAIN.replace("lora", "bad") + " --lr 0.1 --epochs 4",
        "zoo plugin check bad",
        written("method", FORGETFUL),
        code=5,
    ),
]
