"""What is asked of an adapter before a byte of it leaves: each question by name, its answer in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from zoo.adapters.integrity import changed_files
from zoo.cards.redact import is_hub_id
from zoo.cards.validate import NO_BLOCK, differs, validate
from zoo.errors import ZooError
from zoo.hub.client import HUB_TIMEOUT, client, retrying, said, status_of
from zoo.models.fingerprint import canonical, is_among
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.runtime.console import Report

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

PASSED, WARNING, FAILED = "passed", "warning", "failed"
_LONGEST_LIST = 3
_SERVER_FAILS = 500
"""HTTP statuses below it are answers."""


@dataclass(frozen=True)
class Gate:
    """What one gate says."""

    name: str
    verdict: str
    """`passed`, `failed`, or `warning`: it goes through, and the person is told."""
    words: str
    hint: str | None = None


def licence_gate(record: AdapterRecord, licence: str | None) -> Gate:
    found = licence or record.base.licence
    if not found or found == UNKNOWN:
        words = "none is stated, and the base's is not known"
        return Gate("licence", FAILED, words, "zoo publish NAME --license apache-2.0 (what the base allows)")
    return Gate("licence", PASSED, found if licence else f"{found}, which is the base's")


def metrics_gate(record: AdapterRecord, without: bool) -> Gate:
    if record.metrics:
        first = record.metrics[0]
        return Gate("metrics", PASSED, f"{first.name} {first.value:.4f} on {first.n:,} rows")
    if without:
        return Gate("metrics", WARNING, "it was not measured, and is published so")
    return Gate("metrics", FAILED, "it was not measured", "zoo publish NAME --no-metrics")


def base_gate(base: BaseId, asserted: str | None, report: Report) -> tuple[BaseId, Gate]:
    """Is the base one that a stranger finds on the Hub? The base as the Hub knows it goes into what is sent.

    Its own id is taken where the Hub's weights are others (they may have been converted on the way here), and
    that is said; an id that the person asserts must be that of these very weights.
    """
    ask = "zoo publish NAME --base-id OWNER/NAME"
    name = canonical(asserted or base.id)
    if not is_hub_id(name):
        words = (
            f"'{asserted}' is no id of the Hub"
            if asserted
            else "nobody recorded it"
            if base.id == UNKNOWN
            else f"'{base.id}' is on this machine only"
        )
        return base, Gate("base", FAILED, words, ask)
    same = name.lower() == canonical(base.id).lower()
    revision = base.revision if same else None
    named = msgspec.structs.replace(base, id=name, revision=revision)
    try:
        oids, commit = _on_hub(name, revision, report)
    except ZooError as error:
        answered = (status_of(error) or _SERVER_FAILS) < _SERVER_FAILS
        words = f"{name}, not compared with the Hub's weights: {str(error).rstrip('.')}"
        return named, Gate("base", FAILED if answered and not same else WARNING, words, ask)
    if not base.weights:
        return named, Gate("base", WARNING, f"{name}, of which no hashes were recorded to compare")
    if is_among(base, oids):
        found = msgspec.structs.replace(named, revision=commit)
        return found, Gate("base", PASSED, f"{name}, whose weights on the Hub at {commit[:10]} are the same")
    words = f"the weights of {name} on the Hub are not those that it was trained on"
    if not same:
        return named, Gate("base", FAILED, words, ask)
    return msgspec.structs.replace(named, revision=None), Gate("base", WARNING, words)


def _on_hub(repo: str, revision: str | None, report: Report) -> tuple[set[str], str]:
    """The sha256 of every large file of a model, and its commit.

    Raises:
        ZooError: the Hub does not say.
    """

    def ask() -> ModelInfo:
        return client().model_info(repo, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT)

    try:
        info = retrying(ask, f"looking for '{repo}'", report, patient=False)
    except Exception as error:
        raise said(repo, error) from error
    return {file.lfs.sha256 for file in info.siblings or [] if file.lfs}, info.sha or ""


def unchanged_gate(record: AdapterRecord, folder: Path) -> Gate:
    """Are the files those that were made, and measured? Only the card may be edited."""
    gone, changed = changed_files(record, folder)
    wrong = [*(f"{name} is gone" for name in gone), *(f"{name} has changed" for name in changed)]
    if not wrong:
        return Gate("unchanged", PASSED, f"{len(record.files)} files are as they were made")
    return Gate("unchanged", FAILED, f"{_some(wrong)} since it was made", "zoo verify NAME")


def card_gate(edited: str | None, text: str, record: AdapterRecord) -> Gate:
    """Is `text` valid, the card to be published, and does `edited`, the one it comes from, match the record?

    A card without a block was made by adapter-zoo 0.1 or by hand. It stays where it is and a new one is
    published, unless an earlier one on the Hub may hold a person's prose.
    """
    fix = "zoo card NAME --write"
    wrong = validate(text) or (differs(edited, record) if edited is not None else [])
    if wrong == [NO_BLOCK] and not record.hub:
        return Gate("card", WARNING, f"{NO_BLOCK.rstrip('.')}: a new one is published instead", fix)
    if not wrong:
        return Gate("card", PASSED, "its front matter is valid, and its block is the record's")
    return Gate("card", FAILED, _some([one.rstrip(".") for one in wrong], "; "), fix)


def _some(words: list[str], between: str = ", ") -> str:
    more = f" and {len(words) - _LONGEST_LIST} more" if len(words) > _LONGEST_LIST else ""
    return f"{between.join(words[:_LONGEST_LIST])}{more}"
