"""Says which host the Hub's client waits for, and gives up one that stays silent.

Every request of the client passes here, whoever makes it: a command, a source, transformers, a thread of a
download. Silence ends with a whole answer or with kilobytes sent or received, so that a large file may take
hours and a server that answers a byte at a time may not.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any
from weakref import WeakSet

from zoo.cards.markdown import single_line
from zoo.errors import AGAIN, UnreachableError, UsageError
from zoo.runtime import console, signals

VARIABLE = "ZOO_HUB_PATIENCE"
PATIENCE = 60.0
"""Seconds of silence after which the Hub is given up, where the variable does not say otherwise."""
SPEAK_AFTER = 3.0
"""Seconds of silence after which the host is named."""
TRANSIENT = (408, 429, 500, 502, 503, 504)
"""HTTP statuses after which the client asks again: no answer yet."""
_SPEAK_AGAIN = 30.0
_CONNECT = 5.0
"""Seconds to connect to one address: a host may have eight, and nothing can cut this short."""
_REST = 60.0
"""Seconds in which a silent Hub is not asked again: a command often wants two things of it."""
_BACKOFF = 8.0
"""Seconds, at most, that the client sleeps between two attempts."""
_APART = 15.0
"""Seconds between two requests after which they are not attempts at one thing."""
_SOME = 1024
"""Bytes that are progress."""
_LOOK = 0.1
_LONGEST = 200
"""Characters of a message of hf_xet."""
_STORAGE = {"HF_XET_CLIENT_RETRY_MAX_DURATION": "30s", "HF_XET_CLIENT_CONNECT_TIMEOUT": "5s"}
"""Bounds of hf_xet: it would try for six minutes."""
_PIECE = 1 << 16


def patience() -> float:
    """
    Raises:
        UsageError: the variable is not a number of seconds.
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(text) if text else PATIENCE
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise UsageError(
            f"{VARIABLE} is a number of seconds above 0, got '{text}'.", f"unset {VARIABLE} && {AGAIN}"
        )
    return seconds


def install() -> None:
    """Let the client make its connections here; once is enough."""
    from huggingface_hub import get_session, set_client_factory

    for name, value in _STORAGE.items():
        os.environ.setdefault(name, value)
    session: Any = get_session()
    if "send" in vars(session):
        return
    http = sys.modules[type(session).__module__.partition(".")[0]]  # httpx, or httpx2 of newer clients
    settings = {name: getattr(session, name) for name in ("event_hooks", "follow_redirects", "trust_env")}

    def make() -> Any:
        bound = patience()
        timeout = http.Timeout(bound, connect=min(bound, _CONNECT))
        made = type(session)(**settings, timeout=timeout)
        made.send = partial(_send, made.send, http)
        return made

    set_client_factory(make)


def _send(send: Any, http: Any, request: Any, *, stream: bool = False, **options: Any) -> Any:
    """What the client calls for a request, in whatever thread.

    Raises:
        UnreachableError: the host was given up.
    """
    flight = _clock.begin(request.url)
    times = request.extensions.get("timeout") or {}
    if times.get("connect") is not None:
        times = {**times, "connect": min(times["connect"], _CONNECT)}
    request.extensions = {**request.extensions, "timeout": times, "trace": _keep_socket}
    # as an iterable, because a redirect sends it again
    request.stream = http.Request("POST", request.url, content=_Counted(flight, request.stream)).stream
    try:
        response = send(request, stream=True, **options)
        try:
            _clock.answered(flight, response)
            if not stream:
                response.read()
        except BaseException:
            response.close()
            raise
    except http.TransportError as error:
        _clock.failed(flight, error)
        raise
    except BaseException:
        _clock.end(flight)
        raise
    if not stream:
        _clock.end(flight, well=response.status_code not in TRANSIENT)
    storage = response.headers.get("X-Xet-Cas-Url")
    if storage and "/xet-read-token/" in request.url.path:
        _clock.begin_storage(http.URL(storage))
    return response


@contextmanager
def transfers() -> Iterator[None]:
    """Measure what hf_xet, which has its own connections, fetches within; `bar` tells of its progress."""
    try:
        yield
    finally:
        _clock.end_storage()


@cache
def bar() -> Any:
    """The client's progress bar, as `tqdm_class`."""
    from huggingface_hub.utils.tqdm import tqdm

    def update(self: Any, n: float | None = 1) -> Any:
        _clock.stored(int(n or 0))
        return tqdm.update(self, n)

    return type("Bar", (tqdm,), {"update": update})


def storage_error(error: RuntimeError) -> UnreachableError:
    """hf_xet has no finer exceptions."""
    return _clock.storage_error(str(error))


def _keep_socket(event: str, info: dict[str, Any]) -> None:
    """Remember each connection as it is made, and again as it is encrypted."""
    if event.endswith(("connect_tcp.complete", "start_tls.complete")):
        found = info["return_value"].get_extra_info("socket")
        if found is not None:
            _clock.sockets.add(found)


class _Flight:
    """A request that was sent and not wholly answered."""

    def __init__(self, url: Any):
        self.host = str(url.netloc.decode()).rpartition("@")[2]
        self.start = self.silent_since = time.monotonic()
        self.sent = self.marked = 0
        self.response: Any = None

    @property
    def moved(self) -> int:
        """Bytes, in both directions."""
        return self.sent + (self.response.num_bytes_downloaded if self.response else 0)


class _Counted:
    """A request's body in pieces, counted as they are sent."""

    def __init__(self, flight: _Flight, body: Iterable[bytes]):
        self._flight, self._body = flight, body

    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            for start in range(0, len(part), _PIECE):
                yield part[start : start + _PIECE]
                self._flight.sent += min(_PIECE, len(part) - start)


class _Clock:
    """Measures the silence of all requests together, in a thread of its own while there are any."""

    def __init__(self) -> None:
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._flights: list[_Flight] = []
        self._storage: _Flight | None = None
        self._since = 0.0
        """When the silence began, if anything is waited for."""
        self._last = self._spoke = float("-inf")
        """When the last request ended, sleeps that the server asked for included; when a host was named."""
        self._shut_until = float("-inf")
        self._host = self._reason = ""

    def begin(self, url: Any) -> _Flight:
        """
        Raises:
            UnreachableError: the Hub was given up a moment ago.
        """
        flight = _Flight(url)
        with self._changed:
            if flight.start < self._shut_until:
                raise self._error()
            if not self._flights and flight.start - self._last > _APART:  # not another attempt
                self._since, self._reason = flight.start, ""
            self._host, flight.silent_since = flight.host, self._since
            self._flights.append(flight)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="zoo-hub-waits", daemon=True)
                self._thread.start()
            self._changed.notify()
        return flight

    def answered(self, flight: _Flight, response: Any) -> None:
        """The headers have come.

        Raises:
            UnreachableError: they ask for another attempt for which there is no time.
        """
        with self._changed:
            if response.status_code not in TRANSIENT:
                flight.response = response
                return
            self._end(flight)
            self._reason = f"HTTP {response.status_code}"
            asked = response.headers.get("Retry-After", "")
            rest = float(asked) if asked.isdecimal() else 0.0
            if rest > self._left():
                raise UnreachableError(f"{flight.host} asks to wait {rest:,.0f} s ({self._reason}).")
            self._last += rest
            if self._left() < self._margin():
                raise self._give_up()

    def failed(self, flight: _Flight, error: Exception) -> None:
        """
        Raises:
            UnreachableError: in place of `error`, where there is no time for another attempt.
        """
        with self._changed:
            self._end(flight)
            if flight.sent < _SOME:  # a part of an answer was in vain
                self._since = min(self._since, flight.silent_since)
            took = time.monotonic() - flight.start if type(error).__name__.startswith("Connect") else 0.0
            if time.monotonic() < self._shut_until:
                raise self._error() from error
            if self._left() < self._margin() + took:
                raise self._give_up() from error

    def end(self, flight: _Flight, *, well: bool = False) -> None:
        with self._changed:
            self._end(flight)
            if well:
                self._since, self._reason = self._last, ""
                self._last = self._last if self._flights else float("-inf")

    def begin_storage(self, url: Any) -> None:
        if self._storage is None:
            self._storage = self.begin(url)

    def stored(self, size: int) -> None:
        if self._storage is not None:
            self._storage.sent += size

    def end_storage(self) -> None:
        if self._storage is not None:
            self.end(self._storage, well=True)
        self._storage = None

    def storage_error(self, message: str) -> UnreachableError:
        if time.monotonic() < self._shut_until:
            return self._error()
        return UnreachableError(f"the Hub's storage failed: {single_line(message)[:_LONGEST]}.")

    def _end(self, flight: _Flight) -> None:
        if flight in self._flights:
            self._flights.remove(flight)
        self._last = time.monotonic()

    def _left(self) -> float:
        return self._since + patience() - time.monotonic()

    def _margin(self) -> float:
        return min(_BACKOFF, patience() / 5)

    def _error(self) -> UnreachableError:
        if self._reason:
            return UnreachableError(f"{self._host} has failed for {self._silent:.0f} s ({self._reason}).")
        return UnreachableError(f"{self._host} gave no whole answer in {self._silent:.0f} s.")

    def _give_up(self) -> UnreachableError:
        """End every wait, in other threads too."""
        now = time.monotonic()
        self._silent, self._shut_until = now - self._since, now + _REST
        for one in list(self.sockets):
            with suppress(OSError):  # the plain one, which wakes who reads in another thread
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        if self._storage is not None:
            with suppress(ImportError):  # it is no public name
                from huggingface_hub.utils._xet import abort_xet_session

                abort_xet_session()
        return self._error()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(_LOOK if self._flights else None)
                host = self._look(time.monotonic())
            if host:
                console.current().say(f"waiting for {host} ... (Ctrl-C stops)")

    def _look(self, now: float) -> str:
        """The host that is to be named now, if any."""
        for one in self._flights[:]:
            if one.response is not None and one.response.is_closed:
                self._end(one)
                self._since = now
                self._last = self._last if self._flights else float("-inf")
            elif one.moved - one.marked >= _SOME:
                one.marked, self._since = one.moved, now
        if not self._flights or now < self._shut_until:
            return ""
        if now - self._since >= patience() or signals.asked():
            self._give_up()
        elif now - self._since >= SPEAK_AFTER and now - self._spoke >= _SPEAK_AGAIN:
            self._spoke = now
            return self._flights[0].host
        return ""


_clock = _Clock()
