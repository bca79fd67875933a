"""A Hugging Face Hub for tests: the real client libraries read from it, write to it and suffer its faults.

A stub in place of ``huggingface_hub`` would only show that the code under test agrees with the stub. With a
real server the real clients run, with their caches, retries and exceptions, and no network is needed::

    with LocalHub(tmp_path, aliases={"bert-base-cased": "google-bert/bert-base-cased"}) as hub:
        subprocess.run([sys.executable, script], env={**os.environ, **hub.env(tmp_path / "home")}, check=True)
        assert not [path for path in hub.sent() if path.endswith(".safetensors")]

Below ``root``, ``models/<owner>/<name>/<files>`` and ``datasets/<owner>/<name>/<files>`` are repositories.
Others come to be by a client's call or by ``put``::

    with LocalHub(tmp_path, tokens={"hf_me": "me"}) as hub:
        hub.put("org/odd", {"../evil.txt": b"x", "README.md": b"---\\nlicense: mit\\n---\\n"})
        hub.lie("org/odd", "adapter_model.safetensors", oid="0" * 64)
        hub.fail("POST", "/commit/", cut="after")
        HfApi(endpoint=hub.url, token="hf_me").create_repo("me/mine", private=True)
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import quote

from tests.hub.local_hub_faults import Cut, Fault, Faults
from tests.hub.local_hub_repos import MAIN, Commit, Lie, RefusalError, Repo, Store
from tests.hub.local_hub_server import Server


class LocalHub:
    """Serve ``root`` as a Hub on a free port of 127.0.0.1, from ``__enter__`` to ``__exit__``.

    ``aliases`` maps ids without an owner, or old ids, to the ids they redirect to (307, as on the Hub).
    ``tokens`` maps the tokens that the Hub knows to the names of their users; a request with another token is
    401. With none given, every token is overlooked in reading and nothing can be written. A token in
    ``read_only`` may not write; ``orgs`` maps organisations to the users who may write for them.

    ``requests`` lists (method, path) in order of arrival, the paths decoded and without query. While ``down``
    is true, every answer is 503. Of a repository in ``gated`` the information, the listing and the README
    stay public, as on the Hub, and every other file is 403. Unknown repositories, and private ones of others,
    are 404, which is what the Hub answers to a signed-in client (to others 401; clients raise the same
    exception for both). ``page`` is the longest list in one answer.

    Changing a file of a folder moves ``main`` to a new commit of that folder, whatever was pushed before;
    commits that were seen or pushed stay available by their hash. The content of large files comes from
    another host, as the Hub's does: it and the address for uploads refuse a request that carries a token.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        aliases: Mapping[str, str] | None = None,
        tokens: Mapping[str, str] | None = None,
        orgs: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.root = Path(root)
        self.aliases = dict(aliases or {})
        self.tokens = dict(tokens or {})
        self.orgs = dict(orgs or {})
        self.read_only: Collection[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.down = False
        self.gated: Collection[str] = set()
        self.page = 1000
        self.store = Store(self.root)
        self.faults = Faults()
        self._key = secrets.token_bytes()

    def __enter__(self) -> LocalHub:
        self._server = Server(self)
        port = self._server.server_address[1]
        self.url, self.elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):  # else a kept-alive client would still be answered
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def env(self, home: Path | str, token: str | None = None) -> dict[str, str]:
        """Return the variables that point a client process here, with its caches below ``home``.

        The libraries read them while being imported: in a process that already did, they have no effect.
        """
        switches = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS")
        env = dict.fromkeys((*switches, "DISABLE_SAFETENSORS_CONVERSION"), "1")
        env |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        env |= {"HF_TOKEN": token} if token else {}
        return env | {"HF_ENDPOINT": self.url, "HF_HOME": str(home)}

    def commit(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> str:
        """Return the commit that a revision of a repository points to now."""
        return self.find(repo_type + "s", repo_id, revision).sha

    def files(self, repo_id: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        """Return what a revision holds now."""
        return dict(self.find(repo_type + "s", repo_id, revision).files)

    def sent(self) -> list[str]:
        """Return the addresses of the files whose content was asked for, in order, each once; no metadata."""
        paths = (path.removeprefix("/cdn") for method, path in self.requests if method == "GET")
        return list(dict.fromkeys(path for path in paths if "/resolve/" in path))

    def find(self, kind: str, repo_id: str, revision: str) -> Commit:
        """Return a commit, or refuse with the code by which clients tell a wrong id from a wrong revision."""
        with self.store.lock:
            return self.store.find(kind, repo_id).at(revision)

    def put(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        repo_type: str = "model",
        private: bool | None = None,
        downloads: int | None = None,
        revision: str = "main",
    ) -> str:
        """Make a commit of exactly these files, whatever their names, and return its hash.

        A repository or branch that is not there is created; what is None stays as it is.
        """
        kind = repo_type + "s"
        with self.store.lock:
            known = self.store.has(kind, repo_id)
            repo = self.store.find(kind, repo_id) if known else self.store.create(kind, repo_id)
            for name, value in (("private", private), ("downloads", downloads)):
                if value is not None:
                    setattr(repo, name, value)
            ref = repo.reference(revision) or f"refs/heads/{revision}"
            parent = repo.refs.get(ref) or repo.refs.get(MAIN)
            commit = repo.push(ref, files, parent=parent, title="Put here by the test")
            repo.refs.setdefault(MAIN, commit.sha)
            return commit.sha

    def lie(
        self,
        repo_id: str,
        path: str,
        *,
        oid: str | None = None,
        size: int | None = None,
        body: bytes | None = None,
    ) -> None:
        """Tell an untruth of a file of ``main`` as it is now.

        ``oid`` (sha256 of a large file, git's hash of another) and ``size`` are announced in place of the
        file's own; ``body`` is sent in place of its content.
        A path that does not exist is listed all the same, and 404 when asked for, unless it has a body.
        """
        self.find("models", repo_id, "main").lies[path] = Lie(oid, size, body)

    def fail(
        self,
        method: str,
        path_pattern: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        times: int | None = 1,
        cut: Cut | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Fault:
        """Let the next ``times`` requests (None: all) of a method (``*``: any) to a path fail.

        The pattern is a part of the decoded path, or a glob of all of it. Content of large files comes from
        ``/cdn/...`` and goes to ``/lfs/...``. With a ``status`` the request is answered with it, ``headers``
        and ``body``, and not applied. ``cut="before"`` closes the connection without applying the request,
        ``"after"`` applies it and closes without an answer. ``meanwhile`` is called first, for what somebody
        else does in this moment.
        """
        rule = Fault(method, path_pattern, status, headers or {}, body, times, cut, meanwhile)
        return self.faults.add(rule)

    def may_write(self, repo: Repo, user: str | None) -> bool:
        return self.speaks_for(repo.owner, user)

    def speaks_for(self, owner: str, user: str | None) -> bool:
        return user is not None and (user == owner or user in self.orgs.get(owner, ()))

    def gate(self, repo: Repo) -> str | bool:
        return "manual" if repo.id in self.gated else False

    def seen(self, kind: str, repo_id: str, user: str | None) -> Repo:
        """Return a repository as far as a user may know of it."""
        repo = self.store.find(kind, repo_id)
        if repo.private and not self.may_write(repo, user):
            raise RefusalError(404, "RepoNotFound", "Repository not found")
        return repo

    def signed(self, path: str) -> str:
        """Return the address elsewhere that stands for a right to one file, without a token."""
        return f"{self.elsewhere}{quote(path)}?Signature={self.signature(path)}"

    def signature(self, path: str) -> str:
        return hmac.new(self._key, path.encode(), hashlib.sha256).hexdigest()
