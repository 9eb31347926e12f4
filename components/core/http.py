"""The client of servers that speak OpenAI's API, for judges and engines.

The package `openai` sends requests and repeats them: after 408, 409, 429, a status from 500 on, or
a failed connection, later and later, and never sooner than `Retry-After` asks for. Three things
are added here: an answer has a bounded size and time, a wait ends with the work, and a request has
no header that it does not need. `openai` is imported late, since it takes a second.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx2

from components.core.errors import ConfigError, InterruptionError, ModelError, SafeReActError

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

_CONNECT = 30.0  # seconds
_NO_KEY = "none"  # keeps the package from looking for a key in the environment
_HEADERS = frozenset(
    ("host", "accept", "connection", "content-type", "content-length", "authorization")
)
_REPEATED = "x-stainless-retry-count"  # how the package says how often it has sent a request
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def is_address(url: str) -> bool:
    """Return whether `url` is an http(s) address that a request can be sent to."""
    try:
        parts, host = urlsplit(url), httpx2.URL(url).host
        return parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except (ValueError, httpx2.InvalidURL):  # brackets, a port or characters that are none
        return False


def server_of(url: str) -> str:
    """Return the host and the port of an address, or the scheme where it names no port.

    User, password, path and query, where secrets may stand, are left out.
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or parts.scheme}"


class HugeAnswerError(ModelError):
    """The server sent more than an answer can need."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request to a server may take."""

    seconds: float  # until the answer begins, and as long again until it is there
    repeats: int  # after a failure
    size: int  # bytes of an answer


class Server:
    """A server that speaks OpenAI's API below `url`; safe to share between threads.

    `url` and `key` are what the environment's variables `names` hold. `label` says in messages what
    the server is for, `hint` what to look at when it refuses a request. `before_sending` is called
    before every POST with whether it is a repeated one; what it raises is passed on.
    """

    def __init__(
        self,
        url: str,
        key: str,
        limits: Limits,
        *,
        names: tuple[str, str],
        hint: str,
        label: str = "",
        before_sending: Callable[[bool], None] = lambda _: None,
    ) -> None:
        from openai import OpenAI

        self._url_name, self._key_name = names
        if not re.fullmatch(r"[\x20-\x7e]*", key):
            raise ConfigError(
                f"{self._key_name} holds line ends or letters that a header cannot have; copy it "
                "again"
            )
        self.name = f"{label}the server {server_of(url)} of {self._url_name}"
        self._limits, self._hint, self._before_sending = limits, hint, before_sending
        self._ended = threading.Event()
        seconds = limits.seconds
        client: Any = OpenAI(
            api_key=key or _NO_KEY,
            base_url=url,
            max_retries=limits.repeats,
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT, seconds)),
            http_client=httpx2.Client(
                event_hooks={"request": [self._prepare], "response": [self._read]}
            ),
        )
        client._sleep_for_retry = partial(self._wait, client._calculate_retry_timeout)
        self._client: openai.OpenAI = client

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self) -> None:
        """Raise `SafeReActError` where no server answers, or it refuses the key.

        It is asked once for the list of its models, which costs nothing. Whether it has such a list
        does not matter.
        """
        from openai import APIConnectionError, APIStatusError

        try:
            self._client.get("/models", cast_to=httpx2.Response, options={"max_retries": 0})
        except APIConnectionError as error:
            reason = type(error.__cause__).__name__
            raise ModelError(f"{self.name} does not answer ({reason}); start it") from None
        except APIStatusError as error:
            if error.status_code == 401:
                raise self._refusal(error) from None

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object that the server answers, to a GET where there is no `body`.

        Raises `InterruptionError` where no answer comes, `ConfigError` where the key is refused,
        `HugeAnswerError` where the answer is beyond its limit, and `ModelError` where the request
        is refused or the answer is no JSON object.
        """
        from openai import APIConnectionError, APIStatusError

        try:
            if body is None:
                response = self._client.get(path, cast_to=httpx2.Response)
            else:
                response = self._client.post(path, body=body, cast_to=httpx2.Response)
        except APIConnectionError as error:
            raise self._silence(error.request, type(error.__cause__).__name__) from None
        except APIStatusError as error:
            raise self._refusal(error) from None
        with suppress(ValueError, RecursionError):
            answer = json.loads(response.content)
            if isinstance(answer, dict):
                return answer
        raise ModelError(
            f"{self.name} answers {path!r} with no JSON object; check the address, which usually "
            "ends in /v1"
        )

    def answers(
        self, items: Sequence[Item], ask: Callable[[Item], Answer], *, at_once: int
    ) -> Iterator[tuple[Item, Answer]]:
        """Yield every item with what `ask` returns for it, as soon as it is there.

        After an error, what is under way is waited for and yielded, since it is paid for; what has
        not begun, or would be sent again, is not sent. Then the error is raised.
        """
        with ThreadPoolExecutor(at_once) as pool:
            waiting = {pool.submit(ask, item): item for item in items}
            try:
                for future in as_completed(tuple(waiting)):
                    answer = future.result()
                    yield waiting.pop(future), answer
            except (SafeReActError, KeyboardInterrupt) as error:
                self._ended.set()
                pool.shutdown(wait=False, cancel_futures=True)
                log.warning("%s; waiting for what is under way", str(error) or type(error).__name__)
                for future in as_completed([f for f in waiting if not f.cancelled()]):
                    if future.exception() is None:
                        yield waiting.pop(future), future.result()
                raise
            finally:
                self._ended.set()
                pool.shutdown(cancel_futures=True)
                self._ended.clear()

    def _prepare(self, request: httpx2.Request) -> None:
        """Take away what the package tells of this machine and of its own settings."""
        if request.method == "POST":
            if self._ended.is_set():
                raise _Ended
            self._before_sending(request.headers.get(_REPEATED, "0") != "0")
        for name in {*request.headers} - _HEADERS - {_REPEATED}:
            del request.headers[name]
        if request.headers.get("Authorization") == f"Bearer {_NO_KEY}":
            del request.headers["Authorization"]
        request.headers["Accept-Encoding"] = "identity"  # a packed answer has no bound

    def _read(self, response: httpx2.Response) -> None:
        """Read an answer within its limits."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise httpx2.DecodingError("the answer is packed")
        content, stream = bytearray(), cast(httpx2.SyncByteStream, response.stream)
        deadline = time.monotonic() + self._limits.seconds
        for chunk in stream:
            content += chunk
            if len(content) > self._limits.size:
                raise HugeAnswerError(f"{self.name} answers with over {self._limits.size} bytes")
            if time.monotonic() > deadline:
                raise httpx2.ReadTimeout("the answer takes too long")
        stream.close()
        response.stream = httpx2.ByteStream(bytes(content))

    def _wait(
        self,
        pause: Callable[..., float],
        *,
        retries_taken: int,
        max_retries: int,
        options: object,
        response: httpx2.Response | None,
    ) -> None:
        """Wait between two tries for as long as the package would, or until the work ends."""
        headers = response.headers if response else None
        seconds = pause(max_retries - retries_taken, options, headers)
        log.info("a server did not answer; once more in %.1f s", seconds)
        if self._ended.wait(seconds):
            raise _Ended

    def _refusal(self, error: openai.APIStatusError) -> SafeReActError:
        # The whole message may hold what was sent, which is not for people's eyes.
        status, name = error.status_code, str(error.code or error.type or "")
        word = f", {name}" if re.fullmatch(r"[\w.-]{1,40}", name) else ""
        reason = f"HTTP {status}{word}"
        if status in (408, 409, 429) or status >= 500:
            wait = error.response.headers.get("Retry-After", "")
            if re.fullmatch(r"[0-9]{1,9}", wait):
                reason += f", and it asks to wait {wait} s"
            return self._silence(error.request, reason)
        if status in (401, 403):
            return ConfigError(f"{self.name} refuses the key ({reason}); set {self._key_name}")
        return ModelError(
            f"{self.name} refuses the request ({reason}); check the address, which usually ends in "
            f"/v1, and {self._hint}"
        )

    def _silence(self, request: httpx2.Request, reason: str) -> InterruptionError:
        count = 1 + int(request.headers.get(_REPEATED, 0))
        return InterruptionError(
            f"{self.name} gave no answer after {count} request{'s' * (count > 1)} ({reason}); what "
            "is finished is kept: run this again when it answers"
        )


class _Ended(InterruptionError):
    """The work has ended, so nothing is sent any more."""
