"""What the test Hub knows: repositories, their commits, references and large files. No HTTP in here.

A repository is a folder below the Hub's root, or was created or put there by a call. Its commits lie in
memory, so that a pinned commit outlives later edits, and a reference moves only once its commit is whole.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.hub import local_hub_cards as hub_cards

MAIN = "refs/heads/main"
_LFS_SIZE = 100_000
_LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".pt", ".gguf", ".onnx", ".pkl", ".zip")
_REPO_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_REFERENCES = ("refs/heads/{}", "{}")


class RefusalError(Exception):
    """An answer other than success; clients choose their exception by ``X-Error-Code``, not by status."""

    def __init__(
        self, status: int, code: str, message: str, answer: Mapping[str, Any] | None = None, **headers: str
    ) -> None:
        super().__init__(message)
        plain = " ".join(message.encode("ascii", "replace").decode().split())  # names may hold anything
        named = {"X-Error-Code": code, "X-Error-Message": plain}
        self.status = status
        self.answer = {"error": message, **(answer or {})}
        self.headers = named | {key.replace("_", "-"): value for key, value in headers.items()}


@dataclass(frozen=True)
class Lie:
    """What a hostile Hub says of a file against the truth. What is None is told as it is."""

    oid: str | None = None
    size: int | None = None
    body: bytes | None = None


@dataclass(frozen=True)
class Commit:
    """The files of a repository at one commit."""

    sha: str
    date: str
    files: dict[str, bytes]
    title: str = "Update"
    message: str = ""
    author: str = "system"
    parent: str | None = None
    lies: dict[str, Lie] = field(default_factory=dict)

    def file(self, path: str) -> dict[str, Any]:
        """Describe a file as the tree listing does, with git's own object ids so that caches line up."""
        data, lie = self.files.get(path, b""), self.lies.get(path, Lie())
        size = len(data) if lie.size is None else lie.size
        entry: dict[str, Any] = {"type": "file", "path": path, "size": size}
        if is_lfs(path, size):
            oid = lie.oid or hashlib.sha256(data).hexdigest()
            pointer = lfs_pointer(oid, size)
            entry["oid"] = blob_id(pointer)
            entry["lfs"] = {"oid": oid, "size": size, "pointerSize": len(pointer)}
        else:
            entry["oid"] = lie.oid or blob_id(data)
        return entry

    def names(self) -> list[str]:
        """List the files, and those that the Hub only claims to have."""
        return list({**self.files, **self.lies})

    def entries(self, expand: bool) -> dict[str, dict[str, Any]]:
        """List every file and every folder by path; ``expand`` adds the last commit, as on the Hub."""
        names = self.names()
        folders = {parent.as_posix() for name in names for parent in Path(name).parents} - {".", "/"}
        found = {p: {"type": "directory", "path": p, "size": 0, "oid": blob_id(p.encode())} for p in folders}
        found |= {path: self.file(path) for path in names}
        extra = {"lastCommit": {"id": self.sha, "title": self.title, "date": self.date}} if expand else {}
        return {path: found[path] | extra for path in sorted(found)}

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """The front matter of its README; what is no YAML mapping counts as none."""
        return hub_cards.front_matter(self.files.get("README.md", b"").decode("utf-8", "replace"))


@dataclass
class Repo:
    """One repository: its references are full names (``refs/heads/main``), each the hash of a commit."""

    kind: str
    id: str
    private: bool = False
    downloads: int = 0
    created: str = "2022-03-02T23:29:04.000Z"
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    stamp: object = None

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def reference(self, revision: str) -> str | None:
        """Return the full name of a branch or pull request, if there is one."""
        names = (form.format(revision) for form in _REFERENCES)
        return next((name for name in names if name in self.refs), None)

    def at(self, revision: str) -> Commit:
        """Return the commit of a reference or a hash, whole or its first seven characters at least."""
        if name := self.reference(revision):
            return self.commits[self.refs[name]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            for sha, commit in self.commits.items():
                if sha.startswith(revision):
                    return commit
        raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def push(
        self, ref: str, files: Mapping[str, bytes], *, parent: str | None = None, **about: Any
    ) -> Commit:
        """Move a reference to a new commit with exactly these files."""
        digests = [[name, hashlib.sha256(data).hexdigest()] for name, data in files.items()]
        unique = [self.id, parent, len(self.commits), digests]  # the same files again are another commit
        sha = hashlib.sha1(json.dumps(unique).encode()).hexdigest()
        self.commits[sha] = Commit(sha, now(), dict(files), parent=parent, **about)
        self.large |= {hashlib.sha256(d).hexdigest(): d for n, d in files.items() if is_lfs(n, len(d))}
        self.refs[ref] = sha
        return self.commits[sha]

    def history(self, revision: str) -> Iterator[Commit]:
        """Walk from a revision to the first commit."""
        sha: str | None = self.at(revision).sha
        while sha is not None:
            yield (commit := self.commits[sha])
            sha = commit.parent

    def read(self, folder: Path) -> None:
        """Read a folder that changed since it was last read, as the next commit of ``main``."""
        stats = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
        stamp = [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]
        if self.stamp == stamp:
            return
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path, _ in stats}
        digests = [[name, hashlib.sha256(data).hexdigest()] for name, data in files.items()]
        sha = hashlib.sha1(json.dumps(digests).encode()).hexdigest()  # the same in every Hub of these files
        newest = time.gmtime(max((stat.st_mtime for _, stat in stats), default=0))
        parent = None if sha in self.commits else self.refs.get(MAIN)
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", newest)
        self.commits.setdefault(sha, Commit(sha, date, files, parent=parent))
        self.refs[MAIN], self.stamp = sha, stamp


class Store:
    """Every repository of a Hub. Hold ``lock`` while reading and writing what belongs together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        self._repos: dict[tuple[str, str], Repo] = {}

    def find(self, kind: str, repo_id: str) -> Repo:
        """Return a repository as it is now, or refuse as for one that does not exist."""
        folder = self.root / kind / repo_id
        with self.lock:
            repo = self._repos.get((kind, repo_id))
            if _REPO_ID.fullmatch(repo_id) and folder.is_dir():
                repo = self._repos.setdefault((kind, repo_id), Repo(kind, repo_id))
                repo.read(folder)
            elif repo is not None and repo.stamp is not None:  # its folder was taken away
                del self._repos[kind, repo_id]
                repo = None
            if repo is None:
                raise RefusalError(404, "RepoNotFound", "Repository not found")
            return repo

    def has(self, kind: str, repo_id: str) -> bool:
        return (kind, repo_id) in self._repos or (self.root / kind / repo_id).is_dir()

    def all(self, kind: str) -> Iterable[Repo]:
        """Return the repositories of a kind by id, those of folders among them."""
        with self.lock:
            folders = (folder for folder in (self.root / kind).glob("*/*") if folder.is_dir())
            ids = {folder.relative_to(self.root / kind).as_posix() for folder in folders}
            ids |= {repo_id for known, repo_id in self._repos if known == kind}
            return [self.find(kind, repo_id) for repo_id in sorted(ids) if _REPO_ID.fullmatch(repo_id)]

    def create(self, kind: str, repo_id: str, private: bool = False) -> Repo:
        if not _REPO_ID.fullmatch(repo_id):
            raise RefusalError(400, "", f"Invalid repo name: {repo_id}")
        self._repos[kind, repo_id] = repo = Repo(kind, repo_id, private, created=now())
        return repo


def is_lfs(path: str, size: int) -> bool:
    """Does the Hub keep this file apart? Never an empty one, which clients commit as a regular file."""
    return size >= _LFS_SIZE or (size > 0 and path.endswith(_LFS_SUFFIXES))


def lfs_pointer(oid: str, size: int) -> bytes:
    """Return what git itself holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def blob_id(data: bytes) -> str:
    """Return git's own hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
