"""Small real things: randomly drawn models of two layers with a trained tokenizer, and rows worth reading."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["COLUMNS"] = "200"

from zoo.registry import Registry

_GOOD = ("a moving and honest film", "wonderful acting throughout", "I loved every minute", "a joy to watch")
_BAD = ("a dull and lifeless film", "terrible acting throughout", "I hated every minute", "a chore to watch")
_MORE = ("on a Sunday", "in the cinema", "with my sister", "again last night", "for the third time")

FAMILIES = ("bert", "roberta", "distilbert")


def reviews(rows: int = 60, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) rows, half of them good, all different."""
    pick = random.Random(seed)
    found = []
    for index in range(rows):
        words = _GOOD if index % 2 else _BAD
        found.append((f"{pick.choice(words)} {pick.choice(_MORE)}, showing {index}", str(index % 2)))
    return found


def write_csv(path: Path, rows: list[tuple[str, str]], header: str = "text,label") -> Path:
    path.write_text(
        "\n".join([header, *(f'"{text}",{label}' for text, label in rows)]) + "\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def reviews_csv(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "reviews.csv", reviews())


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry" / "registry.json")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder with config, weights and tokenizer. The bodies only: no head is among the weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast, set_seed

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = [text for text, _ in reviews(200)]
    tokenizer.train_from_iterator(words, trainers.WordLevelTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    shapes: dict[str, dict[str, Any]] = {
        "bert": {"num_hidden_layers": 2, "intermediate_size": 64},
        "roberta": {"num_hidden_layers": 2, "intermediate_size": 64, "pad_token_id": 0},
        "distilbert": {"n_layers": 2, "hidden_dim": 64},
    }
    sizes: dict[str, Any] = {"vocab_size": 200, "max_position_embeddings": 66}
    folders = {}
    for family, shape in shapes.items():
        width = (
            {"dim": 32, "n_heads": 2}
            if family == "distilbert"
            else {"hidden_size": 32, "num_attention_heads": 2}
        )
        set_seed(0)
        folder = tmp_path_factory.mktemp(f"tiny-{family}")
        AutoModel.from_config(AutoConfig.for_model(family, **sizes, **shape, **width)).save_pretrained(
            str(folder)
        )
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_input_names=["input_ids", "attention_mask"],
        ).save_pretrained(str(folder))
        folders[family] = folder
    return folders


@pytest.fixture
def tiny_bert(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["bert"]


@pytest.fixture
def still_bert(tiny_bert: Path, tmp_path: Path) -> Path:
    """A BERT without any dropout, not even in the head: what is left to differ is the order of sums."""
    folder = shutil.copytree(tiny_bert, tmp_path / "still-bert")
    path = folder / "config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "hidden_dropout_prob": 0.0}
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where indexes go: never the cache folder of who runs the tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    return folder


class Result:
    """What a command did, as a person sees it."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """The `Error:` line, or nothing."""
        return next((line for line in self.err.splitlines() if line.startswith("Error:")), "")

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def zoo(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """Run `zoo ARGS...` in this process with its own registry: quick, once torch is imported."""
    from zoo.cli import main

    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry" / "registry.json"))

    def run(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, args)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


def run_process(*args: object, env: dict[str, str] | None = None, **options: Any) -> Result:
    """Run `python -m zoo ARGS...` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=300,
        check=False,
        **options,
    )
    return Result(done.returncode, done.stdout, done.stderr)
