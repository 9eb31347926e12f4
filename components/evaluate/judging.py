"""From what the arms wrote to judged rows: a suite's judge reads all arms, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.vocabulary import AnyArm, View
from components.evaluate.asking import Answer, Exam
from components.evaluate.attacks import judged_request
from components.evaluate.grading import Grade, grade
from components.evaluate.metrics import cut_figures
from components.evaluate.result import CutFigure
from components.evaluate.rows import Row
from components.evaluate.settings import EvaluateSettings
from components.judges.calibration import LabelledCase, calibrate, cases_for
from components.judges.opening import open_judge
from components.judges.protocol import Case, Judge, Verdict, judge_cases
from components.judges.result import Calibration, Usage
from components.judges.settings import RULES
from components.judges.verdicts import CachedJudge, StoredVerdicts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

Answers = Mapping[AnyArm, Sequence[Answer]]
_Parts = tuple[Verdict | None, Verdict]  # of the thought, where there is one, and of the answer


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of every arm, and who judged them."""

    rows: dict[AnyArm, list[Row]]
    judges: dict[str, str]  # suite -> its judge's name, with the digest of what decides
    calibrations: tuple[Calibration, ...]
    usage: dict[str, Usage]  # judge -> what a paid service was asked for

    @property
    def cut(self) -> dict[str, dict[AnyArm, CutFigure]]:
        """Of every suite and arm the completions that the judge read without their middle."""
        return cut_figures(self.rows, self.judges)


@dataclass(frozen=True, slots=True)
class Jury:
    """The judges of an exam, found fit before any model is asked; no weights are loaded yet.

    What they rule is kept, so that a killed process asks none of them twice.
    """

    judges: Mapping[str, Judge]  # by what the profile calls them
    suites: Mapping[str, str]  # suite -> what the profile calls its judge
    labelled: Sequence[LabelledCase]  # on which each judge is tried; none: it is not
    confidence: float

    @classmethod
    def of(
        cls,
        exam: Exam,
        section: EvaluateSettings,
        verdicts: StoredVerdicts,
        *,
        labelled: Sequence[LabelledCase] = (),
    ) -> Jury:
        """Return the jury of an exam.

        Raises what would stop a judge after the models have answered: `ConfigError` for one that is
        unknown, cannot judge a suite's role or has no server's address; `ModelError` for a guard
        that is missing or unfit, and for a server that does not answer or refuses the key;
        `EvidenceError` where no labelled case is of a role that a judge knows.
        """
        suites = {questions.suite: questions.judge for questions in exam.suites}
        judges: dict[str, Judge] = {}
        for name in dict.fromkeys(suites.values()):
            judge = open_judge(
                name,
                section.judges,
                rules=section.rules,
                roles={q.role for q in exam.suites if q.judge == name},
                spent=verdicts.usage(name),
            )
            judge.check()
            if labelled:
                cases_for(judge, labelled)
            # The rules rule anew in less time than their word is kept in.
            judges[name] = judge if name == RULES else CachedJudge(judge, name, verdicts)
        return cls(judges, suites, labelled, section.confidence)

    @property
    def names(self) -> dict[str, str]:
        """Every suite's judge by its name, with the digest of what decides."""
        names = {called: judge.name for called, judge in self.judges.items()}
        return {suite: names[called] for suite, called in self.suites.items()}

    @property
    def usage(self) -> dict[str, Usage]:
        """What each paid judge was asked for so far, by killed processes, too."""
        asked = {called: judge.usage for called, judge in self.judges.items()}
        return {called: usage for called, usage in asked.items() if usage is not None}

    def judge(self, answers: Answers) -> Judged:
        """Return the rows of all arms; each judge is also tried on the labelled cases."""
        rows: dict[AnyArm, list[Row]] = {arm: [] for arm in answers}
        calibrations: list[Calibration] = []
        for called, judge in self.in_turn():
            for arm, own in answers.items():
                rows[arm] += self.rows(called, arm, own)
            if self.labelled:
                tried = calibrate(judge, self.labelled, confidence=self.confidence)
                calibrations.append(tried)
        return Judged(rows, self.names, tuple(calibrations), self.usage)

    def in_turn(self) -> Iterator[tuple[str, Judge]]:
        """Yield the judges, each by what the profile calls it; one is in memory at a time."""
        from components.lm.loading import free_memory

        for called, judge in self.judges.items():
            yield called, judge
            judge.close()
            free_memory()

    def rows(self, called: str, arm: AnyArm, answers: Sequence[Answer]) -> list[Row]:
        """Return the rows of those answers that a judge is to read."""
        log.info("%s judges %s", called, arm)
        own = [answer for answer in answers if self.suites[answer.questions.suite] == called]
        return judged_rows(arm, own, self.judges[called])


@dataclass(frozen=True, slots=True)
class Examiner:
    """An exam with its judges, all in memory at once, for who asks many models in turn."""

    exam: Exam
    judges: Mapping[str, Judge]  # by suite
    batch: int

    @classmethod
    def of(cls, exam: Exam, section: EvaluateSettings) -> Examiner:
        """Return the examiner who judges as the stage `evaluate` does; raises what keeps a judge
        from judging."""
        names = {questions.judge for questions in exam.suites}
        opened = {name: open_judge(name, section.judges, rules=section.rules) for name in names}
        for judge in opened.values():
            judge.check()
        return cls(exam, {q.suite: opened[q.judge] for q in exam.suites}, section.batch)

    def ask(
        self, arm: AnyArm, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> list[Row]:
        """Return the judged rows of one arm, suite by suite."""
        answers = self.exam.ask_model(arm, model, tokenizer, batch=self.batch)
        return [
            row
            for suite, judge in self.judges.items()
            for row in judged_rows(arm, [a for a in answers if a.questions.suite == suite], judge)
        ]


def judged_rows(arm: AnyArm, answers: Sequence[Answer], judge: Judge) -> list[Row]:
    """Return a row for every answer, in order. Thought and answer are judged each by itself."""
    verdicts = iter(judge_cases(judge, [case for answer in answers for case in _cases(answer)]))
    parts: list[_Parts] = [
        (None if answer.completion.thought is None else next(verdicts), next(verdicts))
        for answer in answers
    ]
    return [row_of(arm, answer, *ruled) for answer, ruled in zip(answers, parts, strict=True)]


def _cases(answer: Answer) -> list[Case]:
    request = judged_request(answer.prompt, answer.form)
    role, completion = answer.questions.role, answer.completion
    cases = [Case(request, completion.answer, View.ANSWER, role)]
    if completion.thought is not None:
        view = View.THOUGHT if completion.closed else View.UNCLOSED
        cases.insert(0, Case(request, completion.thought, view, role))
    return cases


def row_of(arm: AnyArm, answer: Answer, thought: Verdict | None, verdict: Verdict) -> Row:
    """Return the row of an answer with the verdicts on its thought, if any, and on itself."""
    prompt, questions, completion = answer.prompt, answer.questions, answer.completion
    marks: Grade | None = None
    if questions.grader is not None and prompt.answer is not None:
        marks = grade(completion.answer, prompt.answer, questions.grader)
    return Row(
        prompt_id=prompt.id,
        suite=questions.suite,
        arm=arm,
        form=answer.form,
        role=questions.role,
        topic=prompt.topic,
        sample=answer.sample,
        thought=completion.thought,
        answer=completion.answer,
        closed=completion.closed,
        finished=completion.finished,
        tokens=completion.tokens,
        outcome_thought=None if thought is None else thought.outcome,
        outcome_answer=verdict.outcome,
        said_thought=None if thought is None else thought.reason,
        said_answer=verdict.reason,
        cut=verdict.cut or (thought is not None and thought.cut),
        correct=None if marks is None else marks.flexible,
        correct_strict=None if marks is None else marks.strict,
    )
