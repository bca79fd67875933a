"""The test Hub's HTTP: whose request it is, what it asks for, and how the answer goes out or breaks off."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tests.hub import local_hub_cards as hub_cards
from tests.hub import local_hub_reads as hub_reads
from tests.hub import local_hub_writes as hub_writes
from tests.hub.local_hub_faults import Cut
from tests.hub.local_hub_repos import Commit, Lie, RefusalError, Repo

if TYPE_CHECKING:
    from tests.hub.local_hub import LocalHub

_VERBS = {"resolve", "revision", "tree", "refs", "paths-info", "xet-read-token", "xet-write-token"}
_VERBS |= {verb for _, verb in hub_writes.WRITES}
_KINDS = ("models", "datasets")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.connections: set[socket.socket] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away in the middle of an answer is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits for the acknowledgement of its own headers
    server: Server
    cut: Cut | None = None

    def setup(self) -> None:
        super().setup()
        self.hub = self.server.hub
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        """Say nothing: ``requests`` is the record."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        # Read even where it is not used: the next request of this connection starts after it.
        body = self._body()
        if body is None:
            return self._hang_up()
        self.hub.requests.append((self.command, path))
        fault = self.hub.faults.take(self.command, path)
        self.cut = fault.cut if fault else None
        if fault and fault.meanwhile:
            fault.meanwhile()
        if self.cut == "before":
            return self._hang_up()
        try:
            if fault and fault.status:
                message = fault.body or json.dumps({"error": f"HTTP {fault.status}, as asked for"}).encode()
                return self._send(fault.status, message, fault.headers)
            if self.hub.down:
                raise RefusalError(503, "", "Service Unavailable")
            self._answer(address, body)
        except RefusalError as refusal:
            self._send(refusal.status, json.dumps(refusal.answer).encode(), refusal.headers)
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # a request of the wrong form
            self._send(400, json.dumps({"error": f"Bad request: {error!r}"}).encode(), {})

    do_HEAD = do_POST = do_PUT = do_GET

    def _body(self) -> bytes | None:
        """Read what the client sends, or return None where it left in the middle: half a commit is none."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            return body if len(body) == size else None
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
            chunks.append(self.rfile.read(size) if size > 0 else b"")
            if size < 0 or len(chunks[-1]) < size:
                return None
            self.rfile.readline()
        while self.rfile.readline().strip():  # what may follow the last chunk
            pass
        return b"".join(chunks)

    def _answer(self, address: SplitResult, body: bytes) -> None:
        parts = [unquote(part) for part in address.path[1:].split("/")]
        query = parse_qs(address.query)
        if parts[0] in ("cdn", "lfs"):
            return self._elsewhere(unquote(address.path), parts, query, body)
        user = self._user(parts == ["api", "whoami-v2"])
        if parts[0] != "api":
            kind = "datasets" if parts[0] == "datasets" else "models"
            words = parts[1:] if kind == "datasets" else parts
            if "info" in words and words[1].endswith(".git"):
                return self._large(kind, f"{words[0]}/{words[1][:-4]}", words[2:], user, body)
            return self._resolve(*self._repository(kind, words), user)
        parts = [part for part in parts if part]
        if parts == ["api", "whoami-v2"]:
            return self._whoami(user)
        if parts == ["api", "validate-yaml"]:
            return self._validate(body)
        if parts[1:2] == ["repos"]:
            return self._repos(parts[2:], user, hub_writes.parsed(body))
        if len(parts) < 2 or parts[1] not in _KINDS:
            raise RefusalError(404, "", "Not Found")
        if len(parts) == 2:
            return self._list(parts[1], user, query)
        return self._api(*self._repository(parts[1], parts[2:]), user, query, body)

    def _user(self, asked: bool) -> str | None:
        """Return whose token this is. A token that the Hub does not know is refused, not overlooked."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and self.hub.tokens and token not in self.hub.tokens and not asked:
            raise RefusalError(401, "", "Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

    def _writer(self, user: str | None) -> str:
        if user is None:
            raise RefusalError(401, "", "Invalid username or password.")
        if (self.headers.get("Authorization") or "").removeprefix("Bearer ") in self.hub.read_only:
            raise RefusalError(403, "", "Forbidden: you must use a write token to upload to a repository")
        return user

    def _whoami(self, user: str | None) -> None:
        if user is None:
            raise RefusalError(401, "", "Invalid username or password.")
        self._json({"type": "user", "id": user, "name": user, "fullname": user})

    def _validate(self, body: bytes) -> None:
        errors, warnings = hub_cards.check(hub_writes.parsed(body)["content"])
        told = {"errors": errors, "warnings": warnings}
        answer = {key: [{"message": message} for message in messages] for key, messages in told.items()}
        self._json(answer, 400 if errors else 200)

    def _repos(self, words: list[str], user: str | None, asked: dict[str, Any]) -> None:
        """Create a repository."""
        user = self._writer(user)
        owner, kind = asked.get("organization") or user, f"{asked.get('type') or 'model'}s"
        repo_id = f"{owner}/{asked['name']}"
        if kind not in _KINDS or (self.command, words) != ("POST", ["create"]):
            raise RefusalError(404, "", "Not Found")
        with self.hub.store.lock:
            if not self.hub.speaks_for(owner, user):
                raise RefusalError(
                    403, "", f'You don\'t have the rights to create a {kind[:-1]} for "{owner}"'
                )
            page = f"{self.hub.url}{'' if kind == 'models' else '/' + kind}/{repo_id}"
            if self.hub.store.has(kind, repo_id):
                raise RefusalError(409, "", f"You already created this {kind[:-1]} repo", {"url": page})
            hub_writes.start(self.hub.store.create(kind, repo_id, hub_writes.is_private(asked)), user)
        self._json({"url": page, "name": repo_id})

    def _list(self, kind: str, user: str | None, query: hub_reads.Query) -> None:
        with self.hub.store.lock:
            repos = [
                repo
                for repo in self.hub.store.all(kind)
                if not repo.private or self.hub.may_write(repo, user)
            ]
            gates = [(repo, self.hub.gate(repo)) for repo in repos]
            found, headers = hub_reads.listing(gates, query, f"{self.hub.url}/api/{kind}", self.hub.page)
        self._json(found, 200, headers)

    def _repository(self, kind: str, parts: list[str]) -> tuple[str, str, list[str]]:
        """Split an address into kind, id and the rest, redirecting an old id as the Hub does."""
        words = 1 if len(parts) < 2 or parts[1] in _VERBS else 2
        repo_id = "/".join(parts[:words])
        target = self.hub.aliases.get(repo_id)
        if target and self.hub.store.has(kind, target):
            raise RefusalError(307, "", "", Location=self.path.replace(f"/{repo_id}", f"/{target}", 1))
        return kind, repo_id, parts[words:]

    def _large(self, kind: str, repo_id: str, words: list[str], user: str | None, body: bytes) -> None:
        """Say where large files are to be sent, and whether they have arrived."""
        user, asked = self._writer(user), hub_writes.parsed(body)
        with self.hub.store.lock:
            repo = self.hub.seen(kind, repo_id, user)
            if words[2:] == ["objects", "verify"]:
                return self._json(hub_writes.verify(repo, asked))
            if words[2:] != ["objects", "batch"]:
                raise RefusalError(404, "", "Not Found")
            verify = f"{self.hub.url}{urlsplit(self.path).path.removesuffix('batch')}verify"
            self._json(
                hub_writes.batch(
                    repo, asked, lambda oid: self.hub.signed(f"/lfs/{kind}/{repo_id}/{oid}"), verify
                )
            )

    def _elsewhere(self, path: str, parts: list[str], query: hub_reads.Query, body: bytes) -> None:
        """Be the other host: the address alone gives the right, and a token beside it is refused."""
        if self.headers.get("Authorization"):
            raise RefusalError(400, "", "Only one auth mechanism allowed: a token was sent to the store")
        if query.get("Signature") != [self.hub.signature(path)]:
            raise RefusalError(403, "", "SignatureDoesNotMatch")
        if parts[0] == "lfs":
            with self.hub.store.lock:
                repo = self.hub.store.find(parts[1], "/".join(parts[2:4]))
                hub_writes.keep(repo, parts[4], body)
            return self._send(200, b"", {"ETag": f'"{parts[4]}"'})
        words = parts[2:] if parts[1] == "datasets" else parts[1:]
        commit = self.hub.find(
            "datasets" if parts[1] == "datasets" else "models", "/".join(words[:2]), words[3]
        )
        name = "/".join(words[4:])
        self._content(_body_of(commit, name), {"ETag": f'"{commit.file(name)["oid"]}"'})

    def _resolve(self, kind: str, repo_id: str, rest: list[str], user: str | None) -> None:
        """Send a file. The answer for a missing one names the commit: clients remember what it lacks."""
        if rest[:1] != ["resolve"]:
            raise RefusalError(404, "", "Sorry, we can't find the page you are looking for.")
        with self.hub.store.lock:
            repo = self.hub.seen(kind, repo_id, user)
            commit, path = _named(repo, rest)
        gated = self.hub.gate(repo) and not self.hub.may_write(repo, user)
        if gated and path not in ("README.md", ".gitattributes"):
            raise RefusalError(403, "GatedRepo", "Access to this repository is restricted.")
        if path not in commit.files and commit.lies.get(path, Lie()).body is None:
            raise RefusalError(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit.sha)
        data, entry = _body_of(commit, path), commit.file(path)
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{entry["oid"]}"'}
        if lfs := entry.get("lfs"):
            headers["ETag"] = headers["X-Linked-ETag"] = f'"{lfs["oid"]}"'
            headers["X-Linked-Size"] = str(lfs["size"])
            prefix = "" if kind == "models" else f"/{kind}"
            headers["Location"] = self.hub.signed(f"/cdn{prefix}/{repo_id}/resolve/{commit.sha}/{path}")
            return self._send(302, b"", headers)
        self._content(data, headers, entry["size"] if self.command == "HEAD" else None)

    def _content(self, data: bytes, headers: dict[str, str], announced: int | None = None) -> None:
        headers |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        status, asked = 200, re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked and (asked[1] or asked[2]):
            first = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
            last = min(int(asked[2]), len(data) - 1) if asked[1] and asked[2] else len(data) - 1
            if first > last:
                raise RefusalError(416, "", "Range Not Satisfiable", Content_Range=f"bytes */{len(data)}")
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
        self._send(status, data, headers, announced)

    def _api(
        self, kind: str, repo_id: str, rest: list[str], user: str | None, query: hub_reads.Query, body: bytes
    ) -> None:
        verb, *words = rest or [""]
        with self.hub.store.lock:
            repo = self.hub.seen(kind, repo_id, user)
            if write := hub_writes.WRITES.get((self.command, verb)):
                call = hub_writes.Call(self._writer(user), words, query, body, self.hub.url)
                if not self.hub.may_write(repo, user):
                    raise RefusalError(403, "", "Forbidden: you have no write access to this repository")
                return self._json(write(repo, call))
            self._json(*self._told(repo, verb, words, query, body))

    def _told(
        self, repo: Repo, verb: str, words: list[str], query: hub_reads.Query, body: bytes
    ) -> tuple[object, int, dict[str, str]]:
        """Answer a question about a repository."""
        answer: object
        commit = repo.at(words[0] if words else "main")
        if verb in ("", "revision"):
            answer = hub_reads.info(repo, commit, self.hub.gate(repo), query)
        elif verb == "refs":
            answer = hub_reads.refs(repo)
        elif verb == "tree" and words:
            answer = hub_reads.tree(commit, words[1:], query)
        elif verb == "paths-info" and words and self.command == "POST":
            answer = hub_reads.paths(
                commit, json.loads(body) if body[:1] == b"{" else parse_qs(body.decode())
            )
        else:  # xet tokens too: clients are told by HF_HUB_DISABLE_XET not to ask
            raise RefusalError(404, "", "Not Found")
        return answer, 200, {"X-Repo-Commit": commit.sha}

    def _json(self, answer: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(answer, default=str).encode(), headers or {})

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], announced: int | None = None
    ) -> None:
        if self.cut == "after":
            return self._hang_up()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            if value:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _body_of(commit: Commit, path: str) -> bytes:
    lie = commit.lies.get(path, Lie())
    return commit.files.get(path, b"") if lie.body is None else lie.body


def _named(repo: Repo, rest: list[str]) -> tuple[Commit, str]:
    """Return the commit and the file of ``resolve/REVISION/PATH``."""
    if len(rest) < 3:
        raise RefusalError(404, "", "Sorry, we can't find the page you are looking for.")
    return repo.at(rest[1]), "/".join(rest[2:])
