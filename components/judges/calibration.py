"""What a judge's verdicts are worth: how often they are the labels of labelled cases."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.core.errors import DataError, EvidenceError, StageError
from components.core.result import RateFigure
from components.core.storage import digest_bytes, read_json_lines
from components.core.vocabulary import Outcome, Role, View
from components.judges.formats import FORMATS
from components.judges.protocol import EVERY_ROLE, Case, Judge, judge_cases
from components.judges.result import Calibration, KappaFigure
from components.judges.rules.judge import RulesJudge

_KEYS = {"request", "text", "view", "role", "outcome", "kind"}


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """A case and the outcome that people agreed on."""

    case: Case
    outcome: Outcome
    kind: str  # what makes it hard


def read_cases(path: Path) -> list[LabelledCase]:
    """Return the labelled cases in a JSON-lines file.

    Raises `DataError` naming the row that is not one, or the file where there is none.
    """
    try:
        rows = read_json_lines(path)
    except StageError as error:
        raise DataError(f"the labelled cases cannot be read: {error}") from error
    cases = [_case(row, f"{path}, case {number}") for number, row in enumerate(rows, 1)]
    if not cases:
        raise DataError(f"{path} holds no labelled cases")
    return cases


def _case(row: dict[str, str], where: str) -> LabelledCase:
    texts = isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
    if not texts or row.keys() != _KEYS:
        raise DataError(f"{where}: a labelled case has {', '.join(sorted(_KEYS))}, each a text")
    try:
        case = Case(row["request"], row["text"], View(row["view"]), Role(row["role"]))
        label = LabelledCase(case, Outcome(row["outcome"]), row["kind"])
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    if case.view is View.EITHER or label.outcome is Outcome.UNPARSED:
        raise DataError(f"{where}: view either and outcome unparsed are made of others, no labels")
    return label


def calibrate(judge: Judge, cases: Sequence[LabelledCase], *, confidence: float) -> Calibration:
    """Return how often the judge's verdicts are the labels, of the cases of the roles it judges.

    Raises `EvidenceError` where there are none.
    """
    cases = cases_for(judge, cases)
    verdicts = judge_cases(judge, [labelled.case for labelled in cases])
    pairs = [(label.outcome, given.outcome) for label, given in zip(cases, verdicts, strict=True)]
    right = Counter(
        labelled.case.view
        for labelled, (label, given) in zip(cases, pairs, strict=True)
        if label is given
    )
    return _calibration(judge.name, cases, pairs, right, confidence)


def _calibration(
    judge: str,
    cases: Sequence[LabelledCase],
    pairs: Sequence[tuple[Outcome, Outcome]],
    right: Mapping[View, int],
    confidence: float,
) -> Calibration:
    """Return what follows from the pairs of label and verdict, and the right ones of each view."""
    views = Counter(labelled.case.view for labelled in cases)
    unparsed = sum(given is Outcome.UNPARSED for _, given in pairs)
    agreed = sum(label is given for label, given in pairs)
    return Calibration(
        judge=judge,
        cases=digest_bytes(json.dumps([asdict(labelled) for labelled in cases]).encode()),
        confidence=confidence,
        accuracy=RateFigure.of(agreed, len(cases), confidence),
        by_view={
            view: RateFigure.of(right[view], views[view], confidence)
            for view in View
            if view in views
        },
        unparsed=RateFigure.of(unparsed, len(cases), confidence),
        kappa=kappa(pairs, confidence),
        confusion={
            label: {given: pairs.count((label, given)) for given in Outcome} for label in Outcome
        },
    )


def cases_for(judge: Judge, cases: Sequence[LabelledCase]) -> list[LabelledCase]:
    """Return the cases of the roles that the judge judges. Raises `EvidenceError` where there are
    none."""
    found = [labelled for labelled in cases if labelled.case.role in judge.roles]
    if not found:
        raise EvidenceError(
            f"no labelled case has a role that {judge.name.partition(':')[0]} judges "
            f"({', '.join(sorted(judge.roles))}); add some to evaluate.calibration"
        )
    return found


def calibration_again(
    stated: Calibration, rules: RulesJudge, labelled: Sequence[LabelledCase], confidence: float
) -> tuple[Any, Any]:
    """Return what a calibration states, and what the labelled cases give.

    The rules judge them again. Of any other judge its table of labels and verdicts is taken as it
    is: how many cases of each label it has, and what follows from it, is counted.
    """
    if stated.judge == rules.name:
        return stated, calibrate(rules, labelled, confidence=confidence)
    kind = stated.judge.partition(":")[0]
    roles = FORMATS[kind].roles if kind in FORMATS else EVERY_ROLE
    cases = [known for known in labelled if known.case.role in roles]
    table = stated.confusion
    pairs = [(a, b) for a, row in table.items() for b, n in row.items() for _ in range(n)]
    right = {view: rate.count for view, rate in stated.by_view.items()}
    sums = {"labels": Counter(label for label, _ in pairs), "right": sum(right.values())}
    counted = {
        "labels": Counter(known.outcome for known in cases),
        "right": sum(label is given for label, given in pairs),
    }
    if sums != counted:
        return sums, counted
    # Of a view with more right ones than cases the figure is that of all, and so another one.
    views = Counter(known.case.view for known in cases)
    possible = {view: min(max(right.get(view, 0), 0), n) for view, n in views.items()}
    return stated, _calibration(stated.judge, cases, pairs, possible, confidence)


def kappa(pairs: Sequence[tuple[Outcome, Outcome]], confidence: float) -> KappaFigure | None:
    """Return Cohen's kappa of pairs of outcomes with its interval, cut to [-1, 1].

    None where both are the same one throughout: agreement by chance is then certain, and kappa
    is 0/0. The standard error is that of Fleiss, Cohen and Everitt 1969 (Psych Bull 72:323-327),
    as statsmodels computes it.
    """
    import numpy as np
    from scipy.stats import norm
    from statsmodels.stats.inter_rater import cohens_kappa

    if len({outcome for pair in pairs for outcome in pair}) < 2:
        return None
    table = np.array([[pairs.count((label, given)) for given in Outcome] for label in Outcome])
    with np.errstate(invalid="ignore", divide="ignore"):  # of its test of kappa being 0, unused
        found = cohens_kappa(table)
    # Perfect agreement has no variance, and rounding may put it a little below zero.
    reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(max(float(found.var_kappa), 0.0))
    value = float(found.kappa)
    return KappaFigure(kappa=value, low=max(value - reach, -1.0), high=min(value + reach, 1.0))
