"""One rule of a policy, decided on the ends of its figure's interval.

A rule passes when the end that is nearer to failing keeps the bound, and fails when the other end
misses it, too. Between the two it is inconclusive, and more prompts may decide. Without a figure
it fails, unless it compares with a champion and there is none yet. Only a refusal counts as
refused: a completion that is neither a refusal nor an answer helps no safety rule, and a verdict
that could not be read counts against the rule: it must keep the bound even with those, and it fails
only where it misses the bound without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

from components.core.metric_names import Metric
from components.core.result import RateFigure
from components.core.vocabulary import Arm, Outcome
from components.evaluate.result import Difference, Evidence
from components.gate.policy import Rule
from components.gate.result import Conclusion, RuleOutcome

MOST_PROMPTS = 100_000  # nobody is told to measure more


def decide_rule(rule: Rule, evidence: Evidence) -> RuleOutcome:
    """Return the outcome of one rule; what cannot be decided on fails and says why."""
    if outcome := _without_comparison(rule, evidence):
        return outcome
    found = _figure(rule, evidence)
    if found is None:
        return _outcome(rule, why=f"no evidence: {_subject(rule)} is missing")
    point = found.difference if isinstance(found, Difference) else found.rate
    told = f"{_subject(rule)} is {_told(rule, point, found)}, n={found.n}"
    if found.n < 1 or not _is_interval(point, found.low, found.high):
        return _outcome(rule, n=found.n, why=f"{told}: that is no figure")
    if rule.confidence is not None and not evidence.confidence >= rule.confidence:
        why = (
            f"{told}: the interval has {evidence.confidence:.1%} confidence, the rule asks for "
            f"{rule.confidence:.1%}; raise evaluate.confidence"
        )
        return _outcome(rule, n=found.n, why=why)
    return _decided(rule, point, found, evidence, told)


def _figure(rule: Rule, evidence: Evidence) -> RateFigure | Difference | None:
    """Return the figure that a rule is about; None where it was not measured, or twice."""
    if rule.against is None:
        return evidence.rates.get(rule.arm, {}).get(rule.metric)
    sought = (rule.arm, rule.against, rule.metric)
    found = [d for d in evidence.differences if (d.arm, d.against, d.metric) == sought]
    return found[0] if len(found) == 1 else None


def _is_interval(point: float, low: float, high: float) -> bool:
    return all(math.isfinite(value) for value in (point, low, high)) and low <= point <= high


def _decided(
    rule: Rule, point: float, found: RateFigure | Difference, evidence: Evidence, told: str
) -> RuleOutcome:
    unread = _unread(rule, evidence)
    aim = _aim(rule, unread)
    near, far = (found.low, found.high) if rule.from_below else (found.high, found.low)
    needed, outlook = None, ""
    if not rule.is_kept_by(far):
        conclusion = Conclusion.FAIL
    elif rule.is_kept_by(near, aim) and found.n >= rule.min_n:
        conclusion = Conclusion.PASS
    else:
        conclusion = Conclusion.INCONCLUSIVE
        needed, outlook = _outlook(rule, point, found, aim)
    z = NormalDist().inv_cdf((1 + evidence.confidence) / 2) * _reach(rule, point, found, aim)
    return _outcome(
        rule,
        figure=point,
        bound=near,
        n=found.n,
        conclusion=conclusion,
        # Read off the interval (Altman and Bland 2011, BMJ 343:d2304), so that it is at most
        # (1 - confidence) / 2 just where the interval keeps the bound. Of a rate: the score test's.
        p_value=NormalDist().cdf(-z if rule.is_kept_by(point, aim) else z),
        needed=needed,
        why=f"{told}; {_comparison(rule, near, far, unread, conclusion, outlook)}",
    )


def _aim(rule: Rule, unread: float) -> float:
    """Return what a figure must keep to pass: the bound, with the unread share against it."""
    return rule.threshold + (unread if rule.from_below else -unread)


def _reach(rule: Rule, point: float, found: RateFigure | Difference, aim: float) -> float:
    """Return how far the aim is from the figure, in units of the interval: 1 touches its end.

    A Wilson interval ends where |rate - p| is z standard errors of p, so each distance counts in
    the standard errors of its own end. That holds, too, where n was corrected for several samples
    a prompt. The interval of a difference is taken as it is.
    """
    end = found.low if aim < point else found.high
    if point == aim:
        return 0.0
    if point == end:
        return math.inf
    reach = (point - aim) / (point - end)
    if rule.against is not None:
        return reach
    if not 0 < aim < 1:
        return 0.0 if found.low <= aim <= found.high else math.inf
    return reach * math.sqrt(end * (1 - end) / (aim * (1 - aim)))


def _outlook(
    rule: Rule, point: float, found: RateFigure | Difference, aim: float
) -> tuple[int | None, str]:
    """Return how many prompts would decide if the figure and the unread share stay, and the words.

    None: no number up to `MOST_PROMPTS`. A figure that keeps the aim comes to pass, and one that
    misses the bound to fail. One that keeps the bound and misses the aim does neither.
    """
    if rule.is_kept_by(point, aim):
        needed = _needed(found.n, _reach(rule, point, found, aim), least=rule.min_n)
    elif rule.is_kept_by(point):
        return None, (
            "no number of prompts would decide if the figure stays; the unparsed verdicts must "
            "become readable"
        )
    else:
        needed = _needed(found.n, _reach(rule, point, found, rule.threshold), least=1)
    if needed is None:
        return None, f"not even {MOST_PROMPTS} prompts would decide if the figure stays"
    return needed, f"about {needed} prompts would decide if the figure stays"


def _needed(n: int, reach: float, *, least: int) -> int | None:
    """Return how many prompts, `least` or more, bring an interval's end to what it reaches for.

    Intervals narrow with the root of n. For a rate that is exact; for a difference it is about
    right, and too many where nearly all pairs agree. None: more than `MOST_PROMPTS`.
    """
    if reach**2 * MOST_PROMPTS < n:
        return None
    return max(math.ceil(n / min(reach, 1.0) ** 2 - 1e-9), least)


def _outcome(
    rule: Rule, *, why: str, n: int = 0, conclusion: Conclusion = Conclusion.FAIL, **figures: Any
) -> RuleOutcome:
    return RuleOutcome(
        rule=rule.name,
        metric=rule.metric,
        arm=rule.arm,
        against=rule.against,
        threshold=rule.threshold,
        n=n,
        conclusion=conclusion,
        why=why,
        **{"figure": None, "bound": None, **figures},
    )


# --- against the champion --------------------------------------------------------------------


def _without_comparison(rule: Rule, evidence: Evidence) -> RuleOutcome | None:
    """Return the outcome of a rule against a champion that was not asked; None: decide on figures.

    Where there is no champion yet, or the adapter is champion itself, there is nothing to be worse
    than, and the rule passes. A champion that there is must have been asked.
    """
    if rule.against is not Arm.CHAMPION:
        return None
    met = evidence.champion
    if met is None:
        told = "the profile does not measure the champion; set evaluate.champion to true"
        return _outcome(rule, why=f"no evidence: {_subject(rule)} is missing; {told}")
    if met.released is None:
        told = f"no champion yet: no version of {met.name} was promoted before this adapter"
        return _outcome(rule, conclusion=Conclusion.PASS, warns=True, why=told)
    who = f"{met.name} version {met.released.version}"
    if met.released.digest == evidence.adapter:
        told = f"this adapter is the champion, {who}"
        return _outcome(rule, conclusion=Conclusion.PASS, why=told)
    if met.unmeasured:
        told = f"the champion, {who}, cannot be asked on this model: {met.unmeasured}"
        return _outcome(rule, impossible=True, why=f"no comparison: {told}")
    return None


# --- verdicts that could not be read ---------------------------------------------------------


def verdicts_behind(rule: Rule) -> Iterator[tuple[Arm, str]]:
    """Yield arm and metric of the unparsed verdicts of each set of verdicts a rule rests on."""
    metric = Metric.parse(rule.metric)
    if metric.measure in set(Outcome):
        unparsed = str(Metric(metric.suite, Outcome.UNPARSED, metric.form, metric.view))
        yield from ((arm, unparsed) for arm in (rule.arm, rule.against) if arm is not None)


def _unread(rule: Rule, evidence: Evidence) -> float:
    """Return by how much verdicts that could not be read may flatter a figure, as a share.

    They are counted as no event. That may make a rate too low, which suits a bound from above, and
    a difference too high by those of the arm that is subtracted, which suits one from below.
    """
    suits = rule.against if rule.from_below else rule.arm
    unread = (
        evidence.rates.get(arm, {}).get(metric)
        for arm, metric in verdicts_behind(rule)
        if arm == suits and metric != rule.metric
    )
    return sum(found.rate for found in unread if found is not None)


# --- in words --------------------------------------------------------------------------------


def share(value: float) -> str:
    """Return a share in per cent."""
    return f"{100 * value:.1f} %"


def _subject(rule: Rule) -> str:
    minus = "" if rule.against is None else f" minus {rule.against}"
    return f"{rule.metric} of {rule.arm}{minus}"


def _told(rule: Rule, point: float, found: RateFigure | Difference) -> str:
    sign, unit = ("", "%") if rule.against is None else ("+", "points")
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * point:{sign}.1f} {unit} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _comparison(
    rule: Rule, near: float, far: float, unread: float, conclusion: Conclusion, outlook: str
) -> str:
    sign, unit = ("", "%") if rule.against is None else ("+", "points")
    limit = f"{100 * rule.threshold:{sign}.1f} {unit}"
    if unread and conclusion is not Conclusion.FAIL:
        limit += f", with {share(unread)} unparsed against it"
    # Two decimals, so that 84.96 is not told as 85.0, which would do.
    nearly, wholly = f"{100 * near:{sign}.2f}", f"{100 * far:{sign}.2f}"
    one, other = ("lower", "upper") if rule.from_below else ("upper", "lower")
    missed = "stays below" if rule.from_below else "exceeds"
    if conclusion is Conclusion.PASS:
        return f"the {one} end {'reaches' if rule.from_below else 'stays within'} {limit}"
    if conclusion is Conclusion.FAIL:
        return f"even the {other} end, {wholly}, {missed} {limit}"
    if rule.is_kept_by(near, _aim(rule, unread)):
        return f"at least {rule.min_n} prompts are needed; {outlook}"
    return f"the {one} end, {nearly}, {missed} {limit}, the {other} one does not: {outlook}"
