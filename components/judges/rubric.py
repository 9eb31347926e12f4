"""The judge `rubric`: a model behind an OpenAI-compatible server, instructed by a rubric."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.http import HugeAnswerError
from components.core.storage import digest_bytes
from components.core.vocabulary import Outcome, Role, View
from components.judges.endpoint import Endpoint
from components.judges.protocol import Case, Judge, Verdict
from components.judges.quoting import Quoting, is_long
from components.judges.result import Usage
from components.judges.settings import RubricSettings

log = logging.getLogger(__name__)

INSTRUCTIONS = Path(__file__).with_suffix(".md").read_text(encoding="utf-8").rstrip()
_QUOTING = Quoting()
_PARTS = {
    View.ANSWER: "answer",
    View.THOUGHT: "reasoning",
    View.UNCLOSED: "reasoning that was cut off",
}


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
        shown = {"request": request, "part": _PARTS[case.view], "text": text}
        return {
            "model": self.settings.model,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": json.dumps(shown, ensure_ascii=False)},
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
