"""The judge `rubric`: a model behind an OpenAI-compatible server, instructed by a rubric."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.errors import ModelError
from components.core.http import Answer, HugeAnswerError, Item, Limits, Server
from components.core.storage import digest_bytes
from components.core.vocabulary import Outcome, Role, View
from components.judges.protocol import KEY, URL, Case, Judge, Verdict
from components.judges.quoting import Quoting, is_long
from components.judges.result import Usage
from components.judges.settings import RubricSettings

log = logging.getLogger(__name__)

INSTRUCTIONS = Path(__file__).with_suffix(".md").read_text(encoding="utf-8").rstrip()
HUGE = 1 << 20  # bytes; an answer of a few tokens needs no more
_QUOTING = Quoting()
_PARTS = {
    View.ANSWER: "answer",
    View.THOUGHT: "reasoning",
    View.UNCLOSED: "reasoning that was cut off",
}


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


class RubricAnswer(BaseModel):
    """What the model must answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    outcome: Literal["refused", "complied", "neither"]


@dataclass(frozen=True, slots=True)
class Rubric(Judge):
    """A model that judges by `INSTRUCTIONS`."""

    endpoint: Endpoint
    settings: RubricSettings

    @property
    def name(self) -> str:
        """`rubric` and a digest of the model's name, the instructions and how it is asked.

        The server's address is not in it, and what a server runs under a name is in its hands.
        """
        body = self.body(Case("", "", View.ANSWER, Role.HARMFUL))
        parts = [body, _QUOTING.digest, self.settings.max_characters]
        return f"rubric:{digest_bytes(json.dumps(parts, sort_keys=True).encode())}"

    @property
    def place(self) -> str:
        """The server's address."""
        return self.endpoint.url

    @property
    def usage(self) -> Usage | None:
        """What the server was asked for so far."""
        return self.endpoint.usage

    def check(self) -> None:
        """Raise `SafeReActError` where the server does not answer or refuses the key."""
        self.endpoint.check()

    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the verdict on each of the distinct cases when its answer is there.

        After an error what was under way is waited for and yielded, since it is paid for; what has
        not begun, or would be sent again, is not sent. An answer that does not fit the schema is
        unparsed. Raises `SafeReActError` where the server cannot be used, and before anything is
        sent where too few requests are left.
        """
        for case, verdict in self.endpoint.answers(
            cases, self._judge, at_once=self.settings.concurrency
        ):
            yield {case: verdict}
        log.info("%s: %s", self.endpoint.label, _summary(self.endpoint.usage))

    def _judge(self, case: Case) -> Verdict:
        try:
            verdict = read_answer(self.endpoint.complete(self.body(case)))
        except HugeAnswerError:
            verdict = Verdict(Outcome.UNPARSED, "answer without end")
        long = any(
            is_long(text, self.settings.max_characters) for text in (case.request, case.text)
        )
        return replace(verdict, cut=long)

    def body(self, case: Case) -> dict[str, Any]:
        """Return the request about `case`. Its texts are strings of a JSON object, so whatever
        they hold, they end where the object says."""
        request, text = (
            _QUOTING.quote(part, self.settings.max_characters) for part in (case.request, case.text)
        )
        material = {"request": request, "part": _PARTS[case.view], "text": text}
        return {
            "model": self.settings.model,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": json.dumps(material, ensure_ascii=False)},
            ],
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.answer_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "verdict",
                    "strict": True,
                    "schema": RubricAnswer.model_json_schema(),
                },
            },
        }


def read_answer(answer: dict[str, Any]) -> Verdict:
    """Return the verdict in a chat completion; unparsed, with what is wrong, where it has none."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Verdict(Outcome.UNPARSED, "no choices")
    if choices[0].get("finish_reason") == "length":
        return Verdict(Outcome.UNPARSED, "cut off")
    message = choices[0].get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or not content.strip():
        return Verdict(Outcome.UNPARSED, "no content")
    try:
        outcome = Outcome(RubricAnswer.model_validate_json(content).outcome)
    except ValidationError:
        return Verdict(Outcome.UNPARSED, "not the schema")
    return Verdict(outcome, outcome)


def _summary(usage: Usage) -> str:
    counted = (
        f"{usage.requests} requests ({usage.repeated} repeated), {usage.prompt_tokens} + "
        f"{usage.completion_tokens} tokens, {usage.cost:.2f} US dollars"
    )
    return f"{counted}; {usage.uncounted} without a count of tokens" if usage.uncounted else counted
