"""A Hugging Face Hub for tests: it serves a folder, for reading, to the real client libraries.

A stub in place of ``huggingface_hub`` would only show that the code under test agrees with the stub. With a
real server the real clients run, with their caches, retries and exceptions, and no network is needed::

    with LocalHub(tmp_path, aliases={"bert-base-cased": "google-bert/bert-base-cased"}) as hub:
        subprocess.run([sys.executable, script], env={**os.environ, **hub.env(tmp_path / "home")}, check=True)
        assert not [path for path in hub.sent() if path.endswith(".safetensors")]

The folder holds ``models/<owner>/<name>/<files>`` and ``datasets/<owner>/<name>/<files>``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
import socket
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_LFS_SIZE = 100_000
_LFS_SUFFIXES = (".safetensors", ".parquet")
_TAGGED = ("language", "license", "task_categories", "task_ids", "size_categories")
_VERBS = ("resolve", "revision", "tree", "refs", "paths-info")
_Query = Mapping[str, list[str]]


class _RefusalError(Exception):
    """An answer other than success; clients choose their exception by ``X-Error-Code``, not by status."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        named = {"X-Error-Code": code, "X-Error-Message": message}
        self.status = status
        self.headers = named | {key.replace("_", "-"): value for key, value in headers.items()}


@dataclass(frozen=True)
class _Commit:
    """The files of a repository at one commit, in memory so that a pinned commit outlives later edits."""

    sha: str
    date: str
    files: dict[str, bytes]

    def file(self, path: str) -> dict[str, Any]:
        """Describe a file as the tree listing does, with git's own object ids so that caches line up."""
        data = self.files[path]
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _blob_id(data)}
        if len(data) >= _LFS_SIZE or path.endswith(_LFS_SUFFIXES):
            oid = hashlib.sha256(data).hexdigest()
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
            entry["oid"] = _blob_id(pointer.encode())
            entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": len(pointer)}
        return entry

    def entries(self, expand: bool) -> dict[str, dict[str, Any]]:
        """List every file and every folder by path; ``expand`` adds the last commit, as on the Hub."""
        folders = {parent.as_posix() for name in self.files for parent in Path(name).parents} - {"."}
        found = {p: {"type": "directory", "path": p, "size": 0, "oid": _blob_id(p.encode())} for p in folders}
        found |= {path: self.file(path) for path in self.files}
        extra = {"lastCommit": {"id": self.sha, "title": "Update", "date": self.date}} if expand else {}
        return {path: found[path] | extra for path in sorted(found)}


class LocalHub:
    """Serve ``root`` as a Hub on a free port of 127.0.0.1, from ``__enter__`` to ``__exit__``.

    ``aliases`` maps ids without an owner, or old ids, to the ids they redirect to (307, as on the Hub).
    ``requests`` lists (method, path) in order of arrival, the paths decoded and without query. While ``down``
    is true, every answer is 503. Of a repository in ``gated`` the information, the listing and the README
    stay public, as on the Hub, and every other file is 403. Unknown repositories are 404, which is what the
    Hub answers to a signed-in client (to others 401; clients raise the same exception for both). Changing a
    file moves ``main`` to a new commit; commits that were seen before stay available by their hash.
    """

    def __init__(self, root: Path | str, *, aliases: Mapping[str, str] | None = None) -> None:
        self.root = Path(root)
        self.aliases = dict(aliases or {})
        self.requests: list[tuple[str, str]] = []
        self.down = False
        self.gated: Collection[str] = set()
        self._commits: dict[tuple[str, str], dict[str, _Commit]] = {}
        self._heads: dict[tuple[str, str], tuple[object, _Commit]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> LocalHub:
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):  # else a kept-alive client would still be answered
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def env(self, home: Path | str) -> dict[str, str]:
        """Return the variables that point a client process here, with its caches below ``home``.

        The libraries read them while being imported: in a process that already did, they have no effect.
        """
        switches = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS")
        env = dict.fromkeys((*switches, "DISABLE_SAFETENSORS_CONVERSION"), "1")
        env |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
        return env | {"HF_ENDPOINT": self.url, "HF_HOME": str(home)}

    def commit(self, repo_id: str, repo_type: str = "model") -> str:
        """Return the commit that ``main`` of a repository points to now."""
        return self.find(repo_type + "s", repo_id, "main").sha

    def sent(self) -> list[str]:
        """Return the addresses of the files whose content was asked for, in order; no metadata requests."""
        return [path for method, path in self.requests if method == "GET" and "/resolve/" in path]

    def find(self, kind: str, repo_id: str, revision: str) -> _Commit:
        """Return a commit, or refuse with the code by which clients tell a wrong id from a wrong revision."""
        folder = self.root / kind / repo_id
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo_id) or not folder.is_dir():
            raise _RefusalError(404, "RepoNotFound", "Repository not found")
        with self._lock:
            stats = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
            stamp = [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]
            known = self._commits.setdefault((kind, repo_id), {})
            if (kind, repo_id) not in self._heads or self._heads[kind, repo_id][0] != stamp:
                files = {path.relative_to(folder).as_posix(): path.read_bytes() for path, _ in stats}
                digests = [[name, hashlib.sha256(data).hexdigest()] for name, data in files.items()]
                sha = hashlib.sha1(json.dumps(digests).encode()).hexdigest()
                newest = time.gmtime(max((stat.st_mtime for _, stat in stats), default=0))
                known[sha] = _Commit(sha, time.strftime("%Y-%m-%dT%H:%M:%S.000Z", newest), files)
                self._heads[kind, repo_id] = (stamp, known[sha])
            if revision != "main" and revision not in known:
                raise _RefusalError(404, "RevisionNotFound", "Invalid rev id")
            return known.get(revision, self._heads[kind, repo_id][1])

    def info(self, kind: str, repo_id: str, commit: _Commit, query: _Query) -> dict[str, Any]:
        """Return what the Hub says of a repository; ``expand`` narrows it to the properties asked for."""
        front = re.match(rb"---\s*\n(.*?)\n---\s*(\n|$)", commit.files.get("README.md", b""), re.DOTALL)
        card: dict[str, Any] = importlib.import_module("yaml").safe_load(front[1]) if front else {}
        tags = _values(card.get("tags"))
        for key in _TAGGED:
            bare = kind == "models" and key == "language"
            tags += [value if bare else f"{key}:{value}" for value in _values(card.get(key))]
        entries = [commit.file(path) for path in commit.files]
        siblings = [{"rfilename": entry["path"]} for entry in entries]
        if "true" in _values(query.get("blobs")):
            for sibling, entry in zip(siblings, entries, strict=True):
                sibling |= {"size": entry["size"], "blobId": entry["oid"]}
                if lfs := entry.get("lfs"):
                    sibling["lfs"] = {"sha256": lfs["oid"], **lfs}
        info: dict[str, Any] = {"_id": commit.sha[:24], "id": repo_id, "author": repo_id.split("/")[0]}
        info |= {"sha": commit.sha, "lastModified": commit.date, "createdAt": "2022-03-02T23:29:04.000Z"}
        info |= {"private": False, "gated": "manual" if repo_id in self.gated else False, "disabled": False}
        info |= {"downloads": 0, "likes": 0, "tags": tags, "siblings": siblings, "cardData": card or None}
        info |= {"usedStorage": sum(entry["size"] for entry in entries)}
        if kind == "models":
            config = json.loads(commit.files.get("config.json", b"{}"))
            info |= {"modelId": repo_id, "pipeline_tag": card.get("pipeline_tag")}
            info |= {"library_name": card.get("library_name") or ("transformers" if config else None)}
            info |= {"config": {key: config[key] for key in ("architectures", "model_type") if key in config}}
        kept = {"_id", "id", *query.get("expand", info)}
        return {key: value for key, value in info.items() if key in kept}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.connections: set[socket.socket] = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits for the acknowledgement of its own headers
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        """Say nothing: ``requests`` is the record."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        # Read even where it is not used: the next request of this connection starts after it.
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.hub.requests.append((self.command, unquote(address.path)))
        try:
            if self.server.hub.down:
                raise _RefusalError(503, "", "Service Unavailable")
            parts = [unquote(part) for part in address.path.strip("/").split("/")]
            if parts == ["api", "whoami-v2"]:
                raise _RefusalError(401, "", "Invalid username or password.")
            if parts[0] == "api" and len(parts) > 2 and parts[1] in ("models", "datasets"):
                self._api(*self._repository(parts[1], parts[2:]), parse_qs(address.query), body)
            elif parts[0] == "datasets":
                self._resolve(*self._repository("datasets", parts[1:]))
            else:
                self._resolve(*self._repository("models", parts))
        except _RefusalError as refusal:
            self._send(refusal.status, json.dumps({"error": str(refusal)}).encode(), refusal.headers)

    do_HEAD = do_POST = do_GET

    def _repository(self, kind: str, parts: list[str]) -> tuple[str, str, list[str]]:
        """Split an address into kind, id and the rest, redirecting an old id as the Hub does."""
        words = 1 if len(parts) < 2 or parts[1] in _VERBS else 2
        repo_id = "/".join(parts[:words])
        target = self.server.hub.aliases.get(repo_id)
        if target and (self.server.hub.root / kind / target).is_dir():
            raise _RefusalError(307, "", "", Location=self.path.replace(f"/{repo_id}", f"/{target}", 1))
        return kind, repo_id, parts[words:]

    def _resolve(self, kind: str, repo_id: str, rest: list[str]) -> None:
        """Send a file. The answer for a missing one names the commit: clients remember what it lacks."""
        if len(rest) < 3 or rest[0] != "resolve":
            raise _RefusalError(404, "", "Sorry, we can't find the page you are looking for.")
        commit, path = self.server.hub.find(kind, repo_id, rest[1]), "/".join(rest[2:])
        if repo_id in self.server.hub.gated and path not in ("README.md", ".gitattributes"):
            raise _RefusalError(403, "GatedRepo", "Access to this repository is restricted.")
        if path not in commit.files:
            raise _RefusalError(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit.sha)
        data, entry = commit.files[path], commit.file(path)
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{entry["oid"]}"', "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        if lfs := entry.get("lfs"):
            headers["ETag"] = headers["X-Linked-ETag"] = f'"{lfs["oid"]}"'
            headers["X-Linked-Size"] = str(len(data))
        status, asked = 200, re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked and (asked[1] or asked[2]):
            first = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
            last = min(int(asked[2]), len(data) - 1) if asked[1] and asked[2] else len(data) - 1
            if first > last:
                raise _RefusalError(416, "", "Range Not Satisfiable", Content_Range=f"bytes */{len(data)}")
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
        self._send(status, data, headers)

    def _api(self, kind: str, repo_id: str, rest: list[str], query: _Query, body: bytes) -> None:
        answer: object
        verb, revision = (*rest, "", "")[:2]
        commit = self.server.hub.find(kind, repo_id, revision or "main")
        if verb in ("", "revision"):
            answer = self.server.hub.info(kind, repo_id, commit, query)
        elif verb == "refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": commit.sha}
            answer = {"branches": [branch], "converts": [], "tags": [], "pullRequests": []}
        elif verb == "tree" and revision:
            deep, prefix = "true" in _values(query.get("recursive")), "".join(f"{part}/" for part in rest[2:])
            entries = commit.entries("true" in _values(query.get("expand")))
            within = {path: entry for path, entry in entries.items() if path.startswith(prefix)}
            if prefix and not within:
                raise _RefusalError(404, "EntryNotFound", "No such folder at this revision")
            answer = [entry for path, entry in within.items() if deep or "/" not in path.removeprefix(prefix)]
        elif verb == "paths-info" and revision and self.command == "POST":
            form = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
            wanted = {path.strip("/") for path in _values(form.get("paths"))}
            entries = commit.entries("true" in _values(form.get("expand")))
            answer = [entry for path, entry in entries.items() if path in wanted]
        else:
            raise _RefusalError(404, "", "Not Found")
        self._send(200, json.dumps(answer, default=str).encode(), {"X-Repo-Commit": commit.sha})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            if value:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _values(value: Any) -> list[str]:
    """Read a field that may be missing, one value or several: cards, forms and queries vary in this."""
    found = value if isinstance(value, list) else [] if value is None else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in found]
