"""A card held against what the Hub takes, and against the record: sentences are free, numbers are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from zoo.cards.facts import METRIC, base_facts, cost_facts, data_facts, metric_rows, training_facts
from zoo.cards.licences import unknown_licences
from zoo.cards.markdown import plain, tables, unmarked
from zoo.cards.metadata import front_matter, parse, split
from zoo.cards.redact import is_hub_id, public
from zoo.cards.render import render
from zoo.cards.tables import differing_results, same_numbers
from zoo.registry.schema import UNKNOWN, AdapterRecord

_RELATIONS = ("adapter", "finetune", "merge", "quantized")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")
_PATH = re.compile(r"[./~\\]|[A-Za-z]:|path:|local:|file:")
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_LISTS = ("base_model", "datasets", "license", "language")
"""May be one text or several."""
_BASE_TAG = "base_model:"
_NO_HEAD = "the card has no front matter: it begins with a line ---, and another ends it."
_NEEDED = ("base model", "base revision", "fingerprint of the rows", "trained parameters")
"""Rows of the tables that are missed where they are gone."""


def validate(text: str) -> list[str]:
    """What the Hub would refuse in a card's front matter, a sentence each; it is not asked."""
    head, _ = split(text)
    if head is None:
        return [_NO_HEAD]
    try:
        matter = parse(head)
    except ValueError as error:
        return [f"the front matter cannot be read: {error}."]
    return [*_wrong_types(matter), *_wrong_values(matter), *_unreadable(matter)]


def differs(text: str, record: AdapterRecord) -> list[str]:
    """What an edited card says otherwise than the record, a sentence each; nothing where only prose changed.

    Sections and sentences may come, go and move. The results, the doubts about them, the base, hashes and
    the number of parameters must be there and be the record's; so must what else of the run stands in tables.
    A number may be rounded, to two digits after the point or more.
    """
    record = public(record)
    head, body = split(text)
    if head is None:
        return [_NO_HEAD]
    try:
        matter = parse(head)
    except ValueError as error:
        return [f"the front matter cannot be read: {error}."]
    return list(
        dict.fromkeys(
            [
                *_front_matter_differs(matter, record),
                *differing_results(matter, front_matter(record)),
                *_results_differ(body, record),
                *_facts_differ(body, record),
            ]
        )
    )


def is_edited(text: str, record: AdapterRecord) -> bool:
    """Is the card other than the one that the record gives, wherever that was to be opened from?"""
    repos = {None, record.hub.repo if record.hub else None}
    return all(text.strip() != render(record, repo).strip() for repo in repos)


def _wrong_types(matter: dict[str, Any]) -> Iterator[str]:
    for key in _LISTS:
        given = matter.get(key)
        if given is not None and not all(isinstance(one, str) and one for one in _several(given)):
            yield f"{key} is {matter[key]!r}, which is no text{_quotes(matter[key])}."
    for key in ("metrics", "tags"):
        if key in matter and not (
            isinstance(matter[key], list) and all(isinstance(one, str) for one in matter[key])
        ):
            yield f"{key} is no list of texts."
    for key in ("library_name", "pipeline_tag", "base_model_relation", "license_name", "license_link"):
        if key in matter and not isinstance(matter[key], str):
            yield f"{key} is {matter[key]!r}, which is no text."


def _quotes(value: object) -> str:
    return ": put it in quotes" if isinstance(value, bool) else ""


def _wrong_values(matter: dict[str, Any]) -> Iterator[str]:
    for one in _texts(matter.get("base_model")):
        if _PATH.match(one):
            yield f"base_model '{one}' is a path: the Hub takes the id of a model, owner/name."
        elif not is_hub_id(one):
            yield f"base_model '{one}' is no id of a model: owner/name."
    for one in _texts(matter.get("datasets")):
        if not is_hub_id(one) and not re.fullmatch(r"\w[\w.-]*", one):
            yield f"datasets names '{one}', which is no id of a data set."
    if matter.get("base_model_relation", "adapter") not in _RELATIONS:
        yield f"base_model_relation is one of {', '.join(_RELATIONS)}."
    if not matter.get("license"):
        yield "license is missing."
    yield from unknown_licences(_texts(matter.get("license")))
    for one in _texts(matter.get("language")):
        if not _LANGUAGE.fullmatch(one):
            yield f"language '{one}' is no code of ISO 639: en."


def _unreadable(matter: dict[str, Any]) -> Iterator[str]:
    """What the Hub's own client cannot make anything of."""
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


def _front_matter_differs(matter: dict[str, Any], record: AdapterRecord) -> Iterator[str]:
    wanted = front_matter(record)
    for key in ("base_model", "base_model_relation", "base_model_revision", "library_name"):
        if matter.get(key) != wanted.get(key):
            yield _differs(key, matter.get(key), wanted.get(key))
    hashes, known = matter.get("base_model_sha256"), wanted.get("base_model_sha256", {})
    for name in sorted({*known, *(hashes if isinstance(hashes, dict) else {})}):
        shown = hashes.get(name) if isinstance(hashes, dict) else None
        if shown != known.get(name):
            yield _differs(f"base_model_sha256 of {name}", shown, known.get(name))
    lost = [one for one in wanted.get("datasets", []) if one not in _texts(matter.get("datasets"))]
    yield from (f"the data set {one} is gone from the front matter." for one in lost)
    tags = {one for one in _texts(matter.get("tags")) if one.startswith(_BASE_TAG)}
    for one in sorted(tags ^ {one for one in wanted["tags"] if one.startswith(_BASE_TAG)}):
        yield f"the tag {one} {'is not that of the base on record' if one in tags else 'is gone'}."


def _results_differ(body: str, record: AdapterRecord) -> Iterator[str]:
    header, *rows = ([unmarked(cell) for cell in row] for row in metric_rows(record))
    shown = [table for table in tables(body) if table.header and table.header[0].lower() == METRIC]
    known = {row[0] for row in rows}
    for name, *values in rows:
        found = [
            dict(zip(table.header, cells, strict=False))
            for table in shown
            for cells in table.rows
            if cells[0] == name
        ]
        if not found:
            yield f"{name} is gone from the table of results."
            continue
        for column, value in zip(header[1:], values, strict=True):
            label = name if column == "value" else f"{column} of {name}"
            if not any(column in cells for cells in found):
                yield f"{label} is gone from the table of results."
            for cells in found:
                if not same_numbers(cells.get(column, value), value):
                    yield _differs(label, cells[column], value)
    for one in sorted({row[0] for table in shown for row in table.rows} - known):
        yield f"{one} in the table of results is not on record."
    said_of_it = unmarked(body)
    for flag in record.flags:
        if unmarked(plain(flag)) not in said_of_it:
            yield f"the doubt is gone: {flag}."


def _facts_differ(body: str, record: AdapterRecord) -> Iterator[str]:
    base = base_facts(record.base) if record.base.id != UNKNOWN else []
    data = data_facts(record.data) if record.data else []
    cost = cost_facts(record)
    needed = {
        "base model",
        "base revision",
        "fingerprint of the rows",
        "trained parameters",
        *record.base.weights,
    }
    shown = [row for table in tables(body) for row in table.rows if len(table.header) == len(row) == 2]
    for name, value in (*base, *data, *cost, *training_facts(record)):
        key, wanted = unmarked(name), unmarked(value)
        found = [cells[1] for cells in shown if cells[0].lower() == key.lower()]
        if not found and key in needed:
            yield f"{key} is gone from the tables."
        as_it_is = "`" in value
        for said in found:
            if said != wanted and (as_it_is or not same_numbers(said, wanted)):
                yield _differs(key, said, wanted)
    known = {
        record.base.config_sha256,
        *record.base.weights.values(),
        *(f.sha256 for f in record.files.values()),
    }
    known |= {record.data.fingerprint} if record.data else set()
    yield from (f"sha256 {one} is not on record." for one in _SHA256.findall(body) if one not in known)


def _differs(name: str, said: object, wanted: object) -> str:
    if said is None:
        return f"{name} is gone; the record has {wanted}."
    return f"{name} {said} is not the record's{'; it has none' if wanted is None else f' {wanted}'}."


def _several(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _texts(value: object) -> list[str]:
    return [one for one in _several(value) if isinstance(one, str)]
