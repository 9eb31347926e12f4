"""The paid requests of a judge: their pace, their bound and their cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.core.errors import ModelError
from components.core.http import Answer, HugeAnswerError, Item, Limits, Server
from components.judges.protocol import KEY, URL
from components.judges.result import Usage
from components.judges.settings import RubricSettings

HUGE = 1 << 20  # bytes; an answer of a few tokens needs no more


@dataclass
class Endpoint:
    """Chat completions below `url`; safe to share between threads."""

    url: str
    key: str
    label: str  # how the profile calls the judge
    settings: RubricSettings
    spent: Usage = field(default_factory=Usage)  # by processes that were killed

    def __post_init__(self) -> None:
        self._lock, self._turn = threading.Lock(), 0.0
        self._server = Server(
            self.url,
            self.key,
            Limits(self.settings.timeout, repeats=self.settings.attempts - 1, size=HUGE),
            names=(URL, KEY),
            label=f"the judge {self.label!r}: ",
            hint="the model's name in the profile, and that the server takes response_format "
            "json_schema",
            before_sending=self._take_turn,
        )

    @property
    def usage(self) -> Usage:
        """What was requested so far, earlier processes included, and its cost by the prices."""
        with self._lock:
            spent = self.spent
        prices = self.settings.prompt_price, self.settings.completion_price
        cost = spent.prompt_tokens * prices[0] + spent.completion_tokens * prices[1]
        return spent.model_copy(update={"cost": round(cost / 1e6, 6)})

    def check(self) -> None:
        """Raise `SafeReActError` where no server answers at the address, or it refuses the key."""
        self._server.check()

    def check_left(self, wanted: int) -> None:
        """Raise `ModelError` where fewer requests are left than `wanted`."""
        most, sent = self.settings.max_requests, self.spent.requests
        if sent + wanted > most:
            raise ModelError(
                f"the judge {self.label!r} is to send {wanted} requests after {sent}, and the "
                f"profile allows {most}; raise "
                f"evaluate.judges.{self.label}.max_requests, or judge fewer prompts"
            )

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the chat completion that `body` requests; raises as `Server.ask` does."""
        try:
            answer = self._server.ask("/chat/completions", body)
        except HugeAnswerError:
            self._count(None)
            raise
        self._count(answer.get("usage"))
        return answer

    def answers(
        self, items: Sequence[Item], ask: Callable[[Item], Answer], *, at_once: int
    ) -> Iterator[tuple[Item, Answer]]:
        """Yield as `Server.answers` does; raises `ModelError` where too few requests are left."""
        self.check_left(len(items))
        return self._server.answers(items, ask, at_once=at_once)

    def _take_turn(self, repeated: bool) -> None:
        """Count a request and wait for its turn; raises `ModelError` where there is none left."""
        with self._lock:
            self.check_left(1)
            self._add(requests=1, repeated=int(repeated))
            now = time.monotonic()
            turn = max(self._turn, now)
            self._turn = turn + 60 / self.settings.requests_a_minute
        time.sleep(turn - now)

    def _count(self, used: Any) -> None:
        """Add the tokens that an answer reports; one that reports none is counted apart."""
        names = ("prompt_tokens", "completion_tokens")
        reported = isinstance(used, dict) and all(isinstance(used.get(name), int) for name in names)
        with self._lock:
            self._add(**({name: used[name] for name in names} if reported else {"uncounted": 1}))

    def _add(self, **counts: int) -> None:
        sums = {name: getattr(self.spent, name) + count for name, count in counts.items()}
        self.spent = self.spent.model_copy(update=sums)
