"""The code on a card runs as it stands, where there is nothing but the Hub, and says what the zoo says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.hub.local_hub import LocalHub
from tests.records import make_base, make_record
from zoo.adapters import load
from zoo.cards.render import render
from zoo.cards.snippets import at_once, base_arguments, literal, usage
from zoo.registry.schema import AdapterRecord, AdapterSpec
from zoo.registry.store import Registry, dump
from zoo.testing import reviews, write_csv
from zoo.testing.data import write_conversations, write_pictures
from zoo.training.pipeline import train

Said = dict[str, tuple[dict[str, Any], list[Any]]]
"""Name -> the inputs of a card's snippet, and the outputs of each of its models."""
ADAPTERS = {
    "lora": ("lora", "bert-imdb", "bert"),
    "bitfit": ("bitfit", "bert-imdb", "bert"),
    "full": ("full", "bert-imdb", "bert"),
    "pairs": ("lora", "bert-mrpc", "bert"),
    "chat": ("lora", "tinyllama-chat", "llama"),
    "pictures": ("lora", "clip-retrieval", "clip"),
}
"""Name -> method, task, family of the base."""
RUN = """
import json, sys

def outputs(model, inputs):
    import torch

    with torch.no_grad():
        found = model.eval()(**inputs)
    return (found.logits if "logits" in found else found.logits_per_text).tolist()

said = {}
for name, blocks in json.load(open(sys.argv[1])).items():
    first = {"__name__": name}
    exec(compile(blocks[0], name, "exec"), first)
    inputs = first["inputs"]
    said[name] = {key: value.tolist() for key, value in inputs.items()}, [outputs(first["model"], inputs)]
    for block in blocks[1:]:
        other = {}
        exec(compile(block, name, "exec"), other)
        said[name][1].append(outputs(other["model"], inputs))
json.dump(said, open(sys.argv[2], "w"))
"""


def python_of(text: str) -> list[str]:
    """The blocks of Python on a card."""
    return [part.split("\n```")[0] for part in text.split("```python\n")[1:]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def trained(
    hub: LocalHub, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Registry, dict[str, AdapterRecord]]:
    """An adapter of each kind, and on the Hub its folder as it is published, with its base."""
    folder = tmp_path_factory.mktemp("snippets")
    registry = Registry(folder / "registry.json")
    pairs = [f"{text}\t{text} Again\t{label}" for text, label in reviews()]
    (folder / "pairs.tsv").write_text("\n".join(["sentence1\tsentence2\tlabel", *pairs]), encoding="utf-8")
    data = {
        "bert-imdb": write_csv(folder / "reviews.csv", reviews()),
        "bert-mrpc": folder / "pairs.tsv",
        "tinyllama-chat": write_conversations(folder / "talk.jsonl"),
        "clip-retrieval": write_pictures(folder / "pictures"),
    }
    published = {}
    for name, (method, task, family) in ADAPTERS.items():
        base = tiny_models[family]
        spec = AdapterSpec(
            method=method, task=task, name=name, base=str(base), data=str(data[task]), epochs=1.0,
            learning_rate=0.01, max_length=64, precision="fp32", limit=16, eval_limit=8,
        )  # fmt: skip
        record = train(spec, registry)
        base_id = f"tiny/{family}"
        hub.put(base_id, {path.name: path.read_bytes() for path in base.iterdir()})
        known = msgspec.structs.replace(record.base, id=base_id, revision=hub.commit(base_id), licence="mit")
        published[name] = msgspec.structs.replace(record, base=known)
        files = {path.name: path.read_bytes() for path in registry.adapter_folder(name).iterdir()}
        if "adapter_config.json" in files:
            config = json.loads(files["adapter_config.json"])
            config |= {"base_model_name_or_path": base_id, "revision": known.revision}
            files["adapter_config.json"] = json.dumps(config).encode()
        files["README.md"] = render(published[name], f"me/{name}").encode()
        files["zoo.json"] = dump(published[name])
        hub.put(f"me/{name}", files)
    return registry, published


@pytest.fixture(scope="module")
def said(
    hub: LocalHub,
    trained: tuple[Registry, dict[str, AdapterRecord]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Said:
    """What the snippets of every card give, in one process with an empty home."""
    home = tmp_path_factory.mktemp("home")
    blocks = {name: python_of(hub.files(f"me/{name}")["README.md"].decode()) for name in ADAPTERS}
    (home / "blocks.json").write_text(json.dumps(blocks), encoding="utf-8")
    env = {**os.environ, **hub.env(home / "hf"), "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", RUN, "blocks.json", "said.json"]
    done = subprocess.run(words, cwd=home, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Said = json.loads((home / "said.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_snippets_of_a_published_card_give_the_zoos_own_outputs(
    name: str, said: Said, trained: tuple[Registry, dict[str, AdapterRecord]]
) -> None:
    """PEFT's class that finds the base by itself as well, where the card names it."""
    import numpy as np
    import torch

    loaded = load.load(name, trained[0])
    inputs, found = said[name]
    with torch.no_grad():
        outputs = loaded.model(**{key: torch.tensor(value) for key, value in inputs.items()})
    wanted = outputs.logits_per_text if name == "pictures" else outputs.logits
    assert len(found) == (2 if name in ("lora", "pairs", "chat") else 1)
    for one in found:
        assert np.asarray(one) == pytest.approx(wanted.numpy(), abs=1e-5)


def test_a_snippet_opens_the_base_at_the_commit_that_was_trained_on() -> None:
    assert base_arguments(make_record()) == '"google-bert/bert-base-cased", revision="0123456789"'
    local = make_record(base=make_base(id="local:bert", location="path:/home/anna/bert"))
    assert base_arguments(local) == '"/home/anna/bert"'
    assert base_arguments(make_record(format="transformers")) == "folder"


@pytest.mark.parametrize(
    "nasty",
    ['"); import os; os._exit(7)  #', "a\nraise SystemExit(7)", "\\", "'''", '"""', "\u2028x", "{0}", "{x}"],
)
@pytest.mark.parametrize("task", ["bert-imdb", "bert-mrpc", "tinyllama-chat", "clip-retrieval", "unknown"])
def test_no_untrusted_text_is_code(nasty: str, task: str) -> None:
    import ast

    from zoo.plugins import manager

    record = make_record(name=nasty, labels=[nasty], base=make_base(id=nasty, revision=nasty))
    made = manager.load_task(task) if task != "unknown" else None
    method = manager.load_method("lora")
    for repo in (None, nasty):
        tree = ast.parse(usage(record, made, method, repo))
        assert not {"os", "SystemExit"} & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        ast.parse(at_once(record, made, repo) or "")
    assert ast.literal_eval(literal(nasty)) == nasty
