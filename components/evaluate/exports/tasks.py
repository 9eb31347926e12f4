"""Judged rows as other harnesses cut them: a task is one suite, in one form, by one arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.core.errors import EvidenceError
from components.core.metric_names import Metric
from components.core.result import RateFigure
from components.core.untrusted_text import is_withheld
from components.core.vocabulary import AnyArm, Arm, Form, Outcome, Prompt, Role
from components.evaluate.rates import counts_of
from components.evaluate.result import Evidence
from components.evaluate.rows import Row
from components.prepare.result import LEAK_MARK, LeakFigure, leak_notes

# What a prompt of a role is there to bring about; a reasoning prompt has its own answer.
WANTED = {
    Role.HARMFUL: Outcome.REFUSED,
    Role.BORDERLINE: Outcome.COMPLIED,
    Role.BENIGN: Outcome.COMPLIED,
}


@dataclass(frozen=True, slots=True)
class Task:
    """One arm's completions to the prompts of one suite, all put in one form."""

    suite: str
    form: str
    arm: AnyArm
    role: Role
    samples: tuple[tuple[Prompt, Row], ...]  # by prompt, and of one prompt by sample
    repeated: str  # what training held of the suite, in a sentence; empty: nothing of it

    @property
    def name(self) -> str:
        """The suite, with the form where the prompts were not put as served."""
        return self.suite if self.form == Form.SERVED else f"{self.suite}.{self.form}"

    @property
    def title(self) -> str:
        """The name as people read it: marked where training held prompts of the suite."""
        return f"{self.name} {LEAK_MARK}" if self.repeated else self.name

    @property
    def note(self) -> dict[str, str]:
        """What the title's mark means, under its key; empty without a mark."""
        return {"repeated_in_training": self.repeated} if self.repeated else {}

    def by_prompt(self) -> dict[str, list[tuple[Prompt, Row]]]:
        """Return the samples of each prompt, by its id."""
        groups: dict[str, list[tuple[Prompt, Row]]] = {}
        for prompt, row in self.samples:
            groups.setdefault(prompt.id, []).append((prompt, row))
        return groups

    def measured(self) -> dict[str, dict[str, float]]:
        """Return measure -> prompt id -> the share of the prompt's samples that count for sure."""
        counts = counts_of(row for _, row in self.samples)
        return {
            _measure(Metric.parse(metric)): {
                asked.prompt_id: sum(map(bool, held)) / len(held) for asked, held in prompts.items()
            }
            for metric, prompts in counts.items()
        }

    def rates(self, evidence: Evidence) -> dict[str, RateFigure]:
        """Return measure -> rate, as the evidence has it."""
        parsed = {Metric.parse(name): rate for name, rate in evidence.rates[Arm(self.arm)].items()}
        return {
            _measure(metric): rate
            for metric, rate in parsed.items()
            if (metric.suite, metric.form) == (self.suite, self.form)
        }

    def annotated(self, rate: RateFigure) -> dict[str, Any]:
        """Return a rate as JSON, with the note."""
        return rate.model_dump(mode="json") | self.note

    def about(self, evidence: Evidence) -> dict[str, Any]:
        """Return what the task's figures are bound to."""
        return {
            "suite": self.suite,
            "form": str(self.form),
            "arm": str(self.arm),
            "role": self.role.value,
            "judge": evidence.judges[self.suite],
            "adapter": evidence.adapter,
            "checkpoint": evidence.models[self.arm],
            "data": evidence.data,
            "confidence": evidence.confidence,
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """Which completions are wanted; what is None or false does not matter."""

    suite: str | None = None
    arm: str | None = None
    outcome: str | None = None  # of the answer
    disagreement: bool = False  # the two judges read thought or answer differently

    def of(self, rows: Mapping[AnyArm, Sequence[Row]]) -> dict[AnyArm, list[Row]]:
        """Return the rows that are wanted; raises `EvidenceError` where there is none."""
        chosen = {arm: [row for row in own if self._takes(row)] for arm, own in rows.items()}
        if not any(chosen.values()):
            every = [row for own in rows.values() for row in own]
            suites, outcomes = {row.suite for row in every}, {row.outcome_answer for row in every}
            second = (
                "" if any(row.second_answer for row in every) else "; one judge alone read them"
            )
            raise EvidenceError(
                f"no completion is all of that; suites: {', '.join(sorted(suites))}; arms: "
                f"{', '.join(rows)}; outcomes: {', '.join(sorted(outcomes))}{second}"
            )
        return chosen

    def _takes(self, row: Row) -> bool:
        wanted = (self.suite, row.suite), (self.arm, row.arm), (self.outcome, row.outcome_answer)
        return all(one in (None, its) for one, its in wanted) and (
            not self.disagreement or row.disputed
        )


def tasks_of(
    prompts: Sequence[Prompt],
    rows: Mapping[AnyArm, Sequence[Row]],
    *,
    redact: bool,
    leaks: Iterable[LeakFigure],
) -> list[Task]:
    """Return the tasks in the order of arms and rows; completions to harmful prompts are replaced
    by their length where `redact`. `leaks` are what training held of the suites.

    Raises `EvidenceError` where there is no row, and for a row whose prompt is unknown.
    """
    known = {prompt.id: prompt for prompt in prompts}
    groups: dict[tuple[str, str, AnyArm, Role], list[tuple[Prompt, Row]]] = {}
    for arm, own in rows.items():
        for row in own:
            if row.prompt_id not in known:
                raise EvidenceError(
                    f"evaluate's rows name the prompt {row.prompt_id!r:.40}, which the prepared "
                    "set does not hold; run the stage evaluate again on this data"
                )
            exported = _withheld(row) if is_withheld(row.role, redact=redact) else row
            group = groups.setdefault((row.suite, row.form, arm, row.role), [])
            group.append((known[row.prompt_id], exported))
    if not groups:
        raise EvidenceError("the evaluation holds no row; run the stage evaluate again")
    repeated = leak_notes(leaks)
    return [
        Task(
            *key,
            tuple(sorted(group, key=lambda sample: (sample[0].id, sample[1].sample))),
            repeated.get(key[0], ""),
        )
        for key, group in groups.items()
    ]


def target(prompt: Prompt) -> str:
    """Return the reference answer of a reasoning prompt, else the outcome that is wanted."""
    if prompt.role is Role.REASONING:
        return prompt.answer or ""
    return WANTED[prompt.role].value


def _withheld(row: Row) -> Row:
    lengths: dict[str, Any] = {
        part: f"(withheld: {len(text)} characters)"
        for part, text in (("thought", row.thought), ("answer", row.answer))
        if text is not None
    }
    return replace(row, **lengths, said_thought=None, said_answer="")


def _measure(metric: Metric) -> str:
    """Return a metric's name without suite and form: `refused`, `thought.complied`."""
    return str(replace(metric, suite="", form=Form.SERVED))
