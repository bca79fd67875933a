"""`zoo plugin new` and `zoo plugin check`, and third-party packages as pip really installs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Result
from zoo.plugins import manager
from zoo.plugins.scaffold import write_package

STRANGERS = ROOT / "tests" / "strangers"
THIRD_PARTY = ("zoo_my_", "zoo_scratch_", "zoo_deft", "zoo_emotion", "my_package")
Zoo = Callable[..., Result]


def install(site: Path, *sources: Path) -> None:
    options = ("-q", "--no-deps", "--no-build-isolation", "--upgrade", "--target", str(site))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *map(str, sources)],
        check=True,
        capture_output=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has put a new method, a new task and the third-party packages."""
    folder, made = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("made")
    third_party = [STRANGERS / name for name in ("zoo-scratch-lora", "zoo-deft", "zoo-emotion", "zoo-my-ia3")]
    install(
        folder,
        write_package("method", "my-method", made),
        write_package("task", "my-task", made),
        *third_party,
    )
    return folder


@pytest.fixture
def on_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    yield site
    for name in [name for name in sys.modules if name.startswith(THIRD_PARTY)]:
        del sys.modules[name]


@contextmanager
def edited(module: Path, old: str, new: str) -> Iterator[None]:
    whole = module.read_text(encoding="utf-8")
    assert old in whole
    module.write_text(whole.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        module.write_text(whole, encoding="utf-8")


# new


def test_a_new_package_has_a_plugin_a_test_and_a_readme(zoo: Zoo, tmp_path: Path) -> None:
    done = zoo("plugin", "new", "method", "my-method", "--into", tmp_path)
    assert done.code == 0
    assert [Path(line).relative_to(tmp_path / "my-method").as_posix() for line in done.out.splitlines()] == [
        "README.md",
        "pyproject.toml",
        "tests/test_zoo_my_method.py",
        "zoo_my_method.py",
    ]
    assert "pip install -e" in done.err
    for path in (tmp_path / "my-method").rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), path.name, "exec")
    assert "$" not in "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "my-method").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    "name", ["My-method", "my_method", "../mine", "", "-x", "7up", "a b", "class", "x" * 99]
)
def test_a_name_that_cannot_be_one_is_refused(name: str, zoo: Zoo, tmp_path: Path) -> None:
    done = zoo("plugin", "new", "method", "--into", tmp_path, "--", name)
    assert done.code == 2
    assert list(tmp_path.glob("*/pyproject.toml")) == []


def test_the_name_of_an_installed_plugin_is_refused_with_its_package(zoo: Zoo, tmp_path: Path) -> None:
    done = zoo("plugin", "new", "method", "lora", "--into", tmp_path)
    assert (done.code, "adapter-zoo" in done.error) == (2, True)
    assert zoo("plugin", "new", "task", "lora", "--into", tmp_path).code == 0


def test_a_folder_that_is_there_is_left_alone(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "my-method").mkdir()
    done = zoo("plugin", "new", "method", "my-method", "--into", tmp_path)
    assert (done.code, "exists already" in done.error) == (2, True)
    assert list((tmp_path / "my-method").iterdir()) == []


# check


@pytest.mark.parametrize(
    "arguments",
    [
        ("my-method", "--task", "bert-imdb"),
        ("my-task",),
        ("deft", "--task", "bert-imdb"),
        ("emotion",),
        ("my-ia3", "--task", "bert-imdb"),  # as README of 0.1.0 showed it
        ("scratch-lora", "--task", "clip-retrieval"),
        ("local",),  # a source, of which less can be checked
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_new_or_third_party_plugin_keeps_its_promises(
    arguments: tuple[str, ...], zoo: Zoo, on_path: Path
) -> None:
    done = zoo("plugin", "check", *arguments, "--json")
    assert done.code == 0, done.err
    assert {row["status"] for row in done.json} == {"ok"}


def test_a_restore_that_is_broken_on_purpose_is_named(zoo: Zoo, on_path: Path) -> None:
    forgets = (
        "    def restore(self, model, folder, params, task):\n"
        "        return self.attach(model, params, task, ())\n\n"
        "    def merge("
    )
    with edited(on_path / "zoo_my_method.py", "    def merge(", forgets):
        done = zoo("plugin", "check", "my-method", "--task", "bert-imdb")
    assert done.code == 5
    assert "restore on a fresh base gives equal outputs" in done.error
    line = next(line for line in done.out.splitlines() if line.startswith("bert-imdb: restore"))
    assert "\tfailed\tthey differ by" in line


def test_a_plugin_that_does_not_import_breaks_its_first_promise(
    zoo: Zoo, on_path: Path, tmp_path: Path
) -> None:
    install(on_path, write_package("method", "my-broken", tmp_path))
    (on_path / "zoo_my_broken.py").write_text("raise RuntimeError('no GPU')", encoding="utf-8")
    done = zoo("plugin", "check", "my-broken")
    (on_path / "zoo_my_broken.py").unlink()
    assert done.code == 5
    assert "it imports, declares its plugin API and makes a method" in done.error
    assert "no GPU" in done.error


def test_a_plugin_that_imports_numpy_at_once_gets_a_warning(zoo: Zoo, on_path: Path) -> None:
    with edited(on_path / "zoo_my_task.py", "from zoo import", "import numpy\nfrom zoo import"):
        done = zoo("plugin", "check", "my-task")
    assert "zoo_my_task loads numpy: import them inside functions" in done.out


def test_an_unknown_plugin_is_not_found(zoo: Zoo) -> None:
    done = zoo("plugin", "check", "bert-imbd")
    assert (done.code, "Did you mean 'bert-imdb'?" in done.error) == (3, True)


# third-party packages


@pytest.mark.parametrize("name", ["zoo-deft/zoo_deft.py", "zoo-emotion/zoo_emotion.py"])
def test_a_method_and_a_task_take_25_lines(name: str) -> None:
    assert len((STRANGERS / name).read_text(encoding="utf-8").splitlines()) <= 25


def test_one_mapping_makes_the_config_and_reads_one_made_elsewhere(on_path: Path) -> None:
    deft, task = manager.load_method("deft"), manager.load_task("bert-imdb")
    config = deft.config(deft.Params(r=4, method="qr"), task).to_dict()  # type: ignore[attr-defined]
    assert (config["r"], config["decomposition_method"]) == (4, "qr")
    assert deft.recognise({**config, "peft_type": "DEFT"}) == {"r": 4, "method": "qr"}
    ours = manager.load_method("my-ia3")
    assert ours.recognise({"peft_type": "IA3", "init_ia3_weights": True}) is None


def test_the_from_scratch_lora_computes_what_pefts_does_with_equal_weights(
    on_path: Path, tiny_bert: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    task, ours = manager.load_task("bert-imdb"), manager.load_method("scratch-lora")
    params = ours.Params(r=4, alpha=32.0, dropout=0.0, targets=("query", "value"))
    torch.manual_seed(0)
    base, head = task.load_model(tiny_bert, ["a", "b"])
    other, _ = task.load_model(tiny_bert, ["a", "b"])
    other.load_state_dict(base.state_dict())
    mine = ours.attach(base, params, task, head).eval()
    config = LoraConfig(r=4, lora_alpha=32, target_modules=["query", "value"])
    theirs = get_peft_model(other, config).eval()
    weights: dict[str, Any] = dict(theirs.named_parameters())
    copied = 0
    for name, value in mine.named_parameters():
        layer, _, last = name.rpartition(".")
        if last in ("lora_a", "lora_b"):
            torch.nn.init.normal_(value)
            twin = weights[
                f"base_model.model.{layer}.{'lora_A' if last == 'lora_a' else 'lora_B'}.default.weight"
            ]
            twin.data.copy_(value.data)
            copied += 1
    assert copied == 8
    batch = {"input_ids": torch.tensor([[2, 7, 9, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        found, wanted, plain = (model(**batch).logits for model in (mine, theirs, ours.merge(mine)))
    assert float((found - wanted).abs().max()) < 1e-5
    assert float((plain - found).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("r=64", "rank 64 is above the 32"),
        ("targets=nobody", "no linear layer's name contains nobody"),
        ("r=0", "'r' must be at least 1"),
        ("bias=some", "'bias' wants none|all|lora_only"),
    ],
)
def test_what_the_from_scratch_lora_refuses_is_reported_before_training(
    given: str, reason: str, zoo: Zoo, on_path: Path, tiny_bert: Path, reviews_csv: Path
) -> None:
    done = zoo("train", "scratch-lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "-s", given)
    assert done.code in (2, 5)
    assert reason in done.error


@pytest.mark.parametrize(("bias", "more"), [("none", 0), ("lora_only", 2 * 2 * 32), ("all", None)])
def test_biases_are_trained_as_asked(bias: str, more: int | None, on_path: Path, tiny_bert: Path) -> None:
    from zoo.training.parameter_counts import attach_without_weights, count

    task, method = manager.load_task("bert-imdb"), manager.load_method("scratch-lora")
    params = method.Params(r=4, bias=bias, targets=("query", "value"))
    model = attach_without_weights(method, params, task, tiny_bert, ["a", "b"])
    biases = {name: value for name, value in model.named_parameters() if name.endswith("bias")}
    trained = sum(value.numel() for name, value in biases.items() if value.requires_grad and "bert." in name)
    everything = sum(value.numel() for name, value in biases.items() if "bert." in name)
    assert trained == (everything if more is None else more)
    assert count(model).trainable > trained
