"""One route of an OpenAI-compatible server: paced, repeated where that may help, counted.

httpx and not the `openai` package: it is installed with Prefect and the hub client already, and
what that package adds, its own repeating, would have to be turned off to count every request.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from components.addresses import server_of
from components.errors import ModelError
from components.replies import error_word, seconds_to_wait
from components.results import Usage

log = logging.getLogger(__name__)

HUGE = 1 << 20  # bytes of an answer that are read
LONGEST_WAIT = 300.0  # seconds that a server may ask us to wait


class HugeAnswer(Exception):
    """The server sent more than an answer of a few tokens can need."""


class _Again(Exception):
    """The server cannot take the request now; `wait` is how long it asks to be left alone."""

    def __init__(self, told: str, wait: float = 0.0) -> None:
        super().__init__(told)
        self.wait = wait


@dataclass
class Endpoint:
    """The route `chat/completions` below `url`; safe to share between threads."""

    url: str
    key: str | None
    label: str  # how the profile calls the judge
    timeout: float  # seconds that one request may take
    attempts: int
    requests_a_minute: int
    max_requests: int
    prompt_price: float = 0.0  # US dollars a million tokens
    completion_price: float = 0.0
    first_wait: float = 1.0  # seconds before the second attempt; twice that before the third, ...
    asked: Usage = field(default_factory=Usage)  # by processes that were killed
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _counts: dict[str, int] = field(default_factory=dict, init=False)
    _turn: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._counts |= self.asked.model_dump(exclude={"cost"})

    @property
    def usage(self) -> Usage:
        """What was asked so far, earlier processes included, and what it cost by the prices."""
        with self._lock:
            counts = dict(self._counts)
        cost = (
            counts.get("prompt_tokens", 0) * self.prompt_price
            + counts.get("completion_tokens", 0) * self.completion_price
        ) / 1e6
        return Usage(**counts, cost=round(cost, 6))

    def check_left(self, wanted: int) -> None:
        """Raise `ModelError` where fewer requests are left than `wanted`."""
        sent = self.usage.requests
        if sent + wanted > self.max_requests:
            raise ModelError(
                f"the judge {self.label!r} is to send {wanted} requests after {sent}, and the "
                f"profile allows {self.max_requests}; raise "
                f"evaluate.judges.{self.label}.max_requests, or judge fewer prompts"
            )

    def check(self) -> None:
        """Raise `ModelError` where no server answers at the address, or it refuses the key.

        It is asked for the list of its models, which costs nothing. What else it says of that does
        not matter: not every server has such a list, and not every key may read it.
        """
        try:
            with self.client() as client, client.stream("GET", f"{self.url}/models") as response:
                status = response.status_code
        except httpx.RequestError as error:
            raise self._error(f"does not answer ({type(error).__name__}); start it") from error
        if status == 401:
            raise self._error("refuses the key (HTTP 401); set SAFEREACT_JUDGE_KEY")

    def begin(self) -> None:
        """Let requests wait to be sent again, as they may unless the work was ended before."""
        self._ended.clear()

    def end(self) -> None:
        """Have requests that wait to be sent again give up."""
        self._ended.set()

    def client(self) -> httpx.Client:
        """Return a client for `complete`, to be closed by the caller."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(headers=headers, timeout=self.timeout)

    def complete(self, client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
        """Return the server's answer to `body`.

        Where it is busy, failing or silent, the request is sent again, later and later, and no
        sooner than it asks for. Raises `ModelError` where that does not help, where it refuses the
        request or the key, and where its answer is no chat completion; `HugeAnswer` where it does
        not end.
        """
        for attempt in range(1, self.attempts + 1):
            self._take_turn(repeated=attempt > 1)
            try:
                answer = self._send(client, body)
                break
            except HugeAnswer:
                self._count(None)
                raise
            except (_Again, httpx.RequestError) as error:
                told = str(error) if isinstance(error, _Again) else type(error).__name__
                asked = error.wait if isinstance(error, _Again) else 0.0
            if attempt == self.attempts or asked > LONGEST_WAIT:
                wish = f", and it asks to wait {asked:.0f} s" if asked > LONGEST_WAIT else ""
                raise self._error(f"gave no answer after {attempt} requests ({told}{wish})")
            # Exponential, with jitter, so that requests that failed together come back apart.
            backoff = self.first_wait * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
            wait = max(asked, min(backoff, LONGEST_WAIT))
            log.info("%s: %s, once more in %.1f s", self.label, told, wait)
            if self._ended.wait(wait):
                raise self._error(f"gave no answer ({told}), and the work has ended")
        self._count(answer.get("usage"))
        return answer

    def _send(self, client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout
        content = b""
        with client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > HUGE:
                    raise HugeAnswer
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"longer than {self.timeout} s")
        self._check(response, content)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._error("did not answer with a JSON object; its address ends in /v1")
        return answer

    def _check(self, response: httpx.Response, content: bytes) -> None:
        status = response.status_code
        if status == 200:
            return
        word = error_word(content)
        told = f"HTTP {status}, {word}" if word else f"HTTP {status}"
        if status in (408, 429) or status >= 500:
            raise _Again(told, seconds_to_wait(response.headers.get("Retry-After", "")))
        if status in (401, 403):
            raise self._error(f"refuses the key ({told}); set SAFEREACT_JUDGE_KEY")
        raise self._error(
            f"refuses the request ({told}); check the model's name in the profile, and that the "
            "server takes response_format json_schema"
        )

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"the judge {self.label!r}: the server {server_of(self.url)} of SAFEREACT_JUDGE_URL "
            f"{what}"
        )

    def _take_turn(self, *, repeated: bool) -> None:
        """Count a request and wait for its turn; raises `ModelError` where there is none left."""
        with self._lock:
            self.check_left(1)
            self._counts["requests"] = self._counts.get("requests", 0) + 1
            self._counts["repeated"] = self._counts.get("repeated", 0) + repeated
            now = time.monotonic()
            turn = max(self._turn, now)
            self._turn = turn + 60 / self.requests_a_minute
        time.sleep(turn - now)

    def _count(self, used: Any) -> None:
        names = ("prompt_tokens", "completion_tokens")
        told = isinstance(used, dict) and all(isinstance(used.get(name), int) for name in names)
        with self._lock:
            for name in names if told else ("untold",):
                self._counts[name] = self._counts.get(name, 0) + (used[name] if told else 1)
