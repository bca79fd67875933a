"""Servers on 127.0.0.1 that do not answer as a Hub should: silent, slow, failing, or gone in the middle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[[socket.socket, bytes], None]
_DRIP = 0.1
"""Seconds between two bytes of a server that answers a byte at a time."""


def silent(client: socket.socket, request: bytes) -> None:
    """Take the request and say nothing."""
    while client.recv(1 << 16):
        pass


def slow_headers(client: socket.socket, request: bytes) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    _drip(client)


def slow_body(client: socket.socket, request: bytes) -> None:
    client.sendall(_head("200 OK", 1 << 20))
    _drip(client)


def cut_short(client: socket.socket, request: bytes) -> None:
    """Stop in the middle of the body, with the connection open."""
    client.sendall(_head("200 OK", 1 << 20) + b"[{")
    silent(client, request)


def unavailable(client: socket.socket, request: bytes) -> None:
    client.sendall(_head("503 Service Unavailable", 0))


def busy(client: socket.socket, request: bytes) -> None:
    """Ask to come back in an hour."""
    client.sendall(_head("503 Service Unavailable", 0, "Retry-After: 3600"))


def steady(size: int, seconds: float) -> Behaviour:
    """Every file has `size` bytes, which arrive evenly."""

    def answer(client: socket.socket, request: bytes) -> None:
        tags = ('ETag: "0123456789"', f"X-Repo-Commit: {'0' * 40}")
        client.sendall(_head("200 OK", size, *tags))
        if request.startswith(b"HEAD"):
            return
        pieces = round(seconds / _DRIP)
        for number in range(pieces):
            client.sendall(bytes(size * (number + 1) // pieces - size * number // pieces))
            time.sleep(_DRIP)

    return answer


@contextmanager
def served(behaviour: Behaviour | None) -> Iterator[str]:
    """The address of such a server; None refuses connections."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if behaviour is None:
        listener.close()
        yield url
        return
    clients: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                threading.Thread(target=_serve, args=(behaviour, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield url
    finally:
        for one in (listener, *clients):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _serve(behaviour: Behaviour, client: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        waiting = b""
        while part := client.recv(1 << 16):
            waiting += part
            if b"\r\n\r\n" in waiting:
                behaviour(client, waiting)
                waiting = b""


def _head(status: str, size: int, *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {size}", *more)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _drip(client: socket.socket) -> None:
    while True:
        client.sendall(b" ")
        time.sleep(_DRIP)


def hub_of_storage(storage: str) -> Behaviour:
    """A Hub whose files are in the Xet storage at that address."""

    def answer(client: socket.socket, request: bytes) -> None:
        host = request.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
        if b"/xet-read-token/" in request.splitlines()[0]:
            end = f"X-Xet-Token-Expiration: {int(time.time()) + 3600}"
            told = (f"X-Xet-Cas-Url: {storage}", "X-Xet-Access-Token: t", end)
            client.sendall(_head("200 OK", 2, *told) + b"{}")
            return
        refresh = f"X-Xet-Refresh-Route: http://{host}/api/models/org/model/xet-read-token/main"
        tags = (f"X-Xet-Hash: {'a' * 64}", refresh, f"X-Repo-Commit: {'0' * 40}", f'ETag: "{"1" * 64}"')
        client.sendall(_head("200 OK", 1000, *tags))

    return answer
