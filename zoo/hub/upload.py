"""Uploads all files of a folder in one commit, or none, and finds a commit whose answer was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import __version__
from zoo.errors import AGAIN, GO_ONLINE, Interrupted, UnreachableError, UsageError
from zoo.hub.client import client, log_client_warnings, retrying, status_of, to_zoo_error, was_refused
from zoo.hub.repo import HubModel, Remote
from zoo.hub.stage import PublishOptions
from zoo.plugins.hookspecs import hookimpl
from zoo.registry.schema import AdapterRecord, HubId
from zoo.runtime.console import Report

_MAIN = "main"
_STALE = 412
"""The HTTP status of a commit whose parent is not the last one."""


def account(report: Report) -> str:
    """The name on the Hub of who publishes.

    Raises:
        AuthError: there is no token, or the Hub refuses it.
        UnreachableError: the Hub does not answer.
    """
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return str(retrying(client().whoami, "signing in", report, patient=False)["name"])
    except OfflineModeIsEnabled as error:
        raise UnreachableError("HF_HUB_OFFLINE forbids asking the Hub.", GO_ONLINE) from error
    except Exception as error:
        found = to_zoo_error("your token", error)
        raise type(found)(str(found), found.hint or AGAIN) from error


class Upload:
    """The core's `zoo_publish`: `place` is where it went, and `changed` whether the Hub did not have it."""

    def __init__(self, options: PublishOptions, report: Report):
        self.place: HubId | None = None
        self.changed = False
        self._options, self._report = options, report
        self._branch = options.revision or _MAIN
        self._made = self._unsure = False

    @hookimpl(trylast=True)
    def zoo_publish(self, record: AdapterRecord, folder: Path, repo: str) -> str:
        account(self._report)
        self._remote = Remote(repo, self._report)
        self._files = {path.name: path for path in sorted(folder.iterdir())}
        try:
            with log_client_warnings(self._report):
                self.place = self._publish(record)
        except KeyboardInterrupt as stop:
            raise Interrupted(f"stopped while publishing. {self._state()}", AGAIN) from stop
        except Exception as error:
            found = to_zoo_error(repo, error)
            raise type(found)(f"{found} {self._state()}", found.hint or AGAIN) from error
        return self.place.url

    def _publish(self, record: AdapterRecord) -> HubId:
        remote, options = self._remote, self._options
        main = remote.model()
        if main is None:
            main, self._made = remote.create(private=not options.public), True
        self._check_visibility(main)
        there = main if self._branch == _MAIN else remote.branch(self._branch, main)
        self._head, recorded = there.commit, remote.recorded(there)
        self._stale = [name for name in recorded if name in there.files and name not in self._files]
        if self._is_whole(there):
            return self._at(there.commit)
        self._before = remote.pull_requests() if options.create_pr else {}
        for number, proposed in self._before.items():
            if self._is_whole(remote.model(proposed)):
                return self._at(proposed, number)
        place = self._commit(record)
        self.changed = True
        return place

    def _commit(self, record: AdapterRecord) -> HubId:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        repo, pr = self._remote.repo, self._options.create_pr
        additions = [CommitOperationAdd(name, path) for name, path in self._files.items()]
        operations: list[Any] = [*additions, *map(CommitOperationDelete, self._stale)]
        if self._stale:
            self._report.say(f"deleted, because this version has none: {', '.join(self._stale)}")
        # the client tries each file again by itself
        client().preupload_lfs_files(repo, additions, revision=self._branch, create_pr=pr, free_memory=False)
        message = self._options.message or f"Publish {record.name} with adapter-zoo {__version__}"

        def commit() -> HubId:
            self._unsure = True
            try:
                done = client().create_commit(
                    repo,
                    operations,
                    commit_message=message,
                    revision=self._branch,
                    create_pr=pr,
                    parent_commit=self._head,
                )
            except Exception as error:
                if was_refused(error):
                    found = self._landed() if status_of(error) == _STALE else None
                    self._unsure = False
                    if found is not None:
                        return found  # an attempt whose answer was lost came in late
                raise
            self._unsure = False
            return self._at(done.oid, done.pr_num)

        return retrying(commit, "the commit", self._report, landed=self._landed)

    def _check_visibility(self, model: HubModel) -> None:
        repo = self._remote.repo
        if not model.private and not self._options.public:
            raise UsageError(
                f"'{repo}' is public, and publishing is private unless asked for.",
                "--public",
            )
        if model.private and self._options.public:
            self._report.warn(f"'{repo}' is private and stays so; its settings on the Hub change that")

    def _is_whole(self, there: HubModel | None) -> bool:
        """Does the Hub have all of our files as they are, and none of the stale ones?"""
        files = there.files if there else {}
        return not any(name in files for name in self._stale) and all(
            name in files and files[name].is_same(path) for name, path in self._files.items()
        )

    def _landed(self) -> HubId | None:
        """Where the commit is whose answer was lost, if it was applied."""
        remote = self._remote
        remote.patient = False  # the caller repeats
        if self._options.create_pr:
            now = sorted(remote.pull_requests().items())
            places = [self._at(commit, number) for number, commit in now if number not in self._before]
        else:
            branch = remote.model(self._branch)
            places = [self._at(branch.commit)] if branch and branch.commit != self._head else []
        found = next((one for one in places if self._is_whole(remote.model(one.revision))), None)
        self._unsure = False
        return found

    def _at(self, commit: str | None, number: int | None = None) -> HubId:
        url = f"{client().endpoint}/{self._remote.repo}"
        if number is not None:
            url = f"{url}/discussions/{number}"
        elif self._branch != _MAIN:
            url = f"{url}/tree/{self._branch}"
        return HubId(repo=self._remote.repo, revision=commit or "", url=url)

    def _state(self) -> str:
        """The state of the remote after a failure."""
        if self._unsure:
            return "Whether the commit arrived is not known."
        return f"'{self._remote.repo}' {'was made, and is empty' if self._made else 'is as it was'}."
