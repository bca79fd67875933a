"""The calls that change a repository of the test Hub, each with the store locked: whole, or not at all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.hub import local_hub_cards as hub_cards
from tests.hub.local_hub_repos import MAIN, Commit, RefusalError, Repo, is_lfs, now

_ATTRIBUTES = (
    b"*.bin filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
)


@dataclass(frozen=True)
class Call:
    """A writing request, once its sender is known. ``words`` are what follows the verb in the address."""

    user: str
    words: list[str]
    query: Mapping[str, list[str]]
    body: bytes
    url: str

    @property
    def opens_pull_request(self) -> bool:
        return "1" in self.query.get("create_pr", [])

    def json(self) -> dict[str, Any]:
        return parsed(self.body)

    def word(self) -> str:
        if not self.words:
            raise RefusalError(404, "", "Not Found")
        return self.words[0]


def parsed(body: bytes) -> dict[str, Any]:
    """Read a JSON object, or refuse."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusalError(400, "", "Invalid JSON")
    return found


def start(repo: Repo, user: str) -> None:
    """Give a new repository the commit that the Hub gives it."""
    repo.push(MAIN, {".gitattributes": _ATTRIBUTES}, title="initial commit", author=user)


def preupload(repo: Repo, call: Call) -> dict[str, Any]:
    """Say how each file is to be sent, and what it is now: the client leaves out what stays the same."""
    commit = repo.at(call.word())
    answer = []
    for file in call.json()["files"]:
        path, mode = file["path"], "lfs" if is_lfs(file["path"], file["size"]) else "regular"
        oid = None
        if path in commit.files:
            entry = commit.file(path)
            oid = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": answer, "commitOid": commit.sha}


def commit(repo: Repo, call: Call) -> dict[str, Any]:
    """Make a commit of lines of JSON. Nothing moves before all of it was found to be right."""
    lines = [parsed(line) for line in call.body.splitlines() if line.strip()]
    if not lines or lines[0].get("key") != "header" or not lines[0]["value"].get("summary"):
        raise RefusalError(400, "", "The first line must be a header with a summary")
    header = lines[0]["value"]
    ref, head = _head(repo, call.word())
    if (parent := header.get("parentCommit")) and not head.sha.startswith(parent):
        raise RefusalError(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for line in lines[1:]:
        _apply(repo, files, line.get("key", ""), line["value"])
    if files.get("README.md") != head.files.get("README.md") and "README.md" in files:
        errors, _ = hub_cards.check(files["README.md"].decode("utf-8", "replace"))
        if errors:
            raise RefusalError(400, "", f"Invalid metadata in README.md: {'; '.join(errors)}")
    pull = None
    if call.opens_pull_request:
        pull = _open(repo, call.user, header["summary"])
        ref = f"refs/pr/{pull['num']}"
    about = {"title": header["summary"], "message": header.get("description", ""), "author": call.user}
    made = repo.push(ref, files, parent=head.sha, **about)
    page = f"{call.url}{'' if repo.kind == 'models' else '/' + repo.kind}/{repo.id}"
    answer = {"success": True, "commitOid": made.sha, "commitUrl": f"{page}/commit/{made.sha}"}
    return answer | ({"pullRequestUrl": f"{page}/discussions/{pull['num']}"} if pull else {})


def _head(repo: Repo, revision: str) -> tuple[str, Commit]:
    ref = repo.reference(revision)
    if ref is None:
        raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return ref, repo.at(revision)


def _apply(repo: Repo, files: dict[str, bytes], key: str, value: Mapping[str, Any]) -> None:
    path = value["path"]
    if key in ("file", "lfsFile") and {"", ".", "..", ".git"} & set(path.split("/")):
        raise RefusalError(400, "", f"Invalid path: {path}")
    if key == "file":
        try:
            files[path] = base64.b64decode(value["content"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise RefusalError(400, "", f"Invalid base64 for {path}") from error
    elif key == "lfsFile":
        if value["oid"] not in repo.large:
            raise RefusalError(400, "", f"LFS pointer of {path} points to a file that does not exist")
        files[path] = repo.large[value["oid"]]
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise RefusalError(404, "EntryNotFound", "A file with this name doesn't exist")
    else:
        raise RefusalError(400, "", f"Unknown operation: {key}")


def _open(repo: Repo, user: str, title: str) -> dict[str, Any]:
    """Number a pull request; the commit that opens it moves its reference."""
    pull = {"num": len(repo.pulls) + 1, "title": title, "author": user, "createdAt": now()}
    repo.pulls.append(pull)
    repo.refs[f"refs/pr/{pull['num']}"] = repo.refs[MAIN]
    return pull


def create_branch(repo: Repo, call: Call) -> dict[str, Any]:
    ref = f"refs/heads/{call.word()}"
    if ref in repo.refs:
        raise RefusalError(409, "", f"Reference already exists: {ref}")
    repo.refs[ref] = repo.at(call.json().get("startingPoint") or "main").sha
    return {"ref": ref}


def is_private(asked: Mapping[str, Any]) -> bool:
    """Read what clients of either age send: ``visibility`` or ``private``."""
    return bool(asked.get("private")) if "visibility" not in asked else asked["visibility"] == "private"


def batch(repo: Repo, asked: Mapping[str, Any], upload: Callable[[str], str], verify: str) -> dict[str, Any]:
    """Answer a client that wants to send large files: nothing to do for those that are here already."""
    if asked.get("operation") != "upload" or asked.get("hash_algo", "sha256") != "sha256":
        raise RefusalError(422, "", "Only uploads by sha256 are known here")
    objects: list[dict[str, Any]] = []
    for one in asked["objects"]:
        entry: dict[str, Any] = {"oid": one["oid"], "size": one["size"], "authenticated": True}
        if one["oid"] not in repo.large:
            entry["actions"] = {"upload": {"href": upload(one["oid"])}, "verify": {"href": verify}}
        objects.append(entry)
    return {"transfer": "basic", "objects": objects}


def verify(repo: Repo, asked: Mapping[str, Any]) -> dict[str, Any]:
    if len(repo.large.get(asked["oid"], b"")) != asked["size"] or asked["oid"] not in repo.large:
        raise RefusalError(404, "", "The object was not uploaded, or not whole")
    return {}


def keep(repo: Repo, oid: str, content: bytes) -> None:
    """Take in a large file, if it is what was announced."""
    if hashlib.sha256(content).hexdigest() != oid:
        raise RefusalError(400, "", "The content does not have the announced sha256")
    repo.large[oid] = content


WRITES: dict[tuple[str, str], Callable[[Repo, Call], dict[str, Any]]] = {
    ("POST", "preupload"): preupload,
    ("POST", "commit"): commit,
    ("POST", "branch"): create_branch,
}
