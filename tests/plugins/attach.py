"""Attaches methods to tiny models, for the tests of methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.plugins import manager
from zoo.plugins.params import parse


def load(base: Path, seed: int = 0) -> tuple[Any, list[str]]:
    """The base with a head drawn from the seed, and the names of the head's modules."""
    from transformers import set_seed

    set_seed(seed)
    return manager.load_task("bert-imdb").load_model(base, ("negative", "positive"))


def attach(name: str, model: Any, head: list[str], **given: Any) -> Any:
    """The model with the method attached, its parameters given as `-s` or a record gives them."""
    method = manager.load_method(name)
    return method.attach(model, parse(method.Params, given, name), manager.load_task("bert-imdb"), head)


def attached(name: str, base: Path, **given: Any) -> Any:
    return attach(name, *load(base), **given)
