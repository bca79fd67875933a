"""Publishes an adapter of the registry once every check has passed, and records where it went."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from zoo.cards.redact import is_hub_id
from zoo.cards.render import plugin
from zoo.errors import UsageError, ZooError
from zoo.hub.stage import PublishOptions, Staged, stage
from zoo.hub.upload import Upload, account
from zoo.plugins import manager
from zoo.registry.schema import HubId
from zoo.registry.store import Registry
from zoo.runtime.config import setting
from zoo.runtime.console import Report
from zoo.runtime.suggest import instead


@contextmanager
def prepared(
    name: str,
    repo: str | None,
    registry: Registry,
    options: PublishOptions,
    report: Report,
    *,
    trial: bool = False,
) -> Iterator[tuple[str, Staged]]:
    """The repository's id and what would be sent there; the files are gone afterwards.

    `trial` does without an account where there is none to be had.

    Raises:
        NotFoundError: no adapter has that name.
        UsageError: `repo` cannot name a repository.
        AuthError: the account is not known, and `repo` does not name one.
    """
    record, source = registry.locate(name)
    whole = _repository(repo or record.name, report, trial)
    report.say(f"checking '{record.name}' before anything is sent")
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as folder:
        yield whole, stage(record, source, Path(folder), whole, options, report)


def send(
    repo: str, staged: Staged, registry: Registry, options: PublishOptions, report: Report
) -> tuple[HubId, bool]:
    """Where it was published, and whether anything was sent: the Hub may have had all of it already.

    Raises:
        IncompatibleError: a gate says no.
        AuthError: the Hub wants a token, or another one.
        UnreachableError: the Hub failed for good; what that leaves there is said.
        ZooError: the repository was changed meanwhile.
    """
    staged.check()
    upload = Upload(options, report)
    spec = staged.record.spec
    # the plugins that made it may publish it in their own way; they need not be installed here
    modules = [plugin(kind, name)[1] for kind, name in (("task", spec.task), ("method", spec.method))]
    made = manager.manager(*modules)
    made.register(upload)
    url = made.hook.zoo_publish(record=staged.record, folder=staged.folder, repo=repo)
    place = upload.place or HubId(repo=repo, revision="", url=url)
    name = staged.record.name
    if name in registry:
        registry.replace(msgspec.structs.replace(registry.get(name), hub=place))
    return place, upload.changed or upload.place is None


def _repository(asked: str, report: Report, trial: bool) -> str:
    """OWNER/NAME; the owner is the configured namespace, else who publishes, unless another one is named."""
    given = asked
    if "/" not in asked:
        report.say("signing in")
        try:
            owner = setting("namespace") or account(report)
        except ZooError as error:
            if not trial:
                raise
            report.warn(f"the account is not known: {error}")
            owner = "YOUR-ACCOUNT"
        asked = f"{owner}/{asked}"
    if not is_hub_id(asked):
        raise UsageError(
            f"'{asked}' cannot name a repository: letters and digits, then '.', '_' and '-' too.",
            instead(_plain(asked), given),
        )
    return asked


def _plain(repo: str) -> str:
    """`me/my adapter!` -> `me/my-adapter`."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", one).strip("-._") or "adapter" for one in repo.split("/", 1)]
    return "/".join(parts)
