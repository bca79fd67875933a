"""Every threat that the gates are for, really there: served by a Hub on this machine, or planted on the disk.

Each command is a process of its own with a home of its own, as a person runs it.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Result, reviews, run_process, write_csv
from tests.hub.local_hub import LocalHub
from tests.records import make_base
from tests.sound import add_sound
from zoo.registry.store import Registry

REPO = "stranger/adapter"
CANARY = "hf_" + "canaryCanaryCanaryCanaryCanary123456"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\x1b[8mhidden"
Files = dict[str, bytes]


class Machine:
    """A person's machine: an empty home, a registry, and the Hub as the whole network."""

    def __init__(self, root: Path, hub: LocalHub):
        self.root, self.hub = root, hub
        self.registry = Registry(root / "registry" / "registry.json")
        self.trace = root / "ran"
        """What hostile code would leave behind."""
        (root / "work").mkdir()

    def zoo(self, *args: object, token: str | None = None, **env: str) -> Result:
        settings = {
            **self.hub.env(self.root / "home", token),
            "HF_HUB_OFFLINE": "0",
            "ZOO_REGISTRY": str(self.registry.path),
            "PYTHONPATH": str(self.root / "planted"),
            **env,
        }
        return run_process(*args, env=settings, cwd=self.root / "work")

    def refuses(self, files: Mapping[str, bytes], *said: str, code: int = 5) -> Result:
        """Pull a repository of these files: refused in a line with this message, and nothing is left."""
        self.hub.put(REPO, files)
        done = self.zoo("pull", REPO)
        assert done.code == code, done.err
        for words in said:
            assert words in done.error
        assert "Traceback" not in done.err
        assert "\x1b" not in done.err
        assert list(self.registry.each()) == []
        assert not self.trace.exists()
        assert not any(self.registry.folder.glob("[!.]*"))
        assert not any((self.root / "work").iterdir())
        return done


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub(tmp_path / "hub", tokens={CANARY: "me"}) as served:
        yield served


@pytest.fixture
def machine(tmp_path: Path, hub: LocalHub) -> Machine:
    return Machine(tmp_path, hub)


def config(**changes: Any) -> bytes:
    honest = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": "bert-base-cased",
        "r": 2,
    }
    return json.dumps({**honest, "target_modules": ["query"], **changes}).encode()


def weights(value: float = 1.0) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_{}.weight"
    sides = {"A": (2, 8), "B": (8, 2)}
    tensors = {name.format(side): np.full(shape, value, np.float32) for side, shape in sides.items()}
    return bytes(save(tensors))


def adapter(**changes: bytes) -> Files:
    """An untrusted adapter with nothing wrong, and what is wrong with it."""
    return {"adapter_config.json": config(), "adapter_model.safetensors": weights(), **changes}


def test_an_untrusted_but_honest_adapter_is_pulled(machine: Machine) -> None:
    """Else the tests below prove nothing."""
    machine.hub.put(REPO, adapter())
    done = machine.zoo("pull", REPO)
    assert done.code == 0, done.err
    assert [name for name, _ in machine.registry.each()] == ["adapter"]


class Runs:
    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_pickled_weights_are_refused_and_not_opened(machine: Machine, name: str) -> None:
    hostile = {"adapter_config.json": config(), name: pickle.dumps({"a": Runs(machine.trace)})}
    done = machine.refuses(hostile, name, "pickle")
    if name.endswith(".bin"):
        assert f"Next: zoo import {REPO} --convert-bin" in done.err
        assert not any(path.endswith(".bin") for path in machine.hub.sent())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "adapter_config.json",
            config(task_type=None, auto_mapping={"base_model_class": "A", "parent_library": "evil"}),
            "auto_mapping.parent_library",
        ),
        ("adapter_config.json", config(megatron_core="evil", megatron_config={"a": 1}), "megatron_core"),
        (
            "adapter_config.json",
            config(peft_type="PROMPT_TUNING", tokenizer_kwargs={"trust_remote_code": True}),
            "tokenizer_kwargs.trust_remote_code",
        ),
        ("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": ["evil.A", null]}}', "auto_map"),
    ],
)
def test_code_in_a_config_is_refused_by_its_key_before_it_is_imported(
    machine: Machine, name: str, content: bytes, said: str
) -> None:
    (machine.root / "planted").mkdir()
    (machine.root / "planted" / "evil.py").write_text(f"open({str(machine.trace)!r}, 'w')", encoding="utf-8")
    machine.refuses(adapter(**{name: content}), name, said)


def test_the_code_that_a_base_brings_along_is_not_run(machine: Machine, tiny_bert: Path) -> None:
    base = Path(shutil.copytree(tiny_bert, machine.root / "base"))
    settings = json.loads((base / "config.json").read_text(encoding="utf-8"))
    settings |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}
    (base / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (base / "evil.py").write_text(f"open({str(machine.trace)!r}, 'w')", encoding="utf-8")
    data = write_csv(machine.root / "reviews.csv", reviews())
    done = machine.zoo("train", "lora", "bert-imdb", "--base", base, "--data", data, "--limit", 20)
    assert done.code == 5, done.err
    assert "model type 'evil'" in done.error
    assert not machine.trace.exists()


def test_another_base_under_the_same_name_and_commit_is_refused_by_name(machine: Machine) -> None:
    base, honest = "google-bert/bert-base-cased", weights()
    commit = machine.hub.put(base, {"config.json": b"{}", "model.safetensors": honest})
    location = f"hub:{base}@{commit}"
    hashes = {"model.safetensors": hashlib.sha256(honest).hexdigest()}
    add_sound(machine.registry, make_base(location=location, revision=commit, weights=hashes))
    machine.hub.lie(base, "model.safetensors", body=weights(2.0))
    done = machine.zoo("predict", "mine", "a fine film")
    assert done.code == 5, done.err
    assert base in done.error
    assert "other weights" in done.error
    assert any(path.endswith("model.safetensors") for path in machine.hub.sent())


FAILURES: list[dict[str, Any]] = [
    {"status": 401, "body": json.dumps({"error": f"the token {CANARY} is refused"}).encode()},
    {"status": 403, "headers": {"X-Error-Message": f"{CANARY} may not"}},
    {"status": 400, "headers": {"X-Error-Message": f"Bearer {CANARY}"}, "body": CANARY.encode()},
    {"status": 404, "headers": {"X-Error-Code": CANARY}, "body": CANARY.encode()},
]


@pytest.mark.parametrize(("failure", "debug"), [(one, i % 2 == 1) for i, one in enumerate(FAILURES)])
def test_the_token_is_in_no_output_log_or_file_even_where_the_hub_repeats_it(
    machine: Machine, failure: dict[str, Any], debug: bool
) -> None:
    add_sound(machine.registry, make_base())
    machine.hub.fail("*", "me/mine", times=None, **failure)
    machine.hub.fail("*", "/api/repos/create", times=None, **failure)
    machine.hub.fail("*", REPO, times=None, **failure)
    for command in (("publish", "mine", "me/mine", "--yes"), ("pull", REPO)):
        done = machine.zoo(*["--debug"] * debug, *command, token=CANARY, HF_HUB_VERBOSITY="debug")
        assert done.code != 0
        assert CANARY not in done.out + done.err
        assert CANARY[3:] not in done.out + done.err
    kept = [
        path for path in machine.root.rglob("*") if path.is_file() and machine.hub.root not in path.parents
    ]
    assert kept
    assert not any(CANARY.encode() in path.read_bytes() for path in kept)


LABEL = re.compile(r"^(?:\x1b\[\d+m)+(\w+:)\x1b\[0m", re.MULTILINE)
"""`Warning:` and the like, which are coloured here."""


def test_untrusted_escapes_and_markup_never_reach_the_terminal(machine: Machine) -> None:
    card = f"---\nlicense: mit\ntags: [peft]\n---\n# {ESCAPES} [bold red]adapter[/]\n"
    tokenizer = json.dumps({"note": ESCAPES}).encode()
    files = adapter(**{"README.md": card.encode(), "tokenizer_config.json": tokenizer})
    machine.hub.put(REPO, {**files, "adapter_config.json": config(base_model_name_or_path="x/[red]y[/]")})
    done = machine.zoo("pull", REPO, FORCE_COLOR="1")
    assert done.code == 0, done.err
    for command in (
        ("show", "adapter"),
        ("list",),
        ("card", "adapter"),
        ("search",),
        ("rm", "nothing" + ESCAPES),
    ):
        shown = machine.zoo(*command)
        assert shown.code in (0, 2, 3), shown.err
        for printed in (done.out, done.err, shown.out, shown.err):
            text = LABEL.sub(r"\1", printed)
            assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in text)


HOSTILE_YAML = '!!python/object/apply:os.system ["touch {trace}"]'


def test_untrusted_yaml_is_neither_run_nor_carried_into_a_card(machine: Machine) -> None:
    evil = HOSTILE_YAML.format(trace=machine.trace)
    injected = "a/b\nlicense: stolen\ntags: [evil]\n---\n# [x](javascript:alert)"
    card = f"---\nlicense: {evil}\nbase_model: {evil}\n---\n# An adapter\n"
    labels = {"id2label": {"0": injected, "1": evil}}
    machine.hub.put(
        REPO, {**adapter(**{"README.md": card.encode()}), "config.json": json.dumps(labels).encode()}
    )
    done = machine.zoo("import", REPO, "--task", "bert-imdb", "--labels", f"{injected},{evil}")
    assert done.code == 0, done.err
    shown = machine.zoo("card", "adapter")
    assert shown.code == 0, shown.err
    front = yaml.safe_load(shown.out.split("---\n")[1])
    assert "license" not in front
    assert "evil" not in front["tags"]
    assert not machine.trace.exists()


def bomb(tensors: int = 0, header: bytes | None = None) -> bytes:
    empty = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(tensors)}
    content = header if header is not None else json.dumps(empty).encode()
    return struct.pack("<Q", len(content)) + content


EMPTY = b'"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bomb(header=b'{"__metadata__":{"a":"' + b" " * 66_000_000 + b'"}}'), "a header of 66,"),
        (bomb(), "no tensor"),
        (bomb(12_000), "12,000 tensors"),
        (bomb(header=b"{" + EMPTY + b"," + EMPTY + b"}"), "twice"),
        (struct.pack("<Q", 1 << 62) + b"{}", "cut short"),
        (weights()[:-4], "cut short"),
        (weights(float("nan")), "infinity"),
        (weights() + b"more", "behind its last tensor"),
    ],
    ids=["header", "empty", "tensors", "twice", "length", "cut", "nan", "tail"],
)
def test_a_header_bomb_or_damaged_weights_are_refused(machine: Machine, content: bytes, said: str) -> None:
    started = time.monotonic()
    machine.refuses(adapter(**{"adapter_model.safetensors": content}), "adapter_model.safetensors", said)
    assert time.monotonic() - started < 20
