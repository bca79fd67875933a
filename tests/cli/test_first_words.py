"""A command that takes long says something at once, before torch is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Result, run_process, tiny_spec
from tests.hub.test_publish import add_adapter
from tests.records import make_record
from zoo.registry.store import Registry

NAME, CHAT = "lora-bert-imdb", "chatty"
COMMANDS = {
    "train": (("lora", "bert-imdb"), "preparing 'lora-bert-imdb-2': lora on bert-imdb"),
    "predict": ((NAME, "A fine film."), f"checking the files of {NAME}"),
    "evaluate": ((NAME,), f"checking the files of {NAME}"),
    "reproduce": ((NAME,), f"looking for the base and the rows of {NAME}"),
    "verify": ((NAME,), f"checking the files of {NAME}"),
    "merge": ((NAME, "-o", "merged"), f"checking the files of {NAME}"),
    "chat": ((CHAT, "--prompt", "hello"), f"checking the files of {CHAT}"),
    "search": (("imdb",), "searching the Hub"),
    "pull": (("org/adapter",), "looking for org/adapter on the Hub"),
    "publish": ((NAME, "--yes"), "signing in"),
    "import": (("found",), "copying and checking "),
}
HEAVY = {"torch", "transformers", "peft", "pandas"}
WATCHED = f"""
import sys
from zoo.cli import main

class Watch:
    def __init__(self, stream):
        self.stream = stream
    def write(self, text):
        if isinstance(text, bytes):
            raise TypeError("a text stream")
        if not text:
            return
        sys.stderr = self.stream
        self.stream.write(f"{{sorted({HEAVY} & set(sys.modules))}} {{text}}")
    def __getattr__(self, name):
        return getattr(self.stream, name)

sys.stderr = Watch(sys.stderr)
main()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with two adapters, and a folder with one that can be imported."""
    folder = tmp_path_factory.mktemp("home")
    registry = Registry(folder / "registry.json")
    add_adapter(registry)
    add_adapter(registry, CHAT, spec=msgspec.structs.replace(make_record(CHAT).spec, task="tinyllama-chat"))
    shutil.copytree(registry.adapter_folder(NAME), folder / "found")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_first_line_comes_before_torch_is_imported(command: str, home: Path) -> None:
    words, line = COMMANDS[command]
    env = {**os.environ, "ZOO_REGISTRY": str(home / "registry.json"), "HF_HOME": str(home / "hf")}
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, command, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=env,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        used = _processor_seconds(process.pid)
        seconds = time.monotonic() - start
        process.kill()
    assert first.startswith(f"[] {line}")
    assert min(seconds, used) < 1.5  # other tests run beside this one


def _processor_seconds(pid: int) -> float:
    """What a process has used; without end where that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_takes_long_is_named_before_it_is_done(
    tiny_bert: Path, trained_bert: Registry, tmp_path: Path
) -> None:
    folder = trained_bert.path.parent
    base, data = folder / "base", folder / "reviews.csv"
    spec = tiny_spec("lora", base, data)
    words = ("--base", spec.base, "--data", spec.data, "--epochs", 1, "--precision", "fp32")
    env = {"ZOO_REGISTRY": str(tmp_path / "registry.json")}
    trained = run_process("train", "lora", "bert-imdb", *words, "--json", env=env)
    assert trained.code == 0, trained.err
    _in_order(
        trained, "preparing ", "data: ", "loading torch and", "base: ", "loading the base", "evaluating the"
    )
    assert trained.json["name"] == "lora-bert-imdb"
    predicted = run_process("predict", "lora", "A fine film.", env={"ZOO_REGISTRY": str(trained_bert.path)})
    assert predicted.code == 0, predicted.err
    _in_order(predicted, "checking the files of lora", "loading torch and transformers", "loading ")
    assert predicted.out.splitlines()[0].startswith("label\t")


def _in_order(result: Result, *starts: str) -> None:
    lines = result.err.splitlines()
    found = [next((n for n, line in enumerate(lines) if line.startswith(start)), None) for start in starts]
    assert None not in found, result.err
    assert found[0] == 0, result.err
    assert found == sorted(found, key=lambda number: number or 0), result.err
