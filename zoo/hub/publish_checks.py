"""Checks an adapter before anything of it is published: licence, base, metrics, files, card."""

from __future__ import annotations

from pathlib import Path

import msgspec

from zoo.adapters.integrity import changed_files
from zoo.cards.redact import is_hub_id
from zoo.cards.validate import NO_BLOCK, differs, validate
from zoo.errors import ZooError
from zoo.hub.client import was_refused
from zoo.hub.repo import find_model
from zoo.models.fingerprint import canonical, is_among
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId
from zoo.runtime.checks import FAILED, OK, WARNING, CheckResult, some
from zoo.runtime.console import Report


def check_licence(record: AdapterRecord, licence: str | None) -> CheckResult:
    found = licence or record.base.licence
    if not found or found == UNKNOWN:
        detail = "none is stated, and the base's is not known"
        return CheckResult("licence", FAILED, detail, "--license apache-2.0")
    return CheckResult("licence", OK, found if licence else f"{found}, which is the base's")


def check_metrics(record: AdapterRecord, without: bool) -> CheckResult:
    if record.metrics:
        first = record.metrics[0]
        return CheckResult("metrics", OK, f"{first.name} {first.value:.4f} on {first.n:,} rows")
    if without:
        return CheckResult("metrics", WARNING, "it was not measured, and is published so")
    return CheckResult("metrics", FAILED, "it was not measured", "--no-metrics")


def check_base(record: AdapterRecord, asserted: str | None, report: Report) -> tuple[BaseId, CheckResult]:
    """Is the base one that anybody finds on the Hub? The base as the Hub knows it goes into what is sent.

    Its own id is taken where the Hub's weights are others (they may have been converted on the way here), and
    that is said; an id that the person asserts must be that of these very weights.
    """
    base, ask = record.base, "--base-id OWNER/NAME"
    name = canonical(asserted or base.id)
    if not is_hub_id(name):
        detail = "nobody recorded it" if base.id == UNKNOWN else f"'{base.id}' is on this machine only"
        if asserted:
            detail = f"'{asserted}' is no id of the Hub"
        return base, CheckResult("base", FAILED, detail, ask)
    same = name.lower() == canonical(base.id).lower()
    revision = base.revision if same else None
    named = msgspec.structs.replace(base, id=name, revision=revision)
    try:
        found = find_model(name, revision, report)
    except ZooError as error:
        detail = f"{name}, not compared with the Hub's weights: {str(error).rstrip('.')}"
        return named, CheckResult("base", FAILED if was_refused(error) and not same else WARNING, detail, ask)
    if not base.weights:
        return named, CheckResult("base", WARNING, f"{name}, of which no hashes were recorded to compare")
    if is_among(base, {file.sha256 for file in found.files.values() if file.sha256}):
        detail = f"{name}, whose weights on the Hub at {(found.commit or '')[:10]} are the same"
        return msgspec.structs.replace(named, revision=found.commit), CheckResult("base", OK, detail)
    detail = f"the weights of {name} on the Hub are not those that it was trained on"
    if not same:
        return named, CheckResult("base", FAILED, detail, ask)
    return msgspec.structs.replace(named, revision=None), CheckResult("base", WARNING, detail)


def check_unchanged(record: AdapterRecord, folder: Path) -> CheckResult:
    """Are the files those that were made, and measured? Only the card may be edited."""
    gone, changed = changed_files(record, folder)
    wrong = [*(f"{name} is gone" for name in gone), *(f"{name} has changed" for name in changed)]
    if not wrong:
        return CheckResult("unchanged", OK, f"{len(record.files)} files are as they were made")
    return CheckResult("unchanged", FAILED, f"{some(wrong)} since it was made", f"zoo verify {record.name}")


def check_card(edited: str | None, text: str, record: AdapterRecord) -> CheckResult:
    """Is `text` valid, the card to be published, and does `edited`, the one it comes from, match the record?

    A card without a block was made by adapter-zoo 0.1 or by hand. It stays where it is and a new one is
    published, unless an earlier one on the Hub may hold a person's prose.
    """
    fix = f"zoo card {record.name} --write"
    wrong = validate(text) or (differs(edited, record) if edited is not None else [])
    if wrong == [NO_BLOCK] and not record.hub:
        return CheckResult("card", WARNING, f"{NO_BLOCK.rstrip('.')}: a new one is published instead", fix)
    if not wrong:
        return CheckResult("card", OK, "its front matter is valid, and its block is the record's")
    return CheckResult("card", FAILED, some([one.rstrip(".") for one in wrong], "; "), fix)
