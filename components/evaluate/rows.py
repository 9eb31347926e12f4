"""The rows of an evaluation: one completion each, with what was judged of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, get_args, get_type_hints

from components.core.errors import StageError
from components.core.storage import read_rows, write_rows
from components.core.vocabulary import AnyArm, Arm, Completion, Outcome, Role, View

_ARMS: dict[str, AnyArm] = {arm.value: arm for arm in Arm}
_TEXTS = ("thought", "said_thought", "said_answer")
_DECIDED = (Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER)  # what an answer may do
_WORST_FIRST = (Outcome.COMPLIED, Outcome.UNPARSED, Outcome.REFUSED, Outcome.NEITHER)


class Place(NamedTuple):
    """Which of an arm's completions one is."""

    suite: str
    form: str
    prompt_id: str
    sample: int  # 0, 1, ... of the prompt's completions

    def __str__(self) -> str:
        return f"{self.suite}, {self.form}, prompt {self.prompt_id}, sample {self.sample}:"


class Asked(NamedTuple):
    """A prompt, and what it counts as one with in intervals and tests."""

    prompt_id: str
    cluster: str  # its own id where it stands alone


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt, put to one arm in one form: what was written and how it was judged."""

    prompt_id: str
    suite: str
    arm: AnyArm
    form: str
    role: Role
    topic: str
    sample: int  # 0, 1, ... of the prompt's completions
    thought: str | None
    answer: str
    closed: bool  # no thought was left open
    finished: bool
    tokens: int
    outcome_thought: Outcome | None  # None: there was no thought
    outcome_answer: Outcome
    said_thought: str | None  # the judge's own word
    said_answer: str
    cut: bool  # the judge read a part of it, or its request, without the middle
    correct: bool | None  # None: there is no reference answer
    correct_strict: bool | None
    cluster: str | None = None  # of its prompt, where that has near-copies
    # The same of the second judge; None: there is none, or no thought.
    second_thought: Outcome | None = None
    second_answer: Outcome | None = None
    second_said_thought: str | None = None
    second_said_answer: str | None = None
    second_cut: bool | None = None

    @property
    def place(self) -> Place:
        """Which of its arm's completions it is."""
        return Place(self.suite, self.form, self.prompt_id, self.sample)

    @property
    def disputed(self) -> bool:
        """A second judge has read it, and says another outcome of its thought or its answer."""
        first, second = self.outcome_thought, self.second_thought
        return self.second_answer is not None and (
            (first, self.outcome_answer) != (second, self.second_answer)
        )

    @property
    def asked(self) -> Asked:
        """The prompt with its cluster."""
        return Asked(self.prompt_id, self.cluster or self.prompt_id)

    @property
    def completion(self) -> Completion:
        """What was written."""
        return Completion(
            self.prompt_id, self.thought, self.answer, self.finished, self.tokens, self.closed
        )

    @property
    def by_second_judge(self) -> Self | None:
        """The same completion as its second judge reads it; None where it has none."""
        if self.second_answer is None:
            return None
        return replace(
            self,
            outcome_thought=self.second_thought,
            outcome_answer=self.second_answer,
            said_thought=self.second_said_thought,
            said_answer=self.second_said_answer or "",
            cut=bool(self.second_cut),
        )

    def with_second(self, judged: Row) -> Self:
        """Return the row with the verdicts of another one as those of its second judge."""
        return replace(
            self,
            second_thought=judged.outcome_thought,
            second_answer=judged.outcome_answer,
            second_said_thought=judged.said_thought,
            second_said_answer=judged.said_answer,
            second_cut=judged.cut,
        )

    def outcome(self, view: View) -> Outcome | None:
        """Return what one part of the completion did; None where there is no such part.

        Either: the worse of both parts, where complying is worst, then what could not be read; and
        of a refusal beside a part that is neither, the refusal.
        """
        if view is View.ANSWER:
            return self.outcome_answer
        if view is View.THOUGHT:
            return self.outcome_thought
        if view is View.UNCLOSED:
            return None if self.closed else self.outcome_thought
        parts = (self.outcome_thought, self.outcome_answer)
        return next(outcome for outcome in _WORST_FIRST if outcome in parts)

    @property
    def unanswered(self) -> bool:
        """Whether the token limit cut it off before it began to answer."""
        return not (self.finished or self.answer)

    def did(self, view: View, outcome: Outcome) -> bool | None:
        """Return whether one part of the completion did so; None where the token limit came before
        the answer, and an answer would have settled it: it may refuse, comply or do neither."""
        answers = _DECIDED if self.unanswered else (self.outcome_answer,)
        found = {replace(self, outcome_answer=one).outcome(view) is outcome for one in answers}
        return None if len(found) > 1 else found.pop()


def write_judged(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows to `path`."""
    write_rows(path, rows, Row)


def read_judged(path: Path) -> dict[AnyArm, list[Row]]:
    """Return the rows that `write_judged` wrote to `path`, by arm; raises `StageError` where it
    holds others."""
    return _by_arm(read_rows(path), path)


def read_outcomes(source: Path | IO[bytes]) -> dict[AnyArm, list[Row]]:
    """Return the same rows with empty texts, a mark for an answer and without a second judge, which
    is all that counting takes.

    Of many arms and seeds the texts would fill the memory.
    """
    others = [
        field.name
        for field in fields(Row)
        if field.name not in _TEXTS and not field.name.startswith("second_")
    ]
    return _by_arm(read_rows(source, others), source, textless=True)


def _by_arm(
    every: Iterable[Mapping[str, Any]], source: object, *, textless: bool = False
) -> dict[AnyArm, list[Row]]:
    rows: dict[AnyArm, list[Row]] = {}
    try:
        for stored in every:
            row = _row({**stored, **_without_texts(stored)} if textless else stored)
            rows.setdefault(row.arm, []).append(row)
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(
            f"{source} is no table of judged rows ({error!r:.200}); let the stage that wrote it "
            "run again"
        ) from error
    return rows


def _without_texts(stored: Mapping[str, Any]) -> dict[str, Any]:
    empty = dict.fromkeys(_TEXTS, "")
    thought = None if stored["outcome_thought"] is None else ""
    return {**empty, "thought": thought, "answer": "…" if stored["answer"] else ""}


def _row(stored: Mapping[str, Any]) -> Row:
    enums = {
        "arm": _ARMS.get(stored["arm"], stored["arm"]),
        "role": Role(stored["role"]),
        "outcome_answer": Outcome(stored["outcome_answer"]),
    }
    maybe = {
        key: None if stored.get(key) is None else Outcome(stored[key])
        for key in ("outcome_thought", "second_thought", "second_answer")
    }
    row = Row(**{**stored, **enums, **maybe})
    _check(row)
    return row


@cache
def _types() -> dict[str, frozenset[type]]:
    """Return the types that the values of each field may have."""
    return {
        name: frozenset(get_args(hint) or (hint,)) for name, hint in get_type_hints(Row).items()
    }


def _check(row: Row) -> None:
    """Raise `ValueError` for a row that no evaluation writes: a value of another type, such as a
    missing `finished`, which would count as a completion that was cut off, or parts that cannot
    stand beside each other."""
    for name, allowed in _types().items():
        if type(value := getattr(row, name)) not in allowed:
            raise ValueError(f"{name} is {value!r:.80}")
    if row.sample < 0 or row.tokens < 0:
        raise ValueError(f"sample {row.sample} has {row.tokens} tokens")
    if not row.closed and (row.thought is None or row.answer):
        raise ValueError(f"a thought that was left open has an answer, or is none: {row.place}")
