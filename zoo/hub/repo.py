"""Asks the Hub for a repository's state: visibility, branches, pull requests, and the files of a commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from zoo.errors import IncompatibleError, NotFoundError, UnreachableError
from zoo.hub.client import HUB_TIMEOUT, client, retrying, to_zoo_error
from zoo.models.hash_cache import sha256
from zoo.registry.schema import FileId
from zoo.registry.store import RECORD_FILE
from zoo.runtime.console import Report
from zoo.security.gates import LARGEST

T = TypeVar("T")


@dataclass(frozen=True)
class HubFile:
    """A file as the Hub lists it."""

    name: str
    size: int
    sha256: str | None
    """Of a file in LFS."""
    blob: str | None
    """git's SHA-1, of any other."""

    def is_same(self, path: Path) -> bool:
        """Does a local file have this size and hash?"""
        if path.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256(path) == self.sha256
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return blob.hexdigest() == self.blob


@dataclass(frozen=True)
class HubModel:
    """A model repository at one commit."""

    repo: str
    """Its id as the Hub spells it."""
    commit: str | None
    private: bool
    files: dict[str, HubFile]


def model_at(repo: str, revision: str | None = None) -> HubModel:
    """A repository at a revision, its default branch where that is None; exceptions are the client's own."""
    info = client().model_info(repo, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT)
    files = {
        one.rfilename: {
            "name": one.rfilename,
            "size": one.size or 0,
            "sha256": one.lfs.sha256 if one.lfs else None,
            "blob": one.blob_id,
        }
        for one in info.siblings or []
    }
    told = {"repo": info.id, "commit": info.sha, "private": bool(info.private), "files": files}
    try:
        return msgspec.convert(told, HubModel)
    except msgspec.ValidationError as error:
        raise IncompatibleError(f"the Hub's description of '{repo}' is not valid: {error}.") from None


def find_model(repo: str, revision: str | None, report: Report) -> HubModel:
    """`model_at`, asked again while the Hub fails.

    Raises:
        ZooError: there is none, or the Hub does not answer.
    """
    try:
        return retrying(lambda: model_at(repo, revision), f"looking for '{repo}'", report, patient=False)
    except Exception as error:
        found = to_zoo_error(repo, error)
        told = f"'{repo}': {found}" if isinstance(found, UnreachableError) else str(found)
        raise type(found)(told, found.hint or "zoo list") from error


class Remote:
    """One repository. `patient` is whether a question is asked again when the Hub fails to answer."""

    def __init__(self, repo: str, report: Report):
        self.repo = repo
        self.patient = True
        self._report = report

    def model(self, revision: str | None = None) -> HubModel | None:
        """None where there is no such repository."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return self._ask(lambda: model_at(self.repo, revision), f"looking at '{self.repo}'")
        except RepositoryNotFoundError:
            return None

    def create(self, private: bool) -> HubModel:
        self._ask(
            lambda: client().create_repo(self.repo, private=private, exist_ok=True), f"making '{self.repo}'"
        )
        self._report.say(f"made the {'private' if private else 'public'} repository '{self.repo}'")
        found = self.model()
        if found is None:
            raise NotFoundError(f"the Hub does not show '{self.repo}', which it has just made.")
        return found

    def branch(self, name: str, main: HubModel) -> HubModel:
        """The branch's last commit; the branch starts from `main` if it does not exist."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            return self.model(name) or main
        except RevisionNotFoundError:
            self._ask(
                lambda: client().create_branch(self.repo, branch=name, exist_ok=True),
                f"making branch '{name}'",
            )
            self._report.say(f"made the branch '{name}'")
            return main

    def recorded(self, model: HubModel) -> list[str]:
        """The files that the record in a repository names; none where no record can be read."""
        record = model.files.get(RECORD_FILE)
        if record is None or record.size > LARGEST[RECORD_FILE]:
            return []
        path = client().hf_hub_download(self.repo, RECORD_FILE, revision=model.commit)  # retries by itself
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
        return {int(number): commit for number, commit in found.items() if number.isdecimal()}

    def _ask(self, call: Callable[[], T], what: str) -> T:
        return retrying(call, what, self._report) if self.patient else call()


class _Listed(msgspec.Struct):
    files: dict[str, FileId]
