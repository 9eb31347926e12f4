"""What a judge's word is worth: its verdicts on labelled cases."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import DataError, EvidenceError, StageError
from components.core.result import RateFigure
from components.core.storage import digest_bytes, read_json_lines
from components.core.vocabulary import Outcome, Role, View
from components.judges.protocol import Case, Judge, judge_cases
from components.judges.result import Calibration, KappaFigure

if TYPE_CHECKING:
    import numpy as np

_KEYS = {"request", "text", "view", "role", "outcome", "kind"}


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """A case and the outcome that people agreed on."""

    case: Case
    outcome: Outcome
    kind: str  # what makes it hard, in a word


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
    pairs = [
        (known.outcome, verdict.outcome) for known, verdict in zip(cases, verdicts, strict=True)
    ]
    right = [
        (known.case.view, label is ruled)
        for known, (label, ruled) in zip(cases, pairs, strict=True)
    ]

    def rate(counted: list[bool]) -> RateFigure:
        return RateFigure.of(sum(counted), len(counted), confidence)

    views = sorted({view for view, _ in right}, key=list(View).index)
    return Calibration(
        judge=judge.name,
        cases=digest_bytes(json.dumps([asdict(known) for known in cases]).encode()),
        confidence=confidence,
        accuracy=rate([agreed for _, agreed in right]),
        by_view={view: rate([agreed for own, agreed in right if own is view]) for view in views},
        unparsed=rate([ruled is Outcome.UNPARSED for _, ruled in pairs]),
        kappa=kappa(pairs, confidence),
        confusion={
            label: {ruled: pairs.count((label, ruled)) for ruled in Outcome} for label in Outcome
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


def kappa(pairs: Sequence[tuple[Outcome, Outcome]], confidence: float) -> KappaFigure | None:
    """Return Cohen's kappa of pairs of outcomes with its interval, cut to [-1, 1].

    None where both are the same one throughout: agreement by chance is then certain, and kappa
    is 0/0. The standard error is that of Fleiss, Cohen and Everitt 1969 (Psych Bull 72:323-327),
    as statsmodels computes it.
    """
    from scipy.stats import norm
    from statsmodels.stats.inter_rater import cohens_kappa

    if len({outcome for pair in pairs for outcome in pair}) < 2:
        return None
    found = cohens_kappa(_table(pairs))
    # Perfect agreement has no variance, and rounding may put it a little below zero.
    reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(max(float(found.var_kappa), 0.0))
    value = float(found.kappa)
    return KappaFigure(kappa=value, low=max(value - reach, -1.0), high=min(value + reach, 1.0))


def _table(pairs: Sequence[tuple[Outcome, Outcome]]) -> np.ndarray:
    """Return counts (label, verdict) over the outcomes."""
    import numpy as np

    return np.array([[pairs.count((label, ruled)) for ruled in Outcome] for label in Outcome])
