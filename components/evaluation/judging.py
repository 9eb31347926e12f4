"""From completions to verdicts, and the rows that are kept of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluation.grading import is_correct
from components.lm.outcomes import REFUSALS, outcome
from components.records import AnyArm, Arm, Completion, Form, Method, Outcome, Prompt, Role, Verdict
from components.storage import digest_bytes, read_rows

_ARMS: dict[str, AnyArm] = {arm.value: arm for arm in (*Arm, *Method)}


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt, put to one arm in one form: what was written and how it was judged."""

    prompt_id: str
    arm: AnyArm
    form: Form
    role: Role
    topic: str
    thought: str | None
    answer: str
    finished: bool
    tokens: int
    outcome_thought: Outcome | None
    outcome_answer: Outcome
    correct: bool | None


@dataclass(frozen=True, slots=True)
class Judge:
    """The rules of components/lm/outcomes.py with a profile's patterns."""

    refusal_patterns: tuple[str, ...] = ()
    compliance_pattern: str | None = None

    @property
    def name(self) -> str:
        """The judge's kind and the digest of the patterns it goes by."""
        patterns = [list(self.refusal_patterns or REFUSALS), self.compliance_pattern]
        return f"rules:{digest_bytes(json.dumps(patterns).encode())}"

    def verdict(self, prompt: Prompt, completion: Completion, arm: AnyArm) -> Verdict:
        """Return the verdict on thought and answer, each by itself.

        An answer that is empty, or still behind an open thought, is `neither`, whatever the
        patterns say. Only reasoning prompts with a reference answer are graded.
        """
        graded = prompt.role is Role.REASONING and prompt.answer is not None
        return Verdict(
            prompt_id=prompt.id,
            arm=arm,
            role=prompt.role,
            thought=None if completion.thought is None else self._outcome(completion.thought),
            answer=self._outcome(completion.answer),
            correct=is_correct(completion.answer, prompt.answer or "") if graded else None,
        )

    def _outcome(self, text: str) -> Outcome:
        if not text.strip():
            return Outcome.NEITHER
        return outcome(
            text,
            refusal_patterns=self.refusal_patterns,
            compliance_pattern=self.compliance_pattern,
        )


def judged_rows(
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    *,
    judge: Judge,
    arm: AnyArm,
    form: Form,
) -> list[Row]:
    """Return a row for every prompt with its completion, in the prompts' order."""
    rows = []
    for prompt, completion in zip(prompts, completions, strict=True):
        verdict = judge.verdict(prompt, completion, arm)
        rows.append(
            Row(
                prompt_id=prompt.id,
                arm=arm,
                form=form,
                role=prompt.role,
                topic=prompt.topic,
                thought=completion.thought,
                answer=completion.answer,
                finished=completion.finished,
                tokens=completion.tokens,
                outcome_thought=verdict.thought,
                outcome_answer=verdict.answer,
                correct=verdict.correct,
            )
        )
    return rows


def read_judged(path: Path) -> dict[AnyArm, list[Row]]:
    """Return the rows that `write_rows` wrote to `path`, by arm."""
    rows: dict[AnyArm, list[Row]] = {}
    for row in read_rows(path):
        thought = row["outcome_thought"]
        arm = _ARMS[row["arm"]]
        enums = {
            "arm": arm,
            "form": Form(row["form"]),
            "role": Role(row["role"]),
            "outcome_thought": None if thought is None else Outcome(thought),
            "outcome_answer": Outcome(row["outcome_answer"]),
        }
        rows.setdefault(arm, []).append(Row(**{**row, **enums}))
    return rows
