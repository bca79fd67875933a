"""What goes wrong, one test each: the exit code, one line that says what, the next step, and nothing lost.

Exit codes: 1 failed, 2 wrong words or rows, 3 not found, 5 does not fit, 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Result, reviews, write_csv
from zoo.registry.store import Registry
from zoo.runtime import signals
from zoo.training import progress

Zoo = Callable[..., Result]


class Kept:
    """The registry with `mine` in it, which nothing in this file may change."""

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "registry.json"
        self.new: set[str] = set()
        """Adapters that the test registers on purpose."""
        self.look()

    def look(self) -> None:
        """What the test has done to it by itself is how it is to stay."""
        self.before = self._content()
        self.registry_before = self.file.read_bytes()

    def check(self) -> None:
        """All that was there is there unchanged, and nothing is new but what the test says."""
        assert self._content() == self.before
        if not self.new:
            assert self.file.read_bytes() == self.registry_before
            return
        before, after = json.loads(self.registry_before)["adapters"], json.loads(self.file.read_bytes())
        assert set(after["adapters"]) == set(before) | self.new
        assert {name: after["adapters"][name] for name in before} == before

    def _content(self) -> dict[str, bytes]:
        """Every file of every adapter; the lock and the checkpoints of runs that failed do not count."""
        adapters = self.folder / "adapters"
        files = (path for path in adapters.rglob("*") if path.is_file())
        names = {path.relative_to(adapters): path for path in files}
        return {
            str(name): path.read_bytes()
            for name, path in names.items()
            if name.parts[0] != ".work" and name.parts[0] not in getattr(self, "new", ())
        }


@pytest.fixture(autouse=True)
def kept(trained_bert: Registry, tmp_path: Path) -> Iterator[Kept]:
    folder = tmp_path / "registry"
    registry = Registry(folder / "registry.json")
    made = shutil.copytree(trained_bert.adapter_folder("lora"), registry.work_folder("mine") / "made")
    registry.add(msgspec.structs.replace(trained_bert.get("lora"), name="mine"), made)
    kept = Kept(folder)
    yield kept
    kept.check()


@pytest.fixture
def train(zoo: Zoo, tiny_bert: Path, reviews_csv: Path) -> Zoo:
    """`zoo train lora bert-imdb` on the tiny base and good rows, with more words."""

    def run(*more: object, data: Path = reviews_csv, base: Path = tiny_bert) -> Result:
        words = ("train", "lora", "bert-imdb", "--base", base, "--data", data, "--epochs", 1)
        return zoo(*words, "--precision", "fp32", *more)

    return run


def refused(result: Result, code: int, *words: str, then: str | None = None) -> None:
    """It ended with that code, one `Error:` line with those words in it, and `Next:` with the remedy."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1, result.err
    for word in words:
        assert word in errors[0]
    assert "unexpected" not in errors[0]
    if then is not None:
        remedies = [line for line in result.err.splitlines() if line.startswith("Next: ")]
        assert len(remedies) == 1, result.err
        assert then in remedies[0]


# The command


@pytest.mark.parametrize(
    ("command", "code", "parts", "then"),
    [
        ("train lorra bert-imdb", 3, ("lorra", "Did you mean 'lora'?"), "zoo train lora bert-imdb"),
        ("train lora bert-imbd", 3, ("Did you mean 'bert-imdb'?",), "zoo train lora bert-imdb"),
        (
            "train lora bert-imdb --base sentence-transformers/all-MiniLM-L6-v3",
            3,
            ("Did you mean 'sentence-transformers/all-MiniLM-L6-v2'?",),
            "--base sentence-transformers/all-MiniLM-L6-v2",
        ),
        ("trian lora", 2, ("'trian'", "Did you mean 'train'?"), "zoo train lora"),
        ("train lora bert-imdb --lmit 3", 2, ("--lmit",), "--limit 3"),
        ("show mime", 3, ("Did you mean 'mine'?",), "zoo show mine"),
        ("evaluate mine --precision half", 2, ("'half'",), None),
        ("predict mine", 2, ("give texts",), "zoo predict mine"),
        ("rm mine", 2, ("no terminal",), "--yes"),
        ("list --min accuracy=high", 2, ("'--min accuracy'", "'high'"), None),
        ("list --min accuracy", 2, ("'accuracy' is not key=value",), "--min"),
        ("list --sort nonsense", 2, ("'nonsense'", "created", "accuracy"), None),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_near_or_what_to_type(
    command: str, code: int, parts: tuple[str, ...], then: str | None, zoo: Zoo
) -> None:
    refused(zoo(*command.split()), code, *parts, then=then)


@pytest.mark.parametrize(
    ("options", "code", "parts", "then"),
    [
        ("-s targets=nothing_matches", 5, ("lora does not fit", "nothing_matches"), None),
        ("--seed -1", 2, ("--seed", "got -1"), None),
        ("--limit many", 2, ("--limit", "many"), "zoo train --help"),
        ("--precision fp8", 2, ("'fp8'", "auto, bf16, fp32"), None),
        ("-s r=big", 2, ("'r' wants a whole number", "'big'"), None),
        ("-s r=0", 2, ("'r' must be at least 1", "got 0"), None),
    ],
)
def test_a_setting_that_training_cannot_take_is_refused(
    options: str, code: int, parts: tuple[str, ...], then: str | None, train: Zoo
) -> None:
    refused(train(*options.split()), code, *parts, then=then)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--limit", "0"),
        ("--limit", "-3"),
        ("--eval-limit", "0"),
        ("--epochs", "0"),
        ("--epochs", "inf"),
        ("--lr", "nan"),
        ("--max-length", "0"),
        ("--batch-tokens", "0"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_option(option: str, value: str, train: Zoo) -> None:
    refused(train(option, value), 2, f"{option} must be greater than 0", value)


def test_a_budget_smaller_than_one_example_still_trains(train: Zoo, kept: Kept) -> None:
    kept.new = {"narrow"}
    done = train("--batch-tokens", 1, "--limit", 10, "--name", "narrow", "--json")
    assert done.code == 0, done.err
    assert done.json["training"]["steps"] == 10
    assert done.err.count("each is a batch of its own") == 1


def test_bf16_on_hardware_without_it_is_refused(train: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.runtime.device.has_bf16", lambda: False)
    refused(train("--precision", "bf16"), 2, "no bf16", then="--precision auto")


# The rows


def test_rows_of_one_class_are_refused(train: Zoo, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "good.csv", [(text, "1") for text, _ in reviews()])
    refused(train(data=data), 2, "every row", "'1'", "at least two")


def test_rows_without_text_are_left_out_with_a_warning_and_their_count(
    train: Zoo, tmp_path: Path, kept: Kept
) -> None:
    kept.new = {"gaps"}
    rows: list[dict[str, Any]] = [{"text": text, "label": int(label)} for text, label in reviews()]
    rows[3]["text"], rows[5]["text"], rows[8]["text"] = None, "", "  \t "
    data = tmp_path / "gaps.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = train("--name", "gaps", "--json", data=data)
    assert done.code == 0, done.err
    warning = next(line for line in done.err.splitlines() if line.startswith("Warning:"))
    assert "3 rows" in warning
    assert "train row 4" in warning
    assert done.json["data"]["n_train"] + done.json["data"]["n_held_out"] == 57


def test_labels_that_all_differ_are_refused_as_no_classes(train: Zoo, tmp_path: Path) -> None:
    rows = [(text, f"{index / 7:.4f}") for index, (text, _) in enumerate(reviews())]
    data = write_csv(tmp_path / "scores.csv", rows)
    refused(train(data=data), 2, "60 different values", "not class labels")


# The base


def test_corrupt_weights_of_the_base_are_named(train: Zoo, tiny_bert: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_bert, tmp_path / "truncated")
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    refused(train(base=base), 1, str(base))


def test_a_base_of_an_unknown_architecture_is_named(train: Zoo, tiny_bert: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_bert, tmp_path / "unknown-type")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "never-heard-of"}))
    refused(train(base=base), 5, "never-heard-of")


def test_a_base_without_a_tokenizer_is_named(train: Zoo, tiny_bert: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_bert, tmp_path / "no-tokenizer")
    for path in base.glob("*token*"):
        path.unlink()
    refused(train(base=base), 3, str(base), "tokenizer")


# Stopping


def endless(tiny: Path, data: Path) -> list[str]:
    words = ["train", "lora", "bert-imdb", "--base", str(tiny), "--data", str(data), "--name", "stopped"]
    return [*words, "--epochs", "40", "--limit", "16", "--eval-limit", "8", "--precision", "fp32"]


STOPS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP, signal.SIGUSR1] if os.name != "nt" else [])]


@pytest.fixture
def handlers() -> Iterator[None]:
    """`zoo` in this process sets handlers of signals: pytest's own come back."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPS}  # nohup ignores SIGHUP
    yield
    signals.listen()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", STOPS)
def test_a_stopped_training_registers_nothing_and_the_same_command_goes_on(
    number: signal.Signals,
    zoo: Zoo,
    tiny_bert: Path,
    reviews_csv: Path,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = kept.folder / "adapters" / ".work"
    step_end, calls = progress.Live.step_end, []

    def signal_at_the_fifth(live: Any, *steps: int) -> Any:
        calls.append(live)
        if len(calls) == 5:
            signal.raise_signal(number)
        return step_end(live, *steps)

    words = endless(tiny_bert, reviews_csv)
    with monkeypatch.context() as patch:
        patch.setattr(progress.Live, "step_end", signal_at_the_fifth)
        done = zoo(*words)
    refused(done, 128 + number, "stopped at step", then="zoo resume")
    assert "a checkpoint is saved at the end of this step; once more stops at once" in done.err
    assert done.out == ""
    kept.check()
    assert not (kept.folder / "adapters" / "stopped").exists()
    assert "checkpoint-5" in [path.parent.name for path in work.glob("*/checkpoints/*/live.json")]

    done = zoo(*words)
    assert done.code == 0, done.err
    assert "going on with run" in done.err
    assert "resuming from checkpoint-" in done.err
    kept.new = {"stopped"}
    record = json.loads(kept.file.read_bytes())["adapters"]["stopped"]
    assert record["training"]["steps"] % 40 == 0
    assert list(work.glob("*/checkpoints")) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_before_the_first_step_registers_nothing(
    tiny_bert: Path, reviews_csv: Path, kept: Kept
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *endless(tiny_bert, reviews_csv)],
        env={**os.environ, "ZOO_REGISTRY": str(kept.file), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    err = ""
    for line in process.stderr:
        err += line
        if "the untrained base" in line:
            break
    process.send_signal(signal.SIGINT)
    out, more = process.communicate(timeout=60)
    refused(Result(process.returncode, out, err + more), 130, "nothing was registered")
    assert out == ""


# The registry and the disk


def test_training_into_a_truncated_registry_is_refused_before_any_work(train: Zoo, kept: Kept) -> None:
    kept.file.write_bytes(kept.file.read_bytes()[:200])
    kept.look()
    done = train("--name", "new")
    refused(done, 1, "damaged", then="zoo registry rebuild")
    assert "base:" not in done.err


def test_a_full_disk_is_one_line_and_nothing_is_registered(
    train: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Registry.add

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def add_to_full_disk(self: Registry, record: Any, made: Path) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            return add(self, record, made)

    monkeypatch.setattr(Registry, "add", add_to_full_disk)
    refused(train("--name", "new"), 1, "no space is left for")


# Putting an adapter to work


@pytest.mark.parametrize("name", ["nowhere.txt", "nowhere.csv"])
def test_predict_from_a_file_that_is_not_there_is_refused(name: str, zoo: Zoo, tmp_path: Path) -> None:
    refused(zoo("predict", "mine", "-f", tmp_path / name), 3, f"no file '{tmp_path / name}'")


@pytest.mark.parametrize("name", ["latin.txt", "latin.csv"])
def test_predict_from_a_file_that_is_not_utf_8_is_refused(name: str, zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"text\ncaf\xe9\n")
    refused(zoo("predict", "mine", "-f", tmp_path / name), 2, name, "is not UTF-8")


@pytest.mark.parametrize(("name", "content"), [("a.txt", ""), ("a.txt", "\n \n"), ("a.csv", "")])
def test_predict_from_an_empty_file_is_refused(name: str, content: str, zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    refused(zoo("predict", "mine", "-f", tmp_path / name), 2, name)


def test_predict_from_a_folder_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    refused(zoo("predict", "mine", "-f", tmp_path), 1, str(tmp_path))


def test_predict_from_a_table_without_that_column_is_refused(zoo: Zoo, reviews_csv: Path) -> None:
    done = zoo("predict", "mine", "-f", reviews_csv, "--column", "review")
    refused(done, 2, "no column 'review'", "text, label", then="--column")


def test_evaluate_on_labels_that_the_adapter_does_not_know_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    words = {"0": "negative", "1": "neutral"}
    data = write_csv(tmp_path / "other.csv", [(text, words[label]) for text, label in reviews()])
    refused(zoo("evaluate", "mine", "--data", data), 2, "'neutral'", "negative, positive")


def test_an_adapter_whose_file_was_altered_is_not_loaded(zoo: Zoo, kept: Kept) -> None:
    file = kept.folder / "adapters" / "mine" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    kept.look()
    refused(zoo("predict", "mine", "a text"), 5, str(file), "hash")


def test_an_adapter_whose_settings_were_altered_is_not_loaded(zoo: Zoo, kept: Kept) -> None:
    """A changed lora_alpha changes every answer as surely as a changed weight."""
    file = kept.folder / "adapters" / "mine" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"lora_alpha": 1600}))
    kept.look()
    refused(zoo("predict", "mine", "a text"), 5, str(file), "hash")
