"""Trained without network, published, forgotten, pulled by name by somebody else: the same answers.

Every command is a process of its own, with the real client and a Hub on this machine. The token is a canary,
looked for at the end in all that was ever said or written.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, run_process
from tests.hub.local_hub import LocalHub
from zoo.testing import TinyModels, reviews, write_csv

TOKEN = "hf_canaryCANARYcanaryCANARYcanaryCANARY"
BASE, REPO, NAME = "google-bert/tiny", "me/reviews-lora", "reviews-lora"
TEXTS = ["a wonderful film", "an awful film, and a long one"]
PLAIN = """
import json, sys
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer

model = AutoPeftModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    batch = tokenizer(sys.argv[2:], padding=True, truncation=True, return_tensors="pt")
    print(json.dumps(model(**batch).logits.tolist()))
"""
OURS = """
import json, sys
from pathlib import Path
import torch
from zoo.adapters.load import load, predict
from zoo.registry.store import Registry, locate

loaded = load(sys.argv[1], Registry(locate()))
with torch.no_grad():
    batch = loaded.processor(sys.argv[2:], padding=True, truncation=True, return_tensors="pt")
    logits = loaded.model(**batch).logits.tolist()
print(json.dumps([logits, predict(loaded, sys.argv[2:])]))
"""


class Machine:
    """Somebody's computer: a home, a registry, caches; and all that was ever printed on it."""

    def __init__(self, folder: Path, hub: LocalHub):
        self.folder, self.hub = folder, hub
        self.said: list[str] = []
        folder.mkdir()
        self.env = {
            **hub.env(folder / "hf", TOKEN),
            "HOME": str(folder),
            "ZOO_REGISTRY": str(folder / "zoo" / "registry.json"),
            "ZOO_CACHE": str(folder / "cache"),
            "HF_HUB_OFFLINE": "0",
            "OMP_NUM_THREADS": "1",
        }

    def zoo(self, *args: object, offline: bool = False) -> Result:
        done = run_process(*args, env={**self.env, "HF_HUB_OFFLINE": str(int(offline))}, cwd=self.folder)
        self.said += [done.out, done.err]
        return done

    def python(self, code: str, *args: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=self.folder,
        )
        self.said += [done.stdout, done.stderr]
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def adapter(self, name: str = NAME) -> Path:
        return self.folder / "zoo" / "adapters" / name

    def base(self) -> Path:
        """Where the Hub's cache keeps it."""
        (found,) = (self.folder / "hf" / "hub").glob("models--google-bert--tiny/snapshots/*")
        return found


class Story:
    """What happened once, for every test to look at."""

    def __init__(self, folder: Path, hub: LocalHub, base: Path):
        self.hub = hub
        maker = Machine(folder / "maker", hub)
        own = shutil.copytree(base, maker.folder / "base")
        data = write_csv(maker.folder / "reviews.csv", reviews())
        words = ("--base", own, "--data", data, "--name", NAME, "--epochs", 3, "--precision", "fp32")
        trained = maker.zoo("train", "lora", "bert-imdb", *words, offline=True)
        assert trained.code == 0, trained.err
        self.logits, self.predicted = maker.python(OURS, NAME, *TEXTS)
        published = maker.zoo("publish", NAME, REPO, "--base-id", BASE, "--license", "apache-2.0", "--yes")
        assert published.code == 0, published.err
        self.kept = files(maker.folder)
        self.said = maker.said
        shutil.rmtree(maker.folder)

        self.user = Machine(folder / "user", hub)
        before = len(hub.sent())
        self.pulled = self.user.zoo("pull", REPO)
        self.fetched = [path.removeprefix("/") for path in hub.sent()[before:]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    base = TinyModels(folder / "models")["bert"]
    with LocalHub(folder / "hub", tokens={TOKEN: "me"}) as hub:
        card = b"---\nlicense: apache-2.0\n---\n"
        hub.put(BASE, {path.name: path.read_bytes() for path in base.iterdir()} | {"README.md": card})
        yield Story(folder, hub, base)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_path_of_the_authors_machine_is_published(story: Story) -> None:
    for name, content in story.hub.files(REPO).items():
        assert b"/maker" not in content, name


def test_the_pulled_adapter_predicts_what_the_authors_did(story: Story) -> None:
    """The base is fetched when it is needed, and not before."""
    assert story.pulled.code == 0, story.pulled.err
    assert not [path for path in story.fetched if BASE in path and path.endswith(".safetensors")]
    logits, predicted = story.user.python(OURS, NAME, *TEXTS)
    assert predicted == story.predicted
    assert logits == story.logits
    verified = story.user.zoo("verify", NAME, "--json")
    assert verified.code == 0, verified.out + verified.err


def test_plain_peft_says_the_same_of_the_repository(story: Story) -> None:
    import numpy as np

    np.testing.assert_allclose(story.user.python(PLAIN, REPO, *TEXTS), story.logits, atol=1e-6)


def test_what_was_pulled_can_be_published_again_and_its_licence_is_known(story: Story) -> None:
    trial = story.user.zoo("publish", NAME, "me/another", "--dry-run", "--json")
    assert trial.code == 0, trial.err
    checks = {one["name"]: one for one in trial.json["checks"]}
    assert checks["licence"]["detail"] == "apache-2.0"
    assert checks["card"]["status"] == "ok"


# what is changed is caught, by name


@pytest.fixture
def machine(story: Story, tmp_path: Path) -> Machine:
    """A copy of the user's computer, to be spoiled."""
    copy = Machine(tmp_path / "copy", story.hub)
    copy.said = story.said  # what is said here counts too
    shutil.copytree(story.user.folder, copy.folder, dirs_exist_ok=True, symlinks=True)
    return copy


def refused(done: Result, code: int, *words: str) -> None:
    assert done.code == code, done.out + done.err
    for word in words:
        assert word in done.out + done.err


def test_one_changed_byte_in_the_weights_is_caught_by_file(machine: Machine) -> None:
    path = machine.adapter() / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(machine.zoo("--debug", "predict", NAME, TEXTS[0]), 1, "adapter_model.safetensors")
    refused(machine.zoo("verify", NAME), 5, "adapter_model.safetensors")
    refused(machine.zoo("doctor"), 5, "adapter_model.safetensors changed")
    refused(machine.zoo("publish", NAME, REPO, "--yes"), 5, "adapter_model.safetensors")


def test_one_changed_tensor_in_the_base_is_caught_by_tensor(machine: Machine) -> None:
    from safetensors.numpy import load_file, save_file

    weights = machine.base() / "model.safetensors"
    tensors = load_file(weights)
    changed = next(name for name in tensors if name.endswith("0.attention.self.query.weight"))
    tensors[changed] = tensors[changed].copy()
    tensors[changed][0, 0] += 1
    metadata = {"format": "pt"}
    blob = weights.resolve()
    weights.unlink()
    save_file(tensors, blob, metadata=metadata)
    shutil.copy(blob, weights)
    refused(machine.zoo("predict", NAME, TEXTS[0]), 5, changed)
    refused(machine.zoo("verify", NAME), 5, changed)
    refused(machine.zoo("doctor"), 5, "model.safetensors of the base is not what was trained on")


def test_a_token_that_the_hub_refuses_is_said_without_it(machine: Machine, story: Story) -> None:
    shutil.rmtree(machine.folder / "hf")
    for words in (
        ("pull", REPO, "--name", "other"),
        ("publish", NAME, REPO, "--license", "apache-2.0", "--yes"),
    ):
        story.hub.tokens = {"hf_" + "x" * 34: "me"}
        try:
            plain, debug = machine.zoo(*words), machine.zoo("--debug", *words)
        finally:
            story.hub.tokens = {TOKEN: "me"}
        assert plain.code in (3, 4), plain.err
        assert "Traceback" in debug.err


def test_the_canary_is_nowhere(story: Story) -> None:
    """In nothing that was said, traceback or not, and in no file of either machine or of the repository."""
    assert len(story.said) > 10
    for said in (*story.said, *story.user.said):
        assert TOKEN not in said
    for name, content in {**story.kept, **files(story.user.folder), **story.hub.files(REPO)}.items():
        assert TOKEN.encode() not in content, name
