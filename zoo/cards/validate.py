"""Compares a card with what its record renders, and its front matter with what the Hub accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from zoo.cards.metadata import BASE_TAG, RECORD_KEYS, dump, parse, split
from zoo.cards.redact import is_hub_id
from zoo.cards.render import parts, render
from zoo.registry.schema import AdapterRecord
from zoo.runtime.suggest import did_you_mean

_LICENCE_IDS = """
apache-2.0 mit openrail openrail++ bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc
cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-lr isc lppl-1.3c ms-pl mpl-2.0
odc-by odbl open-mdw osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl h-research intel-research
apple-ascl apple-amlr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1
llama3.2 llama3.3 llama4 grok2-community gemma unknown other
"""
_LICENCES = frozenset(_LICENCE_IDS.split())
"""As the Hub calls them."""
_RELATIONS = ("adapter", "finetune", "merge", "quantized")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")
_PATH = re.compile(r"[./~\\]|[A-Za-z]:|path:|local:|file:")
_LISTS = ("base_model", "datasets", "license", "language")
"""May be one text or several."""
NO_BLOCK = "the card has no zoo markers: adapter-zoo 0.1 or a person wrote it."


def validate(text: str) -> list[str]:
    """What the Hub would refuse in a card's front matter, a sentence each; it is not asked."""
    head, _ = split(text)
    if head is None:
        return ["the card has no front matter: it begins with a line ---, and another ends it."]
    try:
        matter = parse(head)
    except ValueError as error:
        return [f"the front matter cannot be read: {error}."]
    return [*_wrong_types(matter), *_wrong_values(matter), *_unreadable(matter)]


def differs(text: str, record: AdapterRecord) -> list[str]:
    """How front matter and block of a card differ from what the record renders: the first line of each.

    Prose outside the block is a person's, and so are further keys and tags of the front matter.
    """
    card = parts(text)
    if card is None:
        return [NO_BLOCK]
    try:
        matter = parse(card.matter)
    except ValueError as error:
        return [f"the front matter cannot be read: {error}."]
    # a published card opens the adapter from its repository
    repo = record.hub.repo if record.hub and record.hub.repo in card.block else None
    wanted = parts(render(record, repo))
    assert wanted is not None
    shown, known = _of_record(matter), _of_record(parse(wanted.matter))
    missing = [tag for tag in known["tags"] if tag not in shown["tags"]]
    foreign = [tag for tag in shown["tags"] if tag not in known["tags"] and str(tag).startswith(BASE_TAG)]
    shown["tags"] = known["tags"] = []
    found = [_first_difference(dump(shown), dump(known)), _first_difference(card.block, wanted.block)]
    return [
        *filter(None, found),
        *(f"the tag '{tag}' is missing." for tag in missing),
        *(f"the tag '{tag}' is not of the recorded base." for tag in foreign),
    ]


def _of_record(matter: dict[str, Any]) -> dict[str, Any]:
    found = {key: matter[key] for key in RECORD_KEYS if key in matter}
    index = found.get("model-index")
    if isinstance(index, list) and index and isinstance(index[0], dict):
        # a pulled adapter may have another name here
        found["model-index"] = [{**index[0], "name": ""}, *index[1:]]
    tags = matter.get("tags")
    return {**found, "tags": tags if isinstance(tags, list) else []}


def _first_difference(shown: str, wanted: str) -> str | None:
    for one, other in zip_longest(shown.splitlines(), wanted.splitlines()):
        if one != other:
            if one is None:
                return f"the line '{other.strip()}' is missing."
            if other is None:
                return f"the line '{one.strip()}' is not from the record."
            return f"the line '{one.strip()}' should be '{other.strip()}'."
    return None


def _wrong_types(matter: dict[str, Any]) -> Iterator[str]:
    for key in _LISTS:
        given = matter.get(key)
        if given is not None and not all(isinstance(one, str) and one for one in _several(given)):
            quotes = ": put it in quotes" if isinstance(given, bool) else ""
            yield f"{key} is {given!r}, which is not a string{quotes}."
    for key in ("metrics", "tags"):
        if key in matter and not (
            isinstance(matter[key], list) and all(isinstance(one, str) for one in matter[key])
        ):
            yield f"{key} is not a list of strings."
    for key in ("library_name", "pipeline_tag", "base_model_relation", "license_name", "license_link"):
        if key in matter and not isinstance(matter[key], str):
            yield f"{key} is {matter[key]!r}, which is not a string."


def _wrong_values(matter: dict[str, Any]) -> Iterator[str]:
    for one in _texts(matter.get("base_model")):
        if _PATH.match(one):
            yield f"base_model '{one}' is a path: the Hub wants the id of a model, owner/name."
        elif not is_hub_id(one):
            yield f"base_model '{one}' is not the id of a model: owner/name."
    for one in _texts(matter.get("datasets")):
        if not is_hub_id(one) and not re.fullmatch(r"\w[\w.-]*", one):
            yield f"datasets names '{one}', which is not the id of a dataset."
    if matter.get("base_model_relation", "adapter") not in _RELATIONS:
        yield f"base_model_relation is one of {', '.join(_RELATIONS)}."
    if not matter.get("license"):
        yield "license is missing."
    for one in _texts(matter.get("license")):
        if one not in _LICENCES:
            likely = did_you_mean(one.lower().replace(" ", "-"), _LICENCES)
            yield f"license '{one}' is unknown to the Hub.{likely}"
    for one in _texts(matter.get("language")):
        if not _LANGUAGE.fullmatch(one):
            yield f"language '{one}' is not an ISO 639 code such as en."


def _unreadable(matter: dict[str, Any]) -> Iterator[str]:
    """A model-index that the Hub's own client cannot read."""
    from huggingface_hub import ModelCardData

    index = matter.get("model-index")
    if index is None:
        return
    try:
        ModelCardData(**{"model-index": index})
    except (ValueError, TypeError, AttributeError) as error:
        yield f"model-index cannot be read: {' '.join(str(error).split())}"
        return
    for result in (result for model in index for result in model["results"]):
        named = [result["task"]["type"], result["dataset"]["type"], result["dataset"]["name"]]
        if not all(isinstance(one, str) and one for one in named):
            yield "model-index has a result whose task or data set has no name."
        for metric in result["metrics"]:
            if not isinstance(metric["type"], str) or isinstance(metric["value"], bool | list | dict | None):
                yield f"model-index has no value for '{metric['type']}'."


def _several(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _texts(value: object) -> list[str]:
    return [one for one in _several(value) if isinstance(one, str)]
