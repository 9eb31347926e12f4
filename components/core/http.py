"""One way to ask HTTP servers, for judges and engines: bounded answers, and one retry policy.

A server that is busy, failing or silent is asked again, later and later, with jitter, so that
requests that failed together come back apart, and never sooner than its Retry-After asks for.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import tenacity

from components.core.errors import ConfigError

log = logging.getLogger(__name__)

LONGEST_WAIT = 300.0  # seconds that a server may ask us to wait
# Failures of a server that no later try mends: not implemented, HTTP version, network log-in.
_LASTING = (501, 505, 511)
T = TypeVar("T")


class UnavailableError(Exception):
    """The server cannot take the request now; `wait` is how many seconds it asks to be left
    alone."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class NoAnswerError(Exception):
    """No request was answered; the message says how often was asked, and why not."""


class HugeAnswerError(Exception):
    """The server sent more than an answer can need."""


def authorization(key: str | None, *, variable: str) -> dict[str, str]:
    """Return the header that shows `key`, empty without one.

    Raises `ConfigError` naming the environment's `variable` where a header cannot hold the key.
    """
    if not key:
        return {}
    if not re.fullmatch(r"[\x20-\x7e]+", key):
        raise ConfigError(
            f"{variable} holds line ends or letters that a header cannot have; copy it again"
        )
    return {"Authorization": f"Bearer {key}"}


def exchange(
    client: httpx.Client,
    method: str,
    url: str,
    body: Any = None,
    *,
    limit: int,
    seconds: float,
) -> tuple[int, bytes]:
    """Return the status and the content of the server's answer.

    Raises `UnavailableError` for an answer that says to come back, `HugeAnswerError` beyond `limit`
    bytes (after unpacking), and `httpx.RequestError` where the connection fails or the answer is
    not there within so many `seconds`.
    """
    deadline = time.monotonic() + seconds
    content = bytearray()
    with client.stream(method, url, json=body) as response:
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > limit:
                raise HugeAnswerError(f"more than {limit} bytes")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"longer than {seconds} s")
    status = response.status_code
    if status in (408, 425, 429) or (status >= 500 and status not in _LASTING):
        wait = seconds_to_wait(response.headers.get("Retry-After", ""))
        raise UnavailableError(describe(status, content), wait)
    return status, bytes(content)


def ask_again(
    send: Callable[[int], T],
    *,
    attempts: int,
    first_wait: float,
    ended: threading.Event,
    label: str,
) -> T:
    """Return what `send`, given the number of the attempt from 1 on, returns.

    It is called again after an `UnavailableError` or a failed connection, so many `attempts` in
    all, the waits growing twofold from `first_wait` seconds. Raises `NoAnswerError` where that does
    not help, where the server asks to wait longer than `LONGEST_WAIT`, and once `ended` is set.
    """
    numbers = itertools.count(1)
    backoff = tenacity.wait_exponential_jitter(first_wait, LONGEST_WAIT, jitter=first_wait)
    jitter = tenacity.wait_random(0, first_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        asked = _asked_wait(state)
        return max(backoff(state), asked + jitter(state) if asked else 0.0)

    def give_up(state: tenacity.RetryCallState) -> T:
        asked = _asked_wait(state)
        wish = f", and it asks to wait {asked:.0f} s" if asked > LONGEST_WAIT else ""
        times = f"{state.attempt_number} request{'s' * (state.attempt_number > 1)}"
        raise NoAnswerError(f"after {times} ({_reason(state)}{wish})") from _failure(state)

    def sleep(state: tenacity.RetryCallState) -> None:
        log.info("%s: %s, once more in %.1f s", label, _reason(state), state.upcoming_sleep)
        if ended.wait(state.upcoming_sleep):
            raise NoAnswerError(f"({_reason(state)}), and the work has ended")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((UnavailableError, httpx.RequestError)),
        stop=lambda state: state.attempt_number >= attempts or _asked_wait(state) > LONGEST_WAIT,
        wait=wait,
        before_sleep=sleep,
        sleep=lambda _: None,  # `before_sleep` has waited, and knows why
        retry_error_callback=give_up,
    )
    return retrying(lambda: send(next(numbers)))


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _asked_wait(state: tenacity.RetryCallState) -> float:
    failure = _failure(state)
    return failure.wait if isinstance(failure, UnavailableError) else 0.0


def _reason(state: tenacity.RetryCallState) -> str:
    failure = _failure(state)
    # What a library says of a failed connection may hold the address with its password.
    return str(failure) if isinstance(failure, UnavailableError) else type(failure).__name__


def seconds_to_wait(retry_after: str) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), a number or a date; 0 where
    it is neither."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", retry_after := retry_after.strip()):
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
        return max((when - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def describe(status: int, content: bytes | bytearray) -> str:
    """Return the status and the server's own word for an error, where it is one word.

    Its whole message may hold what was asked, which is not for people's eyes.
    """
    try:
        error = json.loads(content)["error"]
        word = str(error.get("code") or error.get("type") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        word = ""
    return f"HTTP {status}, {word}" if re.fullmatch(r"[\w.-]{1,40}", word) else f"HTTP {status}"
