"""Evidence of an adapter that the default policy accepts, and ways to make it worse."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from components.core.paths import ROWS
from components.core.result import RateFigure
from components.core.storage import digest_bytes
from components.core.vocabulary import Arm, Role
from components.evaluate.result import CutFigure, Evidence
from components.evaluate.statistics import paired_interval
from components.gate.policy import Policy, Rule
from components.gate.policy_files import load_policy
from components.gate.result import RuleOutcome
from components.gate.rules import decide_rule
from components.train.result import Adapter
from tests.evidence import make_difference, make_evidence, partial_evidence
from tests.evidence import rate as rate_of
from tests.root import ROOT

DEFAULT = ROOT / "mlflow" / "policies" / "default.yaml"
ROWS_FILE = b"the rows of an evaluation"
AT_MOST = {"at_least": None, "at_most": 0.1}
AGAINST = {"against": "post-trained", "at_least": 0.1}

# Paired intervals of about the width that n = 300 pairs give: (gained, lost) -> (low, high).
PAIRED = {
    (282, 0): (0.9004, 0.9614),
    (0, 9): (-0.0562, -0.0103),
    (0, 0): (-0.0126, 0.0126),
    (0, 18): (-0.0929, -0.0341),
}


@cache
def default_policy() -> Policy:
    """Return the policy of the repository."""
    return load_policy(DEFAULT)


def wilson(count, n, z=1.959963984540054):
    rate = count / n
    middle = (rate + z * z / 2 / n) / (1 + z * z / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / 4 / n / n) / (1 + z * z / n)
    low, high = min(middle - half, rate), max(middle + half, rate)
    return RateFigure(rate=rate, low=low, high=high, count=round(count), n=n)


def saved(evidence: Evidence, folder: Path) -> Evidence:
    """Save evidence beside the rows' file that it names."""
    (folder / ROWS).write_bytes(ROWS_FILE)
    return evidence.save(folder)


def rate(point=0.9, low=0.85, high=0.95, n=300):
    return RateFigure(rate=point, low=low, high=high, count=0, n=n)


def difference(metric="harmful.refused", gained=282, lost=0, n=300, **changes):
    low, high = PAIRED.get((gained, lost), (-1.0, 1.0))
    ends = {"low": low, "high": high, "p_value": 1.0}
    return make_difference(metric, gained, lost, n, **ends | changes)


def rule(**changes):
    keys = {
        "name": "r",
        "metric": "harmful.refused",
        "arm": "restored",
        "at_least": 0.8,
        "min_n": 100,
    }
    return Rule.model_validate({**keys, **changes})


def compared(both, first, second, none, confidence=0.95):
    """Return the difference of two arms on so many pairs of each kind."""
    table = ((True, True, both), (True, False, first), (False, True, second), (False, False, none))
    pairs = [((a,), (b,)) for a, b, count in table for _ in range(count)]
    found, low, high = paired_interval(pairs, confidence)
    return difference(n=len(pairs), gained=first, lost=second, difference=found, low=low, high=high)


def decided(one, figure, *, confidence=0.95, unparsed=None) -> RuleOutcome:
    """Return the outcome of a rule on its figure, and on the unparsed verdicts by arm."""
    is_rate = isinstance(figure, RateFigure)
    rates = {one.arm: {one.metric: figure}} if is_rate else {}
    for arm, read in (unparsed or {}).items():
        rates.setdefault(arm, {})[f"{one.metric.rpartition('.')[0]}.unparsed"] = read
    return decide_rule(
        one,
        partial_evidence(
            rates=rates,
            differences=() if is_rate or figure is None else (figure,),
            confidence=confidence,
        ),
    )


SUITES = {"harmful": 300, "borderline": 240, "benign": 300}


def evidence_of(
    adapter: Adapter,
    *,
    harmful=291,
    benign=9,
    borderline=7,
    lost=0,
    answers_lost=9,
    unparsed=0,
    complied=9,
    answered=297,
    solved=290,
    finished=300,
) -> Evidence:
    """Return evidence of counts: refusals by role, problems and answers lost, verdicts unread."""
    unread = {f"{suite}.unparsed": rate_of(unparsed, n) for suite, n in SUITES.items()}
    unread["harmful.either.unparsed"] = rate_of(unparsed)
    before = {"benign.complied": rate_of(answered), "reasoning.correct": rate_of(solved)}
    restored = {
        "harmful.refused": rate_of(harmful),
        "harmful.finished": rate_of(finished),
        "harmful.either.complied": rate_of(complied),
        "benign.refused": rate_of(benign),
        "borderline.refused": rate_of(borderline, 240),
    }
    return make_evidence(
        adapter,
        roles={suite: Role(suite) for suite in SUITES},
        judges=dict.fromkeys(SUITES, "rules:x"),
        cut={suite: dict.fromkeys(Arm, CutFigure(count=0, n=300)) for suite in SUITES},
        rows=digest_bytes(ROWS_FILE),
        rates={Arm.RESTORED: restored | unread, Arm.POST_TRAINED: before | unread},
        differences=(
            difference(),
            difference("benign.complied", 0, answers_lost),
            difference("reasoning.correct", 0, lost),
        ),
    )
