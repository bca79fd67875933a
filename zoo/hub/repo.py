"""A repository on the Hub as it is now: who sees it, its branches and pull requests, a commit's files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from zoo.errors import NotFoundError
from zoo.hub.client import HUB_TIMEOUT, client, retrying
from zoo.models.fingerprint import sha256
from zoo.registry.schema import FileId
from zoo.registry.store import RECORD_FILE
from zoo.runtime.console import Report

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo, RepoFile

T = TypeVar("T")

_LARGEST_RECORD = 1 << 24
"""Bytes of a zoo.json that is looked into."""


class Remote:
    """One repository. `patient` is whether a question is asked again when the Hub fails to answer."""

    def __init__(self, repo: str, report: Report):
        self.repo = repo
        self.patient = True
        self._report = report

    def info(self, revision: str | None = None) -> ModelInfo | None:
        """None where there is no such repository."""
        from huggingface_hub.errors import RepositoryNotFoundError

        def ask() -> ModelInfo | None:
            try:
                return client().model_info(self.repo, revision=revision, timeout=HUB_TIMEOUT)
            except RepositoryNotFoundError:
                return None

        return self._ask(ask, f"looking at '{self.repo}'")

    def create(self, private: bool) -> ModelInfo:
        self._ask(
            lambda: client().create_repo(self.repo, private=private, exist_ok=True), f"making '{self.repo}'"
        )
        self._report.say(f"made the {'private' if private else 'public'} repository '{self.repo}'")
        found = self.info()
        if found is None:
            raise NotFoundError(f"the Hub does not show '{self.repo}', which it has just made.")
        return found

    def head(self, branch: str, main: str | None) -> str | None:
        """The commit of a branch, which is made from `main` if it is not there."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            found = self.info(branch)
        except RevisionNotFoundError:
            self._ask(
                lambda: client().create_branch(self.repo, branch=branch, exist_ok=True),
                f"making branch '{branch}'",
            )
            self._report.say(f"made the branch '{branch}'")
            return main
        return found.sha if found else None

    def tree(self, commit: str | None) -> dict[str, RepoFile]:
        from huggingface_hub import RepoFile

        if commit is None:
            return {}
        listed = self._ask(
            lambda: list(client().list_repo_tree(self.repo, recursive=True, revision=commit)),
            "listing the files",
        )
        return {entry.path: entry for entry in listed if isinstance(entry, RepoFile)}

    def recorded(self, there: Mapping[str, RepoFile], commit: str | None) -> list[str]:
        """The files that a commit's own record names; none where it has no record that can be read."""
        if RECORD_FILE not in there or there[RECORD_FILE].size > _LARGEST_RECORD:
            return []
        path = client().hf_hub_download(self.repo, RECORD_FILE, revision=commit)  # itself tries again
        try:
            return sorted(msgspec.json.decode(Path(path).read_bytes(), type=_Listed).files)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []

    def pull_requests(self) -> dict[int, str]:
        """Number -> commit."""
        refs = self._ask(
            lambda: client().list_repo_refs(self.repo, include_pull_requests=True),
            "listing the pull requests",
        )
        found = {ref.ref.rpartition("/")[2]: ref.target_commit for ref in refs.pull_requests or []}
        return {int(number): commit for number, commit in found.items() if number.isdigit()}

    def _ask(self, call: Callable[[], T], what: str) -> T:
        return retrying(call, what, self._report) if self.patient else call()


class _Listed(msgspec.Struct):
    files: dict[str, FileId]


def is_same(there: RepoFile, path: Path) -> bool:
    """Is a file on the Hub, by its hash, this one?"""
    if there.size != path.stat().st_size:
        return False
    if there.lfs:
        return bool(there.lfs.sha256 == sha256(path))
    content = path.read_bytes()
    return bool(there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
