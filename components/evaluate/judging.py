"""From what the arms wrote to judged rows: a suite's judge reads all arms, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from components.core.vocabulary import View
from components.evaluate.grading import Grade, grade
from components.evaluate.plan import EvaluationPlan, Written
from components.evaluate.rows import Place, Row
from components.evaluate.settings import EvaluateSettings
from components.judges.calibration import LabelledCase, calibrate, cases_for
from components.judges.opening import open_judge
from components.judges.protocol import Case, Judge, Verdict, judge_cases
from components.judges.result import Calibration, Usage
from components.judges.settings import RULES
from components.judges.verdicts import CachedJudge, StoredVerdicts
from components.lm.attacks import judged_request

log = logging.getLogger(__name__)

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Judges:
    """The judges of a plan, found fit before any model is asked; no weights are loaded yet.

    Their verdicts are stored, so that a killed process asks none of them twice.
    """

    judges: Mapping[str, Judge]  # by what the profile calls them
    suites: Mapping[str, str]  # suite -> what the profile calls its judge

    @classmethod
    def of(
        cls,
        plan: EvaluationPlan,
        section: EvaluateSettings,
        verdicts: StoredVerdicts | None = None,
        *,
        labelled: Sequence[LabelledCase] = (),
        opened: Mapping[str, Judge] | None = None,
    ) -> Judges:
        """Return the judges of a plan; without `verdicts` nothing is stored, and those that are
        `opened` already are not opened again.

        Raises what would stop a judge after the models have answered: `ConfigError` for one that is
        unknown, cannot judge a suite's role or has no server's address; `ModelError` for a guard
        that is missing or unfit, and for a server that does not answer or refuses the key;
        `EvidenceError` where none of the `labelled` cases is of a role that a judge knows.
        """
        suites = {suite.suite: suite.judge for suite in plan.suites}
        judges: dict[str, Judge] = {}
        for name in dict.fromkeys(suites.values()):
            if opened and name in opened:
                judges[name] = opened[name]
                continue
            judge = open_judge(
                name,
                section.judges,
                rules=section.rules,
                roles={suite.role for suite in plan.suites if suite.judge == name},
                spent=verdicts.usage(name) if verdicts is not None else None,
            )
            judge.check()
            if labelled:
                cases_for(judge, labelled)
            # The rules decide anew in less time than their verdicts are stored in.
            judges[name] = judge
            if verdicts is not None and name != RULES:
                judges[name] = CachedJudge(judge, name, verdicts)
        return cls(judges, suites)

    @property
    def names(self) -> dict[str, str]:
        """Every suite's judge by its name, with the digest of what decides."""
        return {suite: self.judges[called].name for suite, called in self.suites.items()}

    @property
    def usage(self) -> dict[str, Usage]:
        """What each paid judge was asked for so far, by killed processes, too."""
        return {name: used for name, judge in self.judges.items() if (used := judge.usage)}

    def judge(
        self, written: Mapping[Key, Written], labelled: Sequence[LabelledCase], confidence: float
    ) -> tuple[dict[Key, list[Row]], tuple[Calibration, ...]]:
        """Return the rows of all that was written, and how each judge rules on `labelled` cases;
        one judge is in memory at a time."""
        from components.lm.loading import free_memory

        rows: dict[Key, list[Row]] = {key: [] for key in written}
        calibrations: list[Calibration] = []
        for called, judge in self.judges.items():
            suites = [suite for suite, own in self.suites.items() if own == called]
            for key, one in written.items():
                log.info("%s judges %s", called, one.arm)
                rows[key] += judged_rows(one, judge, suites)
            if labelled:
                calibrations.append(calibrate(judge, labelled, confidence=confidence))
            judge.close()
            free_memory()
        return rows, tuple(calibrations)


def with_second_verdicts(rows: Iterable[Row], again: Iterable[Row]) -> list[Row]:
    """Return the rows with the verdicts of those of the same places as a second judge's."""
    second = {row.place: row for row in again}
    return [row.with_second(second[row.place]) if row.place in second else row for row in rows]


def judged_rows(written: Written, judge: Judge, suites: Collection[str]) -> list[Row]:
    """Return a row for every completion to prompts of the `suites`, in the order in which they were
    asked. Thought and answer are judged each by itself."""
    cases = {place: _cases(written, place) for place in written.places if place.suite in suites}
    verdicts = iter(judge_cases(judge, [case for parts in cases.values() for case in parts]))
    return [
        row_of(written, place, [next(verdicts) for _ in parts]) for place, parts in cases.items()
    ]


def _cases(written: Written, place: Place) -> list[Case]:
    """Return what of a completion a judge reads: its thought, if any, and its answer."""
    (suite, prompt), completion = written.places[place], written.completions[place]
    request = judged_request(prompt, place.form)
    answer = Case(request, completion.answer, View.ANSWER, suite.role)
    if completion.thought is None:
        return [answer]
    view = View.THOUGHT if completion.closed else View.UNCLOSED
    return [Case(request, completion.thought, view, suite.role), answer]


def row_of(written: Written, place: Place, verdicts: Sequence[Verdict]) -> Row:
    """Return the row of a completion with the verdicts on its thought, if any, and its answer."""
    suite, prompt = written.places[place]
    completion = written.completions[place]
    *thought, answer = verdicts
    marks: Grade | None = None
    if suite.grader is not None and prompt.answer is not None:
        marks = grade(completion.answer, prompt.answer, suite.grader)
    return Row(
        prompt_id=prompt.id,
        suite=suite.suite,
        arm=written.arm,
        form=place.form,
        role=suite.role,
        topic=prompt.topic,
        sample=place.sample,
        thought=completion.thought,
        answer=completion.answer,
        closed=completion.closed,
        finished=completion.finished,
        tokens=completion.tokens,
        outcome_thought=thought[0].outcome if thought else None,
        outcome_answer=answer.outcome,
        said_thought=thought[0].reason if thought else None,
        said_answer=answer.reason,
        cut=any(verdict.cut for verdict in verdicts),
        correct=None if marks is None else marks.flexible,
        correct_strict=None if marks is None else marks.strict,
        cluster=prompt.cluster,
    )
