"""Pulls adapters from the Hub: fetched at one commit, checked and registered; the base is not fetched."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from zoo.adapters import find_base
from zoo.adapters.formats import PICKLED, WEIGHTS, check_has_weights
from zoo.cards.redact import is_hub_id
from zoo.errors import AGAIN, IncompatibleError, NotFoundError, UsageError, ZooError
from zoo.hub import waits
from zoo.hub.client import client, log_client_warnings, to_zoo_error
from zoo.hub.import_adapter import Put, check_new_name, register, staging
from zoo.hub.infer_record import Asserted
from zoo.hub.repo import HubFile, find_model
from zoo.models.fingerprint import LocalWeights
from zoo.models.safetensors_header import named
from zoo.registry.schema import UNKNOWN, AdapterRecord, HubId
from zoo.registry.store import RECORD_FILE, Registry
from zoo.runtime.checks import CheckResult
from zoo.runtime.console import Report
from zoo.security.gates import CONFIG_FILE, incoming

_ROOM = 1.1
"""Times the size of the files: what must be free on the disk."""


def pull(
    reference: str,
    registry: Registry,
    report: Report,
    *,
    name: str | None = None,
    asserted: Asserted | None = None,
    convert: bool = False,
    put: Put | None = None,
) -> tuple[AdapterRecord, bool]:
    """Fetch `OWNER/NAME`, or `OWNER/NAME@REVISION`, and register it; False where the registry has it already.

    Args:
        name: `None` is the repository's, numbered if it is taken.
        convert: pickled weights are fetched and converted, in a process that can do nothing else.
        put: how it is registered; `None` is `Registry.add`, which leaves others their names.

    Raises:
        NotFoundError: there is none, or the Hub cannot be reached.
        AuthError: it is gated, or the token is refused.
        IncompatibleError: a check failed.
    """
    repo, revision = _parse(reference)
    here = _have(registry, repo, revision, name) if revision and put is None else None
    if here is not None:  # a commit never changes: no need to ask
        return here, False
    check_new_name(name, registry, replaces=put is not None)
    report.say(f"looking for {repo} on the Hub")
    with log_client_warnings(report):
        model = find_model(repo, revision, report)
        repo, commit = model.repo, model.commit or ""
        if not is_hub_id(repo) or not commit.isalnum():
            raise IncompatibleError(f"the Hub's description of '{named(reference)}' is not valid.")
        here = _have(registry, repo, commit, name) if put is None else None
        if here is not None:
            return here, False
        wanted = _wanted(repo, model.files, convert)
        total = sum(file.size for file in wanted)
        report.say(f"{repo} at {commit[:12]}: {len(wanted)} of {len(model.files)} files, {total:,} bytes")
        with staging(registry) as made:
            if shutil.disk_usage(made).free < total * _ROOM:
                raise ZooError(f"{registry.folder} has no room for {total:,} bytes.", "zoo list --sort bytes")
            with waits.transfers():
                for file in wanted:
                    _fetch(repo, commit, file, made)
            pickled = (made / PICKLED).rename(made.parent / PICKLED) if convert else None
            hub = HubId(repo=repo, revision=commit, url=f"{client().endpoint}/{repo}")
            record = register(
                made, registry, report, repo, name=name, asserted=asserted, pickled=pickled, hub=hub, put=put
            )
            return record, True


def verify_locally(record: AdapterRecord, registry: Registry, report: Report) -> list[CheckResult]:
    """`zoo verify` where the adapter's own base is on this machine; empty where it is not."""
    if UNKNOWN in (record.base.id, record.spec.method, record.spec.task):
        return []
    try:
        find_base.local(record.base)
        base = find_base.find(record)
    except NotFoundError as error:
        report.say(f"not verified, which would fetch its base: {error}", f"zoo verify {record.name}")
        return []
    folder = registry.adapter_folder(record.name)
    if find_base.compare_weights(record, folder, base.folder, LocalWeights(base.folder))[0] is False:
        report.warn(f"{base.location} holds other weights than the base that it was trained on.")
        return []
    from zoo.adapters.verify import verify

    return verify(record.name, registry, report, base=base.location)


def _parse(reference: str) -> tuple[str, str | None]:
    repo, at, revision = reference.removeprefix("hub:").partition("@")
    if not is_hub_id(repo) or (at and not revision.strip()) or not revision.isprintable():
        raise UsageError(f"'{named(reference)}' is not a repository id of the Hub.", "zoo search")
    return repo, revision or None


def _have(registry: Registry, repo: str, commit: str | None, name: str | None) -> AdapterRecord | None:
    """The adapter that is that commit already, under the name that was asked for if one was."""
    for _, record in registry.each():
        hub = record.hub
        if hub and (hub.repo.lower(), hub.revision) == (repo.lower(), commit) and name in (None, record.name):
            return record
    return None


def _wanted(repo: str, files: Mapping[str, HubFile], convert: bool) -> list[HubFile]:
    """What is fetched of a repository: an adapter's files, or those of a whole model with a record."""
    names, everything = set(incoming(files)), set(files)
    if CONFIG_FILE in names or WEIGHTS[1] in names:
        # beside an adapter some keep the whole model that it was merged into
        names = {name for name in names if not name.startswith("model")}
        check_has_weights(repo, everything, convert=convert, remedy=f"zoo import {repo} --convert-bin")
    elif RECORD_FILE not in names:
        raise _no_adapter(repo, everything)
    if convert:
        if PICKLED not in everything:
            raise UsageError(f"{repo} has no {PICKLED} to convert.", "without --convert-bin")
        names.add(PICKLED)
    return [file for name, file in files.items() if name in names]


def _no_adapter(repo: str, names: set[str]) -> NotFoundError:
    inner = sorted(name.rpartition("/")[0] for name in names if name.endswith(f"/{CONFIG_FILE}"))
    if inner:
        folders, copy = ", ".join(map(named, inner[:3])), repo.rpartition("/")[2]
        return NotFoundError(
            f"{repo} has no adapter at its top, but in {folders}.",
            f"hf download {repo} --local-dir {copy} && zoo import {shlex.quote(f'{copy}/{inner[0]}')}",
        )
    if "config.json" in names:
        return NotFoundError(
            f"{repo} is a whole model, not an adapter.", f"zoo train lora bert-imdb --base hub:{repo}"
        )
    return NotFoundError(f"{repo} holds no adapter: it has no {CONFIG_FILE}.", "zoo search")


def _fetch(repo: str, commit: str, file: HubFile, made: Path) -> None:
    """Download a file into `made`, once it has the announced size and hash."""
    try:
        fetched = client().hf_hub_download(
            repo, file.name, revision=commit, local_dir=made.parent / "fetched", tqdm_class=waits.bar()
        )
    except Exception as error:
        if isinstance(error, OSError) and "onsistency check" in str(error):  # the client compares sizes too
            raise IncompatibleError(f"{repo}: {file.name} has not the announced size.", AGAIN) from error
        raise to_zoo_error(repo, error) from error
    path = Path(fetched)
    if not file.is_same(path):
        what = "hash" if path.stat().st_size == file.size else "size"
        raise IncompatibleError(f"{repo}: {file.name} has not the announced {what}.", AGAIN)
    path.rename(made / file.name)
