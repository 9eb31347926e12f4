"""One route of an OpenAI-compatible server: paced, repeated where that may help, counted.

httpx and not the `openai` package: it is installed with Prefect and the hub client already, and
what that package adds, its own repeating, would have to be turned off to count every request.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from components.core.addresses import server_of
from components.core.errors import ModelError
from components.core.http import (
    HugeAnswerError,
    NoAnswerError,
    ask_again,
    authorization,
    describe,
    exchange,
)
from components.judges.protocol import KEY, URL
from components.judges.result import Usage

HUGE = 1 << 20  # bytes; an answer of a few tokens needs no more


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
            raise self._error(f"refuses the key (HTTP 401); set {KEY}")

    def begin(self) -> None:
        """Let requests wait to be sent again, as they may unless the work was ended before."""
        self._ended.clear()

    def end(self) -> None:
        """Have requests that wait to be sent again give up."""
        self._ended.set()

    def client(self) -> httpx.Client:
        """Return a client for `complete`, to be closed by the caller."""
        return httpx.Client(headers=authorization(self.key, variable=KEY), timeout=self.timeout)

    def complete(self, client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
        """Return the server's answer to `body`.

        Where it is busy, failing or silent, it is asked again as `ask_again` says. Raises
        `ModelError` where that does not help, where it refuses the request or the key, and where
        its answer is no chat completion; `HugeAnswerError` where it does not end.
        """

        def send(attempt: int) -> tuple[int, bytes]:
            self._take_turn(repeated=attempt > 1)
            url = f"{self.url}/chat/completions"
            return exchange(client, "POST", url, body, limit=HUGE, seconds=self.timeout)

        try:
            status, content = ask_again(
                send,
                attempts=self.attempts,
                first_wait=self.first_wait,
                ended=self._ended,
                label=self.label,
            )
        except HugeAnswerError:
            self._count(None)
            raise
        except NoAnswerError as error:
            raise self._error(f"gave no answer {error}") from error
        answer = self._content(status, content)
        self._count(answer.get("usage"))
        return answer

    def _content(self, status: int, content: bytes) -> dict[str, Any]:
        """Return the JSON object in an answer; raises `ModelError` where the server refuses."""
        if status in (401, 403):
            raise self._error(f"refuses the key ({describe(status, content)}); set {KEY}")
        if status != 200:
            raise self._error(
                f"refuses the request ({describe(status, content)}); check the model's name in "
                "the profile, and that the server takes response_format json_schema"
            )
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._error("did not answer with a JSON object; its address ends in /v1")
        return answer

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"the judge {self.label!r}: the server {server_of(self.url)} of {URL} {what}"
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
            for name in names if told else ("uncounted",):
                self._counts[name] = self._counts.get(name, 0) + (used[name] if told else 1)
