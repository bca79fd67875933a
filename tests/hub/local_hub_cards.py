"""What the Hub makes of a card: its front matter, what is wrong with it, and the tags that follow from it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

RELATIONS = ("adapter", "merge", "quantized", "finetune")
_FRONT = re.compile(r"---\s*\n(.*?)\n?---\s*(\n|$)", re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_DATASET_TYPE = re.compile(r"(?:[\w-]+/)?[\w.-]+")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*|code|multilingual")
_TEXTS = ("library_name", "pipeline_tag", "license_name", "license_link", "base_model_relation")
_LISTS = ("tags", "metrics", "datasets", "language", "base_model", "license")
_TAGGED = ("language", "license", "task_categories", "task_ids", "size_categories")


def front_matter(text: str) -> dict[str, Any]:
    """Return the YAML between the first dashes, or nothing where it is not a mapping."""
    yaml = importlib.import_module("yaml")
    found = _FRONT.match(text)
    try:
        card = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return {}
    return card if isinstance(card, dict) else {}


def check(text: str) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings for a card, in the Hub's words where they are known."""
    yaml = importlib.import_module("yaml")
    found = _FRONT.match(text)
    if not found or not found[1].strip():
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        card = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {' '.join(str(error).split())}"], []
    if not isinstance(card, dict):
        return ["YAML Metadata Error: the front matter must be a mapping"], []
    # Not an error there either: the cards that transformers and PEFT write of themselves state none.
    warnings = [] if card.get("license") else ['"license" is missing']
    return [*_simple(card), *_ids(card), *_index(card.get("model-index"))], warnings


def _simple(card: Mapping[str, Any]) -> Iterator[str]:
    for key in _TEXTS:
        if key in card and not isinstance(card[key], str):
            yield f'"{key}" must be a string'
    for key in _LISTS:
        if key in card and not all(isinstance(one, str) for one in _many(card[key])):
            yield f'"{key}" must be a string or a list of strings'
    relation = card.get("base_model_relation")
    if isinstance(relation, str) and relation not in RELATIONS:
        yield f'"base_model_relation" must be one of [{", ".join(RELATIONS)}]'
    for licence in values(card.get("license")):
        if not _LICENCE.fullmatch(licence):
            yield f'"license" with value "{licence}" is not valid. Use an identifier: apache-2.0.'
    for language in values(card.get("language")):
        if not _LANGUAGE.fullmatch(language):
            yield f'"language" with value "{language}" is not valid. It must be an ISO 639 code.'


def _ids(card: Mapping[str, Any]) -> Iterator[str]:
    for value in values(card.get("base_model")):
        if not _ID.fullmatch(value):
            yield f'"base_model" with value "{value}" is not valid. Use a model id from the Hub.'
    for index, value in enumerate(values(card.get("datasets"))):
        if not _ID.fullmatch(value):
            yield f'"datasets[{index}]" with value "{value}" is not valid. Use a dataset id from the Hub.'


def _index(index: Any) -> Iterator[str]:
    if index is None:
        return
    if not isinstance(index, list):
        yield '"model-index" must be an array'
        return
    for i, model in enumerate(index):
        where = f"model-index[{i}]"
        yield from _text(model, "name", where)
        yield from _each(model, "results", where, _result)


def _result(result: Any, where: str) -> Iterator[str]:
    for part, keys in (("task", ("type",)), ("dataset", ("type", "name"))):
        if not isinstance(result, dict) or not isinstance(result.get(part), dict):
            yield f'"{where}.{part}" is required'
            continue
        for key in keys:
            yield from _text(result[part], key, f"{where}.{part}")
        for key in ("config", "split", "revision"):
            if key in result[part] and not isinstance(result[part][key], str):
                yield f'"{where}.{part}.{key}" must be a string'
    named = result.get("dataset") if isinstance(result, dict) else None
    kind = named.get("type") if isinstance(named, dict) else None
    if isinstance(kind, str) and not _DATASET_TYPE.fullmatch(kind):
        pattern = r"/^(?:[\w-]+\/)?[\w-.]+$/"
        yield f'"{where}.dataset.type" with value "{kind}" fails to match the required pattern: {pattern}'
    yield from _each(result, "metrics", where, _metric)


def _metric(metric: Any, where: str) -> Iterator[str]:
    yield from _text(metric, "type", where)
    if not isinstance(metric, dict) or metric.get("value") is None:
        yield f'"{where}.value" is required'
    elif isinstance(metric["value"], float) and metric["value"] != metric["value"]:
        yield f'"{where}.value" must be a number'
    if isinstance(metric, dict) and not isinstance(metric.get("verified", False), bool):
        yield f'"{where}.verified" must be a boolean'


def _each(owner: Any, key: str, where: str, check: Any) -> Iterator[str]:
    found = owner.get(key) if isinstance(owner, dict) else None
    if not isinstance(found, list):
        yield f'"{where}.{key}" must be an array'
        return
    for index, one in enumerate(found):
        yield from check(one, f"{where}.{key}[{index}]")


def _text(owner: Any, key: str, where: str) -> Iterator[str]:
    value = owner.get(key) if isinstance(owner, dict) else None
    if value is None:
        yield f'"{where}.{key}" is required'
    elif not isinstance(value, str):
        yield f'"{where}.{key}" must be a string'
    elif not value.strip():
        yield f'"{where}.{key}" is not allowed to be empty'


def tags(kind: str, card: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the tags by which a repository is found: those of the card, and those that follow from it."""
    found = values(card.get("tags"))
    for key in _TAGGED:
        bare = kind == "models" and key == "language"
        found += [value if bare else f"{key}:{value}" for value in values(card.get(key))]
    if kind == "models":
        library = library_name(card, names)
        relation = card.get("base_model_relation") or ("adapter" if library == "peft" else None)
        found += [one for one in (library, card.get("pipeline_tag")) if isinstance(one, str)]
        found += [f"dataset:{value}" for value in values(card.get("datasets"))]
        for base in values(card.get("base_model")):
            found += [f"base_model:{base}", *([f"base_model:{relation}:{base}"] if relation else [])]
        found += ["safetensors"] if any(name.endswith(".safetensors") for name in names) else []
    return list(dict.fromkeys(found))


def library_name(card: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the card's library, or the one that its files give away."""
    guess = {"adapter_config.json": "peft", "config.json": "transformers"}
    return card.get("library_name") or next((guess[name] for name in guess if name in names), None)


def values(value: Any) -> list[str]:
    """Read a field that may be missing, one value or several: cards, forms and queries vary in this."""
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in _many(value)]


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
