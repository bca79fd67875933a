"""Searches the Hub for adapters by the tags of their cards: base, method, task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.cards.markdown import single_line
from zoo.errors import GO_ONLINE, UnreachableError
from zoo.hub.client import client, log_client_warnings, to_zoo_error
from zoo.models.fingerprint import LEGACY_IDS, canonical
from zoo.plugins import manager
from zoo.runtime.console import Report

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

LIBRARIES = ("adapter-zoo", "peft")
"""Tags that an adapter has whose base nobody asked about: our cards', and those of PEFT's own."""
_ON = "base_model:adapter:"
_EXPAND = ("author", "cardData", "downloads", "lastModified", "pipeline_tag", "tags")
_LONGEST = 200
"""Characters of an untrusted field."""


@dataclass(frozen=True)
class Found:
    """An adapter on the Hub as its publisher describes it, without control characters."""

    repo: str
    base: str
    method: str
    task: str
    metric: str
    """Its first metric, as its publisher measured it."""
    value: float | None
    downloads: int
    updated: str


def search(
    report: Report,
    *,
    query: str | None = None,
    base: str | None = None,
    method: str | None = None,
    task: str | None = None,
    author: str | None = None,
    limit: int = 30,
) -> list[Found]:
    """The most downloaded first.

    Args:
        base: a Hub id, in its new or its old form: cards have both.
        query: a part of the repository's name.

    Raises:
        UnreachableError: the Hub cannot be asked.
    """
    report.say("searching the Hub")
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        raise UnreachableError("searching asks the Hub, and HF_HUB_OFFLINE forbids that.", GO_ONLINE)
    wanted = [tag for tag in (method, task) if tag]
    ours = canonical(base or "")
    names = (ours, *(old for old, new in LEGACY_IDS.items() if new == ours))
    starts = [f"{_ON}{name}" for name in names] if base else LIBRARIES
    found: dict[str, ModelInfo] = {}
    with log_client_warnings(report):
        for start in starts:
            for info in _listed([start, *wanted], query, author, limit):
                found.setdefault(info.id, info)
    known = (frozenset(manager.find("method")), frozenset(manager.find("task")))
    rows = [_row(info, base, *known) for info in found.values()]
    rows.sort(key=lambda row: (-row.downloads, row.repo))
    return rows[:limit]


def _listed(tags: list[str], query: str | None, author: str | None, limit: int) -> list[ModelInfo]:
    """Page after page, until there are `limit` or no more; the client asks again for one that failed."""
    try:
        models = client().list_models(
            filter=tags,
            search=query,
            author=author,
            sort="downloads",
            limit=limit,
            expand=list(_EXPAND),  # type: ignore[arg-type]
        )
        return list(models)
    except Exception as error:
        found = to_zoo_error("", error)
        raise type(found)(str(found), found.hint or "zoo list") from error


def _row(info: ModelInfo, asked: str | None, methods: frozenset[str], tasks: frozenset[str]) -> Found:
    tags = [tag for tag in info.tags if isinstance(tag, str)] if isinstance(info.tags, list) else []
    metric, value = _metric(info)
    updated = info.last_modified
    return Found(
        repo=_one_line(info.id),
        base=_one_line(_base(info, tags) or (canonical(asked) if asked else "")),
        method=_one_line(next((tag for tag in tags if tag in methods), "")),
        task=_one_line(next((tag for tag in tags if tag in tasks), info.pipeline_tag or "")),
        metric=_one_line(metric),
        value=value,
        downloads=info.downloads if isinstance(info.downloads, int) else 0,
        updated=updated.date().isoformat() if updated else "",
    )


def _base(info: ModelInfo, tags: list[str]) -> str:
    named = getattr(info.card_data, "base_model", None)
    first = named[0] if isinstance(named, list) and named else named
    tagged = next((tag.removeprefix(_ON) for tag in tags if tag.startswith(_ON)), "")
    return first if isinstance(first, str) else tagged


def _metric(info: ModelInfo) -> tuple[str, float | None]:
    """Of the card's model-index, in whatever form its publisher wrote it."""
    results = getattr(info.card_data, "eval_results", None)
    for result in results if isinstance(results, list) else ():
        value = getattr(result, "metric_value", None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(getattr(result, "metric_type", "")), float(value)
    return "", None


def _one_line(text: object) -> str:
    return single_line(str(text or ""))[:_LONGEST]
