"""Parameters of methods, references to bases and data, filters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import Recipe, damage, edit, made, words
from tests.records import add_record
from zoo.cli.filters import filters_of, narrow
from zoo.hub import pull
from zoo.models import fingerprint
from zoo.plugins import manager, source
from zoo.plugins.params import describe, parse, split_pairs
from zoo.plugins.source import find_local
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.runtime.offline import offline

PAIRS = (
    "r=16",
    "alpha=32",
    "dropout=0.1",
    "targets=query,value",
    "lora_rank=8",
    "init=text",
    "encoder=mlp",
    "r:8",
)
REFERENCES = (
    *("google-bert/bert-base-cased", "bert-base-cased@0123", "hub:nyu-mll/glue:mrpc@main", "path:./rows.csv"),
    *(
        "pip:stanfordnlp/imdb",
        "pip:",
        "rows.csv",
        "~/model",
        "sha256:abcdef0123",
        "../model",
        "hub:x/y@",
        "C:\\x",
    ),
)


def _settings(recipe: Recipe) -> tuple[str, str]:
    method = recipe.one_of(sorted(manager.find("method")))
    return method, damage(recipe, recipe.one_of(PAIRS).encode()).decode("utf-8", "surrogateescape")[:4000]


@fuzz(made(_settings))
def test_a_parameter_is_taken_or_refused(setting: tuple[str, str]) -> None:
    method, pair = setting
    given = survives(lambda: split_pairs([pair]))
    if given is not None:
        params = manager.load_method(method).Params
        survives(lambda: parse(params, given, f"method '{method}'", f"zoo methods {method}"))


@fuzz(made(lambda recipe: edit(recipe, dict.fromkeys(("r", "alpha", "targets", "init_text", "dropout"), 1))))
def test_a_typed_parameter_is_taken_or_refused(values: dict[str, object]) -> None:
    for name in ("lora", "prompt", "oft"):
        params = manager.load_method(name).Params
        known = {key: value for key, value in values.items() if key in describe(params)}
        survives(parse, params, known, "method")
        survives(parse, params, values, "method")


@fuzz(words(*REFERENCES), "~nobody/x.csv", "a" * 3000, "./" + "a" * 300, "x--y", "hub:x.git", share=0.5)
def test_a_reference_is_found_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    """Without packages and with an empty cache, which would be looked through for each."""
    monkeypatch.setattr("zoo_sources.pip._installed", lambda module: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "model").mkdir(exist_ok=True)
    for kind in ("base", "data"):
        with offline():
            survives(source.resolve, reference, (), kind, Report(), weights=False)
    survives(lambda: source.resolve_eval_data(reference, Report()))
    survives(lambda: find_local(reference))
    survives(lambda: fingerprint.same_base([], reference))
    survives(lambda: pull._parse(reference))


@fuzz(words("accuracy=0.8", "f1=1e3", "loss=nan", "x", "=1"), "a" * 3000)
def test_a_bound_is_taken_or_refused(tmp_path: Path, text: str) -> None:
    registry = Registry(tmp_path / "registry.json")
    if not registry.exists():
        add_record(registry)
    adapters = registry.listed()

    def asked() -> object:
        named = text if text.count("=") else None
        found = filters_of(
            adapters, registry, base=named, method=named, task=text, least=[text], most=["f1=1"]
        )
        return narrow(adapters, list(found))

    survives(asked)
    survives(lambda: narrow(adapters, list(filters_of(
        adapters, registry, base=text, method=None, task=None, least=[text], most=[]
    ))))  # fmt: skip
