"""A judge's accuracy, counted again from the labelled cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from components.core.result import RateFigure
from components.core.storage import digest_bytes
from components.core.vocabulary import Outcome
from components.judges.calibration import LabelledCase, calibrate, kappa
from components.judges.formats import FORMATS
from components.judges.protocol import EVERY_ROLE
from components.judges.result import Calibration
from components.judges.rules.judge import RulesJudge


def calibration_again(
    stated: Calibration, rules: RulesJudge, labelled: Sequence[LabelledCase], confidence: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a calibration states, and what the labelled cases give.

    The rules rule on them again. Of any other judge its table of labels and verdicts is taken as it
    is: how many cases of each label it has, and what follows from it, is counted.
    """
    if stated.judge == rules.name:
        found = calibrate(rules, labelled, confidence=confidence)
        return stated.model_dump(mode="json"), found.model_dump(mode="json")
    kind = stated.judge.partition(":")[0]
    roles = FORMATS[kind].roles if kind in FORMATS else EVERY_ROLE
    cases = [known for known in labelled if known.case.role in roles]
    table = stated.confusion
    pairs = [(a, b) for a, row in table.items() for b, n in row.items() for _ in range(n)]
    right = sum(label is ruled for label, ruled in pairs)
    unread = sum(ruled is Outcome.UNPARSED for _, ruled in pairs)
    views = Counter(known.case.view for known in cases)
    in_view = {view: rate.count for view, rate in stated.by_view.items()}
    counted = {
        "cases": digest_bytes(json.dumps([asdict(known) for known in cases]).encode()),
        "confidence": confidence,
        "labels": dict(Counter(known.outcome for known in cases)),
        "accuracy": _rate(right, len(cases), confidence),
        "unparsed": _rate(unread, len(cases), confidence),
        "kappa": kappa(pairs, confidence),
        "by_view": {view: _rate(in_view.get(view, 0), n, confidence) for view, n in views.items()},
        "right in all views": right,
    }
    labels = Counter(label for label, _ in pairs)
    told = {key: getattr(stated, key) for key in counted if hasattr(stated, key)}
    return {**told, "labels": dict(labels), "right in all views": sum(in_view.values())}, counted


def _rate(count: int, n: int, confidence: float) -> RateFigure | None:
    return RateFigure.of(count, n, confidence) if 0 <= count <= n and n else None
