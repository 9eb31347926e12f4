"""The evidence, counted again from its rows.

A digest shows that a file is what it was, not that it is true. So whoever relies on the evidence
has its rows held against what was to be asked, the verdicts of rules and the grades given again
from the completions, and every figure counted anew. What a guard or a rubric said is taken from
the rows: to ask them again is to evaluate again. So is whether a completion ended by itself, which
only its tokens tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow

from components.core.errors import EvidenceError
from components.core.paths import METRICS, ROWS
from components.core.result import mismatches
from components.core.vocabulary import OWN_ARMS, AnyArm, Arm, Completion, Form, Outcome, Prompt
from components.evaluate.asking import Answer, Exam, Questions, test_exam
from components.evaluate.figures import count_figures
from components.evaluate.judging import judged_rows, row_of
from components.evaluate.result import Evidence
from components.evaluate.rows import Row, read_judged
from components.evaluate.settings import EvaluateSettings
from components.judges.calibration import calibration_again, read_cases
from components.judges.protocol import Judge, Verdict
from components.judges.rules.judge import RulesJudge
from components.judges.settings import RULES
from components.models.result import Models
from components.prepare.result import SuiteSet

_Place = tuple[str, Form, str, int]  # suite, form, prompt, sample
_Asked = Mapping[_Place, tuple[Questions, Prompt]]
_NAMED = 3  # mismatches that a message names


def recount_evidence(
    evidence: Evidence,
    section: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    *,
    seed: int,
    root: Path,
) -> None:
    """Raise `EvidenceError` unless the figures are what the rows give, and the rows what was asked.

    The message names what differs, with both values. `section` and `seed` are those that the
    evaluation had; the labelled cases lie below `root`.
    """
    folder = evidence.folder
    exam = test_exam(section, prompts, seed)
    rules = RulesJudge(section.rules.refusal_patterns, section.rules.compliance_pattern)
    _compare(folder, METRICS, _plan_told(evidence), _plan(evidence, exam, section, rules))
    rows = _read(folder)
    asked: dict[AnyArm, _Asked] = {arm: _asked_of(arm, exam, models) for arm in _arms(evidence)}
    _compare(folder, ROWS, {"arms": sorted(rows)}, {"arms": sorted(asked)})
    rows = {arm: _in_order(folder, arm, rows[arm], asked[arm]) for arm in asked}
    for arm, own in rows.items():
        pairs = zip(own, _ruled_again(own, asked[arm], rules), strict=True)
        changed = [(row, again) for row, again in pairs if row != again]
        before, after = _by_place(row for row, _ in changed), _by_place(row for _, row in changed)
        _compare(folder, ROWS, {arm: before}, {arm: after})
    counted = count_figures(rows, exam.roles, confidence=section.confidence, seed=seed)
    _compare(folder, METRICS, _named(dict(evidence)), _named(counted))
    labelled = read_cases(root / section.calibration)
    for stated in evidence.calibrations:
        told, tried = calibration_again(stated, rules, labelled, section.confidence)
        _compare(folder, METRICS, {"calibration": told}, {"calibration": tried})


def _compare(folder: Path, file: str, stated: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    told = list(islice(mismatches(stated, found), _NAMED + 1))
    if told:
        more = "; and others" if len(told) > _NAMED else ""
        raise EvidenceError(
            f"{folder / file}: {'; '.join(told[:_NAMED])}{more}. The evidence does not follow from "
            f"its rows: remove {folder} and evaluate again with `safereact run`"
        )


# --- what was asked, and of whom -------------------------------------------------------------


def _arms(evidence: Evidence) -> list[Arm]:
    asked = evidence.champion is not None and evidence.champion.asked
    return [*OWN_ARMS, *([Arm.CHAMPION] if asked else [])]


def _plan_told(evidence: Evidence) -> dict[str, Any]:
    return {
        "arms": sorted(evidence.rates),
        "models": sorted(evidence.models),
        "champion": evidence.champion is not None,
        "test_prompts": evidence.test_prompts,
        "roles": evidence.roles,
        "confidence": evidence.confidence,
        "judge_settings": evidence.judge_settings,
        "judges": evidence.judges,
        "calibrated judges": [calibration.judge for calibration in evidence.calibrations],
    }


def _plan(
    evidence: Evidence, exam: Exam, section: EvaluateSettings, rules: RulesJudge
) -> dict[str, Any]:
    """Return the same as the profile has it. The digest in the name of a guard or a rubric is taken
    as it is: what decides its rulings is compared as `judge_settings`."""
    judges = {
        q.suite: _judge(q.judge, evidence.judges.get(q.suite, ""), section) for q in exam.suites
    }
    return {
        "arms": sorted(_arms(evidence)),
        "models": sorted(_arms(evidence)),
        "champion": section.champion,
        "test_prompts": exam.digest,
        "roles": exam.roles,
        "confidence": section.confidence,
        "judge_settings": exam.judge_settings(section),
        "judges": {suite: judge or rules.name for suite, judge in judges.items()},
        "calibrated judges": list(dict.fromkeys(judge or rules.name for judge in judges.values())),
    }


def _judge(called: str, name: str, section: EvaluateSettings) -> str:
    """Return the name that the evidence has of a judge, where it is of that kind; empty: rules."""
    if called == RULES:
        return ""
    kind = section.judges[called].kind
    return name if name.startswith(f"{kind}:") else kind


def _asked_of(arm: Arm, exam: Exam, models: Models) -> _Asked:
    """Return every completion that an arm owes, in the order in which it was asked."""
    contract = (models.base if arm is Arm.BASE else models.post_trained).contract
    forced_thought = exam.forced_thought and not contract.opens_thought
    return {
        (questions.suite, form, prompt.id, sample): (questions, prompt)
        for questions in exam.suites
        for form, prompts in questions.put_as(forced_thought=forced_thought)
        for prompt in prompts
        for sample in range(questions.samples)
    }


# --- the rows --------------------------------------------------------------------------------


def _read(folder: Path) -> dict[AnyArm, list[Row]]:
    try:
        return read_judged(folder / ROWS)
    except (KeyError, TypeError, ValueError, pyarrow.ArrowException) as error:
        raise EvidenceError(
            f"{folder / ROWS} is no table of judged rows ({error!r:.200}); remove {folder} and "
            "evaluate again with `safereact run`"
        ) from error


def _in_order(folder: Path, arm: AnyArm, rows: Sequence[Row], asked: _Asked) -> list[Row]:
    """Return an arm's rows in the order in which they were asked; raises `EvidenceError` unless
    each is there once and no other."""
    found = {row.place: row for row in rows}
    if len(found) < len(rows):
        _compare(
            folder, ROWS, {f"{arm} completions": len(rows)}, {f"{arm} completions": len(found)}
        )
    there, owed = (dict.fromkeys(map(_told, places), "there") for places in (found, asked))
    _compare(folder, ROWS, {arm: there}, {arm: owed})
    return [found[place] for place in asked]


def _told(place: _Place) -> str:
    suite, form, prompt, sample = place
    return f"{suite}, {form}, prompt {prompt}, sample {sample}:"


def _by_place(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    return {_told(row.place): asdict(row) for row in rows}


def _ruled_again(rows: Sequence[Row], asked: _Asked, rules: Judge) -> list[Row]:
    """Return the rows as they would be ruled and graded now, where that needs no model."""
    by_rules = [row for row in rows if asked[row.place][0].judge == RULES]
    ruled: dict[_Place, Row] = {}
    if by_rules:
        again = judged_rows(by_rules[0].arm, [_answer(row, asked) for row in by_rules], rules)
        ruled = {row.place: row for row in again}
    return [ruled.get(row.place) or _graded_again(row, _answer(row, asked)) for row in rows]


def _answer(row: Row, asked: _Asked) -> Answer:
    questions, prompt = asked[row.place]
    completion = Completion(
        row.prompt_id, row.thought, row.answer, row.finished, row.tokens, row.closed
    )
    return Answer(prompt, questions, row.form, row.sample, completion)


def _graded_again(row: Row, answer: Answer) -> Row:
    """Return a row with its judge's word as it is, where it is one on these parts."""
    thought = None
    if row.thought is not None:
        outcome = row.outcome_thought or Outcome.UNPARSED
        thought = Verdict(outcome, row.said_thought or "", row.cut)
    return row_of(row.arm, answer, thought, Verdict(row.outcome_answer, row.said_answer, row.cut))


# --- the figures -----------------------------------------------------------------------------


def _named(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that are counted from rows; comparisons by what they compare, with how
    many there are, since two of one name would be one."""
    differences, lengths = figures["differences"], figures["lengths"]
    return {
        "cut": figures["cut"],
        "rates": figures["rates"],
        "comparisons": len(differences),
        "difference": {f"{d.arm} - {d.against} {d.metric}": d for d in differences},
        "comparisons of lengths": len(lengths),
        "length": {f"{s.arm} - {s.against} {s.suite} {s.form}": s for s in lengths},
    }
