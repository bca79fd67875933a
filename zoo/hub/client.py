"""Calls the Hub's client with bounded waits, retries and log lines; its exceptions become ZooErrors."""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import (
    AGAIN,
    GO_ONLINE,
    AuthError,
    IncompatibleError,
    NotFoundError,
    UnreachableError,
    UsageError,
    ZooError,
)
from zoo.hub import waits
from zoo.runtime.console import Report
from zoo.security.secrets import clean, redact

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB_TIMEOUT = 10.0
"""Seconds to connect, and for short answers: a machine without network must not wait for minutes."""
ATTEMPTS = 5
WAIT = 1.0
"""Seconds before the second attempt; twice as many before each further one."""
_PERMANENT = ("LocalProtocolError", "UnsupportedProtocol", "TooManyRedirects", "DecodingError")
"""Exceptions of the HTTP library for requests that no attempt will make valid."""
_CONNECTING = ("ConnectError", "ConnectTimeout")
_ILLEGAL = "Illegal header value"
_LONGEST_QUOTE = 200
"""Characters of the Hub's own message that ours repeats."""

T = TypeVar("T")


def client() -> HfApi:
    """The Hub's client, which says what it waits for and gives up: by default it waits without end."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    waits.install()
    return HfApi(library_name="adapter-zoo")


def to_zoo_error(repo: str, error: BaseException) -> ZooError:
    """The ZooError for an exception of the client, about `repo` unless that is empty."""
    from huggingface_hub import errors

    _redact(error)
    what = f"'{repo}'" if repo else "this"
    status = status_of(error)
    if isinstance(error, ZooError):
        return type(error)(str(error), error.hint)  # another one, which can be raised from this one
    if isinstance(error, errors.GatedRepoError):
        return AuthError(
            f"{what} is gated: its owner must grant access first.",
            "hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFoundError(f"{what} has no such revision on the Hub.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UnreachableError("the Hub has no such repository, or it is private.")
    if any(isinstance(one, errors.OfflineModeIsEnabled) for one in _causes(error)):
        return UnreachableError(
            "it is not in the Hub's cache here, and HF_HUB_OFFLINE forbids asking.", GO_ONLINE
        )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return AuthError("the Hub wants a token, and this machine has none.", "hf auth login")
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"{what} is not a repository id of the Hub: OWNER/NAME.")
    if status in (401, 403):
        return AuthError(f"the Hub refuses {what} (HTTP {status}).", "hf auth login")
    if status == 412:
        return ZooError(f"{what} was changed by somebody else meanwhile (HTTP 412).", AGAIN)
    if status in (400, 409, 413, 422):
        messages = [getattr(one, "server_message", None) for one in _causes(error)]
        message = _line(next(filter(None, messages), str(error)))
        return IncompatibleError(f"the Hub does not accept {what} (HTTP {status}): {message}.")
    if status == 429:
        asked = _retry_after(error)
        wait = f" and asks to wait {asked:,.0f} s" if asked else ""
        return UnreachableError(f"the Hub has had too many requests (HTTP 429){wait}.")
    if status is not None:
        return UnreachableError(f"the Hub failed (HTTP {status}).")
    root = list(_causes(error))[-1]
    if _ILLEGAL in str(root) or isinstance(root, UnicodeEncodeError):
        return AuthError("the token has characters that no token has.", "hf auth login")
    if _is_cut(error):
        return UnreachableError(f"the Hub cannot be reached ({type(root).__name__}).")
    if type(root) is RuntimeError:
        return waits.storage_error(root)
    return ZooError(f"the Hub's client failed: {type(root).__name__}: {_line(str(root))}.")


def retrying(
    call: Callable[[], T],
    what: str,
    report: Report,
    *,
    landed: Callable[[], T | None] | None = None,
    patient: bool = True,
) -> T:
    """The result of `call`, repeated after transient failures: 429, a failing server, a lost connection.

    `landed` is asked before each repetition, and after the last: it returns the result of an attempt that
    succeeded although its answer was lost. Unless `patient`, a connection that fails is not tried again. All
    sleeps together take no longer than the silence of a host may.

    Raises:
        Exception: the client's own, of the last attempt; `to_zoo_error` turns it into a ZooError.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception

    def error_of(state: RetryCallState) -> BaseException:
        assert state.outcome is not None
        return state.outcome.exception() or AssertionError("only failures are waited for")

    def attempt() -> T:
        is_first = retry.statistics["attempt_number"] == 1
        found = None if is_first or landed is None else landed()
        return call() if found is None else found

    def report_wait(state: RetryCallState) -> None:
        error, number = to_zoo_error("", error_of(state)), state.attempt_number
        report.say(f"{what}: {error} Again in {state.upcoming_sleep:.0f} s ({number} of {ATTEMPTS - 1}).")

    def give_up(state: RetryCallState) -> T:
        if landed is not None and (found := landed()) is not None:
            return found
        raise error_of(state)

    retry = Retrying(
        stop=lambda state: (
            state.attempt_number >= ATTEMPTS or state.idle_for + state.upcoming_sleep > waits.patience()
        ),
        retry=retry_if_exception(
            lambda error: _wait(error, 1) is not None and (patient or not _names(error, _CONNECTING))
        ),
        wait=lambda state: _wait(error_of(state), state.attempt_number) or 0.0,
        before_sleep=report_wait,
        retry_error_callback=give_up,
    )
    return retry(attempt)


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an exception of the client, however deep."""
    found = (getattr(getattr(one, "response", None), "status_code", None) for one in _causes(error))
    return next((status for status in found if isinstance(status, int)), None)


def was_refused(error: BaseException) -> bool:
    """Did the Hub refuse the request? Else, a server that failed may have applied it."""
    return (status_of(error) or 500) < 500


@contextmanager
def log_client_warnings(report: Report) -> Iterator[None]:
    """Report what the client logs of its own retries, without URLs: some are signed."""
    import huggingface_hub.utils  # noqa: F401  which puts its own handler there

    logger = logging.getLogger("huggingface_hub")
    before, propagate = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [_WarningHandler(report)], False
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
        for one in caught:
            report.say(f"the Hub's client: {_line(str(one.message))}")
    finally:
        logger.handlers, logger.propagate = before, propagate


class _WarningHandler(logging.Handler):
    def __init__(self, report: Report):
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        line = re.sub(r"\b(\w+ )?https?://\S+", "", record.getMessage()).replace(" while requesting", "")
        self._report.say(f"the Hub's client: {_line(line)}")


def _wait(error: BaseException, attempt: int) -> float | None:
    """Seconds until it is worth trying again; None if it never is."""
    from huggingface_hub import errors

    if any(isinstance(one, ZooError | errors.OfflineModeIsEnabled) for one in _causes(error)):
        return None
    status = status_of(error)
    if status not in waits.TRANSIENT and not (status is None and _is_cut(error)):
        return None
    asked = _retry_after(error)
    if asked is not None:
        return asked if asked <= waits.patience() else None
    return WAIT * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)


def _retry_after(error: BaseException) -> float | None:
    """Seconds, or a date: both forms are allowed."""
    headers = (getattr(getattr(one, "response", None), "headers", {}) for one in _causes(error))
    value = next((str(one["Retry-After"]) for one in headers if "Retry-After" in one), "")
    try:
        if value.isdecimal():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _is_cut(error: BaseException) -> bool:
    """Was there no answer, a broken one, or one that did not come from the Hub?"""
    from huggingface_hub import errors

    http: Any = errors
    # the client reads the answer to the card's check as JSON before it looks at the status
    cut = (http.HTTPError, http.LocalEntryNotFoundError, ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(one, cut) for one in _causes(error)) and not _names(error, _PERMANENT)


def _names(error: BaseException, names: tuple[str, ...]) -> bool:
    """Does one of the causes have such a class name? The HTTP library depends on the client's version."""
    return any(type(one).__name__ in names for one in _causes(error))


def _line(text: str) -> str:
    line = " ".join(clean(redact(text)).split()).rstrip(".")
    return line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}..."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those it was raised from; those merely being handled are left out."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _redact(error: BaseException) -> None:
    """A server may repeat the token that it refuses, and a library the header that it cannot send."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.args = tuple(_redacted(value) if isinstance(value, str) else value for value in one.args)
        waiting += [one.__cause__, one.__context__]


def _redacted(text: str) -> str:
    """A header that cannot be sent holds the token as a bytes literal, which `redact` does not know."""
    before, illegal, _ = redact(text).partition(_ILLEGAL)
    return f"{before}{illegal}" if illegal else before
