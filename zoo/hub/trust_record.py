"""Decides whether an untrusted zoo.json can be trusted: it must match the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from zoo.adapters.formats import WEIGHTS
from zoo.adapters.integrity import changed_files
from zoo.cards.redact import is_hub_id, map_text, public
from zoo.cards.render import FILE as CARD_FILE
from zoo.errors import IncompatibleError, ZooError
from zoo.models.fingerprint import canonical, file_ids
from zoo.models.safetensors_header import named
from zoo.plugins import manager
from zoo.plugins.peft_method import PeftMethod
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId, FileId
from zoo.registry.store import RECORD_FILE, read_record
from zoo.security.gates import CONFIG_FILE
from zoo.security.safe_read import read_object
from zoo.security.secrets import clean

_NEEDED = {"peft": (CONFIG_FILE, WEIGHTS[0]), "zoo": (WEIGHTS[1],), "transformers": ("config.json",)}
"""Format -> the files without which it is none."""


def trusted_record(folder: Path) -> AdapterRecord:
    """The record in an untrusted folder that passed the gates: its text cleaned, without paths of a machine.

    Raises:
        NotFoundError: there is none.
        ZooError: it is damaged, or something beside it is not what it says; the message names what.
    """
    record = read_record(folder / RECORD_FILE)
    _check_files(record, folder)
    record = public(map_text(record, clean))
    if record.format == "peft":
        _check_config(record, read_object(folder / CONFIG_FILE))
    base = _reachable(record.base)
    return msgspec.structs.replace(
        record,
        base=base,
        spec=msgspec.structs.replace(record.spec, base=base.location or None),
        files=recorded_files(folder),
    )


def recorded_files(folder: Path) -> dict[str, FileId]:
    """Hashes of what an adapter is made of: the card may be edited, and the record is not in itself."""
    return {name: file for name, file in file_ids(folder).items() if name not in (CARD_FILE, RECORD_FILE)}


def _check_files(record: AdapterRecord, folder: Path) -> None:
    if record.format not in _NEEDED:
        raise IncompatibleError(f"'{clean(record.format)}' is no format that the zoo knows")
    for name in _NEEDED[record.format]:
        if not (folder / name).is_file():
            raise IncompatibleError(f"a '{record.format}' adapter has a {name}, and it is not there")
    for name in recorded_files(folder):
        if name not in record.files:
            raise IncompatibleError(f"{name} is not among its files")
    gone, changed = changed_files(record, folder)
    if gone:
        raise IncompatibleError(f"its file {gone[0]} is missing")
    if changed:
        raise IncompatibleError(f"{changed[0]} has another hash")


def _check_config(record: AdapterRecord, config: dict[str, Any]) -> None:
    """The record and PEFT's own config are about one adapter."""
    base = config.get("base_model_name_or_path")
    told = canonical(base) if isinstance(base, str) else ""
    ours = canonical(record.base.id)
    if is_hub_id(told) and is_hub_id(ours) and told.lower() != ours.lower():
        raise IncompatibleError(f"its base is {ours}, and {CONFIG_FILE} says {told}")
    try:
        method = manager.load_method(record.spec.method)
    except ZooError:
        return  # a third-party method that is not installed: its type is unknown
    peft_type = method.peft_type if isinstance(method, PeftMethod) else None
    if peft_type and config.get("peft_type") != peft_type:
        kind = named(str(config.get("peft_type")))
        raise IncompatibleError(f"its method is {record.spec.method}, and {CONFIG_FILE} is of a {kind}")


def _reachable(base: BaseId) -> BaseId:
    """A base of the Hub is found there; of another, only what it was is known."""
    if base.location.startswith("hub:"):
        return msgspec.structs.replace(base, source="hub")
    return msgspec.structs.replace(base, location="", source=UNKNOWN)
