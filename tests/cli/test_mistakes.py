"""What newcomers type: a mistake is one `Error:` line, and a `Next:` line with the command to type instead.

Nothing is loaded to find out, and nothing that was there is changed. Exit codes: 2 wrong words, 3 not found,
4 no token. `zoo` runs offline, without a token, in a folder with an adapter `mine` and the files below.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from tests.records import add_record
from zoo.cli import cli
from zoo.registry.store import Registry
from zoo.testing import reviews, write_csv

SECONDS = 5.0
"""Of processor time, without start and common imports; with them, an idle machine takes under 1.5 s."""
LONGEST = 300
SAID = ("data: ", "preparing ", "searching ", "looking for ", "signing in")
"""How the lines begin that say what a command is doing."""
"""Characters of a line."""
MODELS = {"torch", "transformers", "peft", "datasets"}
LOCAL = "pip:sentence-transformers/all-MiniLM-L6-v2"

OPTIONS_OF_OTHERS = {
    "train lora bert-imdb --model x": "train lora bert-imdb --base x",
    "train lora bert-imdb --model_name_or_path=x": "train lora bert-imdb --base x",
    "train lora bert-imdb --dataset reviews.csv": "train lora bert-imdb --data reviews.csv",
    "train lora bert-imdb --rank 8": "train lora bert-imdb -s r=8",
    "train lora bert-imdb --lora-r 8": "train lora bert-imdb -s r=8",
    "train lora bert-imdb --lora_alpha 16": "train lora bert-imdb -s alpha=16",
    "train lora bert-imdb --lora-target q_proj,v_proj": "train lora bert-imdb -s targets=q_proj,v_proj",
    "train lora bert-imdb --learning-rate 1e-4": "train lora bert-imdb --lr 1e-4",
    "train lora bert-imdb --num-train-epochs 3": "train lora bert-imdb --epochs 3",
    "train lora bert-imdb --output-dir out": "train lora bert-imdb --registry out",
    "train lora bert-imdb -o out": "train lora bert-imdb --registry out",
    "train lora bert-imdb --fp16": "train lora bert-imdb --precision auto",
    "train lora bert-imdb --bf16 True": "train lora bert-imdb --precision bf16",
    "train lora bert-imdb --max_seq_length 128 --seed 3": "train lora bert-imdb --max-length 128 --seed 3",
    "train lora bert-imdb --device cpu": "train --help",
    "train lora bert-imdb --batch-size 8": "train --help",
    "train lora bert-imdb --max-steps 100": "train --help",
    "train lora bert-imdb --nonsense": "train --help",
    "train lora bert-imdb --use-dora": "train dora bert-imdb",
    "train lora bert-imdb --use_rslora true --seed 3": "train rslora bert-imdb --seed 3",
    "train lora bert-imdb --adapter lora": "train --help",
    "train lora bert-imdb --bias none": "train --help",
    "train lora bert-imdb --load-in-4bit": "train qlora bert-imdb",
    "train --lora bert-imdb": "train lora bert-imdb",
    "train lora bert-imdb --epoch 3": "train lora bert-imdb --epochs 3",
    "train lora bert-imdb --lmit 3": "train lora bert-imdb --limit 3",
    "train lora bert-imdb -s rank=8": "train lora bert-imdb -s r=8",
    "train lora bert-imdb -s lora_r=8": "train lora bert-imdb -s r=8",
    "train lora bert-imdb --set=rank=8": "train lora bert-imdb --set=r=8",
    "train lora bert-imdb -s r:8": "train lora bert-imdb -s r=8",
    "train lora bert-imdb -s r 8": "train lora bert-imdb -s r=8",
    "train lora bert-imdb -s r=big": "methods lora",
    "train lora bert-imdb --limit many": "train --help",
    "train lora bert-imdb --limit 0": "train lora bert-imdb",
    "train lora bert-imdb --epochs 0 --seed 3": "train lora bert-imdb --seed 3",
    "train lora bert-imdb --epochs": "train --help",
    "train lora bert-imdb --precision half": "train lora bert-imdb --precision auto",
    "train lora bert-imdb --name a/b": "train lora bert-imdb --name a-b",
    "train lora bert-imdb --name mine": "train lora bert-imdb --name mine-2",
    "train lora bert-imdb reviews.csv": "train lora bert-imdb --data reviews.csv",
    "train lora bert-imdb --registry table.csv": "train lora bert-imdb --registry .",
    "list --registry table.csv": "list --registry .",
    "list --registry package.json": "list --registry .",
    "registry rebuild --registry table.csv": "registry rebuild --registry .",
}
"""Exit code 2."""
OTHER_WORDS = {
    "lora bert-imdb": "train lora bert-imdb",
    "LoRA bert_imdb": "train lora bert-imdb",
    "bert-imdb lora --limit 5": "train lora bert-imdb --limit 5",
    "lora": "methods lora",
    "bert-imdb": "tasks",
    "train bert-imdb lora": "train lora bert-imdb",
    "train BERT-IMDB LoRA": "train lora bert-imdb",
    "train bert-imdb lroa": "train lora bert-imdb",
    "finetune lora bert-imdb": "train lora bert-imdb",
    "eval mine": "evaluate mine",
    "ls": "list",
    "delete mine": "rm mine",
    "push mine": "publish mine",
    "download someone/adapter": "pull someone/adapter",
    "info mine": "show mine",
    "trian lora bert-imdb": "train lora bert-imdb",
    "nonsense": "--help",
    "train": "methods",
    "train lora": "tasks",
    "show": "list",
    "rm": "list",
    "evaluate": "list",
    "predict": "list",
    "predict mine": "predict mine 'A fine film.'",
    "chat": "list",
    "chat mine": "predict mine 'A fine film.'",
    "merge": "list",
    "merge mine": "merge mine -o merged",
    "card": "list",
    "verify": "list",
    "reproduce": "list",
    "publish": "list",
    "publish mine": "publish mine --yes",
    "pull": "search",
    "pull nonsense": "search",
    "import": "import --help",
    "import note.txt": "import FOLDER",
    "import adapter/adapter_config.json": "import adapter",
    "tasks nope": "tasks",
    "methods lora extra": "methods --help",
    "data check": "tasks",
    "data check reviews.csv": "tasks",
    "data chekc reviews.csv": "data check reviews.csv",
    "plugin create method mine": "plugin new method mine",
    "plugin new": "plugin new method my-method",
    "plugin new method": "plugin new method my-method",
    "plugin new method LORA": "plugin new method my-lora",
    "plugin check": "plugins",
}
"""Exit code 2."""
NOT_HERE = {
    "train lroa bert-imdb": "train lora bert-imdb",
    "train LoRA bert-imdb": "train lora bert-imdb",
    "train lora BERT-IMDB": "train lora bert-imdb",
    "train lroa bert-imbd": "train lora bert-imdb",
    "train prefix-tuning bert-imdb": "train prefix bert-imdb",
    "train lora sentiment": "train lora bert-imdb",
    "train nonsense bert-imdb": "methods",
    "train lora nonsense": "tasks",
    "train lora bert-imdb --resume": "train lora bert-imdb",
    "show mime": "show mine",
    "show nobody --registry registry": "list --registry registry",
    "rm mime --yes": "rm mine",
    "predict nobody text": "list",
    "publish nobody --yes": "list",
    "methods nope": "methods",
    "methods lroa": "methods lora",
    "plugin check nope": "plugins",
    "plugin check lroa": "plugin check lora",
    "data check --task bert-imdb revews.csv": "data check --task bert-imdb reviews.csv",
    "data check --task bert-imdb nope.csv": "data check --task bert-imdb FILE",
    "train lora bert-imdb --data revews.csv": "train lora bert-imdb --data reviews.csv",
    "train lora bert-imdb --data reviews.cvs": "train lora bert-imdb --data reviews.csv",
    "train lora bert-imdb --data nope.csv": "train lora bert-imdb --data FILE",
    "train lora clip-retrieval": "train lora clip-retrieval --data FILE",
    "train lora bert-imdb --base google-bert/bert-base-cased": f"train lora bert-imdb --base {LOCAL}",
    "train lora bert-imdb --base note.txt": f"train lora bert-imdb --base {LOCAL}",
    "train lora bert-imdb --base model.gguf": f"train lora bert-imdb --base {LOCAL}",
    "train lora bert-imdb --base empty": f"train lora bert-imdb --base {LOCAL}",
    "train lora bert-imdb --base weightless": f"train lora bert-imdb --base {LOCAL}",
    "train lora bert-imdb --base ./nothing-there": f"train lora bert-imdb --base {LOCAL}",
    "train lora bert-imdb --base adapter": "import adapter",
    "import empty": "search",
    "import weightless": "train lora bert-imdb --base weightless",
    "import nothing-there": "import FOLDER",
}
"""Exit code 3."""
OFFLINE = (
    "train lora clip-retrieval --data pictures",
    "train lora clip-retrieval --data pictures --base openai/clip-vit-base-patch32",
    "search bert",
    "pull someone/adapter",
    "import someone/adapter",
)
"""Exit code 3, and the network is what is missing."""
ROWS = {
    "train lora bert-imdb --data reviews.csv --text-column review": (
        "zoo train lora bert-imdb --data reviews.csv --column text=text"
    ),
    "train lora bert-imdb --data reviews.csv --column label=labl": (
        "zoo train lora bert-imdb --data reviews.csv --column label=label"
    ),
    "train lora bert-imdb --data=utf16.csv": (
        "iconv -f utf-16 -t utf-8 utf16.csv > utf16-utf8.csv && "
        "zoo train lora bert-imdb --data=utf16-utf8.csv"
    ),
    "train lora bert-imdb --data latin1.csv": (
        "iconv -f latin1 -t utf-8 latin1.csv > latin1-utf8.csv && "
        "zoo train lora bert-imdb --data latin1-utf8.csv"
    ),
}
"""Exit code 2; the table is read, by pandas."""

TABLE = [
    *((typed, 2, f"zoo {then}") for typed, then in (OPTIONS_OF_OTHERS | OTHER_WORDS).items()),
    *((typed, 3, f"zoo {then}") for typed, then in NOT_HERE.items()),
    *((typed, 3, f"unset HF_HUB_OFFLINE && zoo {typed}") for typed in OFFLINE),
    *((typed, 2, then) for typed, then in ROWS.items()),
    ("publish mine --yes", 4, "hf auth login"),
    ("train lora bert-imdb --registry note.txt/below", 1, "zoo train lora bert-imdb --registry FOLDER"),
]

FORKS = """
import gc, json, os, pkgutil, sys, tempfile
from importlib import import_module
# most of the time of each process; what they read of the environment is set
import asyncio, huggingface_hub.hf_api, huggingface_hub.file_download, pandas, tenacity
import zoo.cli.next_steps, zoo.hub.import_adapter, zoo.hub.publish, zoo.hub.pull, zoo.training.pipeline
from zoo.plugins import manager

for found in pkgutil.iter_modules(zoo.cli.__path__, "zoo.cli."):
    import_module(found.name)
for kind in manager.KINDS:
    manager.find(kind)
gc.freeze()  # else each fork copies every page that its collector looks at
for line in sys.stdin:
    out, err, names = [tempfile.TemporaryFile("w+") for _ in range(3)]
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.argv = ["zoo", *json.loads(line)]
        code = 0
        try:
            zoo.cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        json.dump(list(sys.modules), names)
        for one in (sys.stdout, sys.stderr, names):
            one.flush()
        os._exit(code)
    _, status, used = os.wait4(child, 0)
    for one in (out, err, names):
        one.seek(0)
    texts = {"out": out.read(), "err": err.read(), "modules": json.loads(names.read() or "[]")}
    code, seconds = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
    print(json.dumps({"code": code, "seconds": seconds, **texts}), flush=True)
"""


@dataclass
class Done:
    """What `zoo` did in a process of its own, which had no model's library."""

    code: int
    seconds: float
    out: str
    err: str
    modules: list[str]

    def lines(self, start: str) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith(start)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    add_record(Registry(folder / "registry" / "registry.json"), "mine")
    write_csv(folder / "reviews.csv", reviews())
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "package.json").write_text('{"name": "app", "version": "1.0.0"}')
    (folder / "utf16.csv").write_text("text,label\ncafé,1\nbad,0\n", encoding="utf-16")
    (folder / "latin1.csv").write_text("text,label\ncafé,1\nbad,0\n", encoding="latin1")
    (folder / "note.txt").write_text("a note")
    (folder / "model.gguf").write_bytes(b"GGUF")
    for name in ("empty", "weightless", "adapter", "pictures"):
        (folder / name).mkdir()
    (folder / "weightless" / "config.json").write_text('{"model_type": "bert"}')
    (folder / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "pictures" / "metadata.csv").write_text("file_name,text\na.png,a\n")
    return folder


@pytest.fixture(scope="module")
def zoo_in(folder: Path) -> Iterator[Callable[[str], Done]]:
    env = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    own = {"ZOO_REGISTRY": "registry", "ZOO_CACHE": "cache", "HF_HOME": "hf", "HF_HUB_OFFLINE": "1"}
    pipe: Any = subprocess.PIPE
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder, env=env | own) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def run(typed: str) -> Done:
            asked.write(json.dumps(shlex.split(typed)) + "\n")
            asked.flush()
            return Done(**json.loads(answers.readline()))

        yield run
        asked.close()


def content(folder: Path) -> dict[str, bytes]:
    """Every file, but for caches and what holds a lock."""
    kept = [path for path in folder.iterdir() if path.name not in ("cache", "hf")]
    files = [one for path in kept for one in (path, *path.rglob("*")) if one.is_file()]
    return {str(one): one.read_bytes() for one in files if one.suffix != ".lock"}


@pytest.mark.parametrize(("typed", "code", "then"), TABLE, ids=[typed for typed, *_ in TABLE])
def test_a_mistake_is_one_line_and_the_command_to_type_instead(
    typed: str, code: int, then: str, zoo_in: Callable[[str], Done], folder: Path
) -> None:
    before = content(folder)
    done = zoo_in(typed)
    assert done.code == code, done.err
    assert done.out == ""
    assert len(done.lines("Error: ")) == 1, done.err
    assert done.lines("Next: ") == [f"Next: {then}"]
    others = [line for line in done.err.splitlines() if not line.startswith(("Error: ", "Next: ", *SAID))]
    assert others == []
    assert max(map(len, done.err.splitlines())) <= LONGEST
    assert not MODELS & {*done.modules}
    assert done.seconds < SECONDS
    assert content(folder) == before


@pytest.mark.parametrize("then", sorted({then for *_, then in TABLE if then.startswith("zoo ")}))
def test_the_command_to_type_instead_exists_with_its_options(then: str) -> None:
    command: click.Command = cli
    words = shlex.split(then)[1:]
    while isinstance(command, click.Group) and words != ["--help"]:
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    _, more, _ = command.make_parser(click.Context(command)).parse_args(words)
    assert more == []


def test_there_are_mistakes_enough() -> None:
    assert len({typed for typed, *_ in TABLE}) == len(TABLE) >= 60


def test_a_misspelt_file_is_not_looked_for_on_the_hub(zoo_in: Callable[[str], Done]) -> None:
    for name in ("nope.csv", "revews.csv", "reviews.cvs"):
        error = zoo_in(f"train lora bert-imdb --data {name}").lines("Error: ")[0]
        assert error.startswith(f"Error: data '{name}' not found: there is no such file or folder.")
        assert "Hub" not in error


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--device cpu", "CUDA_VISIBLE_DEVICES"),
        ("--batch-size 8", "--batch-tokens N"),
        ("--max-steps 100", "--epochs X"),
        ("--method lora", "zoo train METHOD TASK"),
    ],
)
def test_an_option_that_has_no_like_here_says_what_is_done_instead(
    option: str, said: str, zoo_in: Callable[[str], Done]
) -> None:
    done = zoo_in(f"train lora bert-imdb {option}")
    assert said in done.lines("Error: ")[0]


def test_a_batch_size_is_not_advised_about_where_there_are_no_batches(zoo_in: Callable[[str], Done]) -> None:
    (error,) = zoo_in("predict mine text --batch-size 8").lines("Error: ")
    assert error == "Error: zoo predict has no option '--batch-size'."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_registry_that_cannot_be_written_to_is_left_alone(
    zoo_in: Callable[[str], Done], folder: Path
) -> None:
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    done = zoo_in("train lora bert-imdb --registry locked")
    locked.chmod(0o755)
    assert done.code == 1
    assert done.lines("Next: ") == ["Next: zoo train lora bert-imdb --registry FOLDER"]
    assert list(locked.iterdir()) == []
