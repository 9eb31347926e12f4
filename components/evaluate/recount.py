"""The evidence, counted again from its rows.

A digest shows that a file is what it was, not that it is true. So whoever relies on the evidence
has its rows compared with what was to be asked. The verdicts of the rules and the grades are given
again from the completions, and every figure is counted anew. The verdicts of a guard or a rubric
are taken from the rows: to ask them again is to evaluate again. So is whether a completion ended by
itself, which only its tokens tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from components.core.errors import EvidenceError, StageError
from components.core.paths import METRICS, ROWS
from components.core.result import mismatches
from components.core.vocabulary import OWN_ARMS, PLAIN_FORMS, AnyArm, Arm, Outcome, View
from components.evaluate.judging import judged_rows, row_of, with_second_verdicts
from components.evaluate.plan import EvaluationPlan, Places, Written, test_plan
from components.evaluate.rates import count_figures
from components.evaluate.result import Evidence
from components.evaluate.rows import Row, read_judged
from components.evaluate.second import second_judges
from components.evaluate.settings import EvaluateSettings
from components.judges.calibration import calibration_again, read_cases
from components.judges.labels import Label, Part, agreed_outcomes
from components.judges.protocol import Verdict
from components.judges.result import LabelledCompletions
from components.judges.rules.judge import RulesJudge
from components.judges.settings import RULES
from components.models.result import Models
from components.prepare.result import SuiteSet

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
    plan = test_plan(section, prompts, seed)
    rules = RulesJudge(section.rules.refusal_patterns, section.rules.compliance_pattern)
    arms = [
        *OWN_ARMS,
        *([Arm.CHAMPION] if evidence.champion and evidence.champion.measured else []),
    ]
    _compare(folder, METRICS, *_about(evidence, plan, arms, section, rules))
    found = _read(folder)
    _compare(folder, ROWS, {"arms": sorted(found)}, {"arms": sorted(arms)})
    rows: dict[AnyArm, list[Row]] = {}
    for arm in arms:
        contract = (models.base if arm is Arm.BASE else models.post_trained).contract
        places = plan.places(opens_thought=contract.opens_thought)
        rows[arm] = _in_order(folder, arm, found[arm], places)
        again = _judged_again(arm, rows[arm], places, rules)
        changed = [pair for pair in zip(rows[arm], again, strict=True) if pair[0] != pair[1]]
        before, after = (_by_place(pair[i] for pair in changed) for i in (0, 1))
        _compare(folder, ROWS, {arm: before}, {arm: after})
    counted = count_figures(rows, plan.roles, confidence=section.confidence)
    _compare(folder, METRICS, _figures(dict(evidence)), _figures(counted))
    second = _second_judges(evidence, plan, section, rules)
    found_second = second_judges(
        rows,
        plan.second.roles,
        second,
        plan.second.judge_settings(section),
        section.confidence,
    )
    _compare(folder, METRICS, {"second": evidence.second}, {"second": found_second})
    labelled = read_cases(root / section.calibration)
    for calibration in evidence.calibrations:
        stated, tried = calibration_again(calibration, rules, labelled, section.confidence)
        _compare(folder, METRICS, {"calibration": stated}, {"calibration": tried})


def tabulate_labels(evidence: Evidence, labels: Iterable[Label]) -> tuple[LabelledCompletions, ...]:
    """Return what people said of the evidence's completions beside what their judges said.

    A label of another text than the row's is of another evaluation, and does not count; nor does
    one on which people do not agree. Of a completion's worse part only those count of which all
    parts are labelled.
    """
    agreed = agreed_outcomes(labels)
    if not agreed:
        return ()
    found: dict[tuple[bool, str, bool, View], Counter[tuple[Outcome, Outcome]]] = {}
    for row in (row for rows in _read(evidence.folder).values() for row in rows):
        for second, judged in ((False, row), (True, row.by_second_judge)):
            for view, label, verdict in _labelled(judged, agreed) if judged else ():
                about = (second, row.suite, row.form not in PLAIN_FORMS, view)
                found.setdefault(about, Counter())[label, verdict] += 1
    return tuple(
        LabelledCompletions(
            suite=suite,
            attacked=attacked,
            view=view,
            confusion={a: {b: pairs[a, b] for b in Outcome} for a in Outcome},
            second=second,
        )
        for (second, suite, attacked, view), pairs in sorted(found.items())
    )


def _labelled(
    row: Row, agreed: Mapping[Part, Outcome | None]
) -> Iterator[tuple[View, Outcome, Outcome]]:
    """Yield label and verdict of each view of a completion whose parts people agree on."""
    thought, answer = (
        None if text is None else agreed.get(Part.of(row.arm, row.place, view, text))
        for view, text in ((View.THOUGHT, row.thought), (View.ANSWER, row.answer))
    )
    said = replace(row, outcome_thought=thought, outcome_answer=answer or Outcome.UNPARSED)
    whole = answer is not None and (thought is not None or row.thought is None)
    known = {
        View.ANSWER: answer is not None,
        View.EITHER: whole,
        **dict.fromkeys((View.THOUGHT, View.UNCLOSED), thought is not None),
    }
    for view in View:
        label, verdict = said.outcome(view), row.outcome(view)
        if known[view] and label is not None and verdict is not None:
            yield view, label, verdict


def _compare(folder: Path, file: str, stated: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    differing = list(islice(mismatches(stated, found), _NAMED + 1))
    if differing:
        more = "; and others" if len(differing) > _NAMED else ""
        raise EvidenceError(
            f"{folder / file}: {'; '.join(differing[:_NAMED])}{more}. The evidence does not follow "
            f"from its rows: remove {folder} and evaluate again with `safereact run`"
        )


def _about(
    evidence: Evidence,
    plan: EvaluationPlan,
    arms: Sequence[Arm],
    section: EvaluateSettings,
    rules: RulesJudge,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the evidence states of the plan and its judges, and what the profile has.

    The digest in the name of a guard or a rubric is taken as it is: what decides its verdicts is
    compared as `judge_settings`.
    """
    judges = _judges(evidence.judges, plan, section, rules)
    every = [*judges.values(), *_second_judges(evidence, plan, section, rules).values()]
    calibrated = [calibration.judge for calibration in evidence.calibrations]
    about = {
        "arms": (sorted(evidence.rates), sorted(arms)),
        "models": (sorted(evidence.models), sorted(arms)),
        "champion": (evidence.champion is not None, section.champion),
        "test_prompts": (evidence.test_prompts, plan.digest),
        "roles": (evidence.roles, plan.roles),
        "confidence": (evidence.confidence, section.confidence),
        "sampling": (evidence.sampling, section.sampling),
        "system": (evidence.system, section.system),
        "judge_settings": (evidence.judge_settings, plan.judge_settings(section)),
        "judges": (evidence.judges, judges),
        "calibrated judges": (calibrated, list(dict.fromkeys(every))),
    }
    stated, found = ({key: pair[i] for key, pair in about.items()} for i in (0, 1))
    return stated, found


def _judges(
    stated: Mapping[str, str], plan: EvaluationPlan, section: EvaluateSettings, rules: RulesJudge
) -> dict[str, str]:
    """Return the judge of every suite of a plan: of `rules` the name, of any other the stated one
    where it is of the kind that the profile names, else that kind."""

    def named(kind: str, name: str) -> str:
        return name if name.startswith(f"{kind}:") else kind

    return {
        suite.suite: rules.name
        if suite.judge == RULES
        else named(section.judges[suite.judge].kind, stated.get(suite.suite, ""))
        for suite in plan.suites
    }


def _second_judges(
    evidence: Evidence, plan: EvaluationPlan, section: EvaluateSettings, rules: RulesJudge
) -> dict[str, str]:
    stated = evidence.second.judges if evidence.second else {}
    return _judges(stated, plan.second, section, rules)


def _read(folder: Path) -> dict[AnyArm, list[Row]]:
    try:
        return read_judged(folder / ROWS)
    except StageError as error:
        raise EvidenceError(
            f"{error}; remove {folder} and evaluate again with `safereact run`"
        ) from error


def _in_order(folder: Path, arm: AnyArm, rows: Sequence[Row], places: Places) -> list[Row]:
    """Return an arm's rows in the order in which they were asked; raises `EvidenceError` unless
    each is there once and no other."""
    found = {row.place: row for row in rows}
    count = f"{arm} completions"
    _compare(folder, ROWS, {count: len(rows)}, {count: len(found)})
    there, owed = (dict.fromkeys(map(str, each), "there") for each in (found, places))
    _compare(folder, ROWS, {arm: there}, {arm: owed})
    return [found[place] for place in places]


def _by_place(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    return {str(row.place): asdict(row) for row in rows}


def _judged_again(arm: AnyArm, rows: Sequence[Row], places: Places, rules: RulesJudge) -> list[Row]:
    """Return the rows as they would be judged and graded now, where that needs no model."""
    written = Written(arm, places, {row.place: row.completion for row in rows})
    suites = {suite.suite: suite for suite, _ in places.values()}.values()
    by_rules = [suite.suite for suite in suites if suite.judge == RULES]
    again = {row.place: row for row in judged_rows(written, rules, by_rules)}
    first = [
        again.get(row.place) or row_of(written, row.place, list(_verdicts(row))) for row in rows
    ]
    twice = {suite.suite: suite.second_judge for suite in suites if suite.second_judge}
    of_rules = [suite for suite, judge in twice.items() if judge == RULES]
    second = {row.place: row for row in judged_rows(written, rules, of_rules)}
    of_others = [
        row_of(written, row.place, list(_verdicts(row.by_second_judge or row)))
        for row in rows
        if row.suite in twice and row.suite not in of_rules
    ]
    return with_second_verdicts(first, [*second.values(), *of_others])


def _verdicts(row: Row) -> Iterator[Verdict]:
    """Yield the verdicts that a row states, one for each part of its completion."""
    if row.thought is not None:
        outcome = row.outcome_thought or Outcome.UNPARSED
        yield Verdict(outcome, row.said_thought or "", row.cut)
    yield Verdict(row.outcome_answer, row.said_answer, row.cut)


def _figures(figures: Mapping[str, Any]) -> dict[str, Any]:
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
