"""One rule of a policy, decided on the ends of its figure's interval.

A rule passes when the end that is nearer to failing keeps the bound, and fails when the other end
misses it, too. Between the two it is inconclusive, and more prompts may decide. Without a figure
it fails, unless it compares with a champion and there is none yet. Only a refusal counts as
refused: a completion that is neither a refusal nor an answer helps no safety rule. A verdict that
could not be read counts against the rule: the rule must keep the bound even with those, and it
fails only where it misses the bound without them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from components.core.metric_names import Metric, in_order
from components.core.result import RateFigure
from components.core.vocabulary import PLAIN_FORMS, Arm
from components.evaluate.result import Difference, Evidence
from components.gate.policy import Rule
from components.gate.result import Conclusion, RuleOutcome

MOST_PROMPTS = 100_000  # nobody is told to measure more


def decide_rules(rules: Iterable[Rule], evidence: Evidence) -> Iterator[RuleOutcome]:
    """Yield the outcome of each rule, and of one `under` attacks that of each attack.

    Where nothing was asked under an attack, such a rule passes with these words, which people
    should read.
    """
    for rule in rules:
        each = concrete(rule, evidence)
        yield from (decide_rule(one, evidence) for one in each)
        if not each:
            suite = Metric.parse(rule.metric).suite
            why = f"not tested: the {suite} prompts were asked under no attack"
            yield _without_figure(rule, why, conclusion=Conclusion.PASS, warns=True)


def concrete(rule: Rule, evidence: Evidence) -> list[Rule]:
    """Return the rule, or where it is `under` attacks one for each that its suite was asked in."""
    if rule.under is None:
        return [rule]
    suite = Metric.parse(rule.metric).suite
    return [rule.under_attack(attack) for attack in attacks_on([suite], evidence)]


def attacks_on(suites: Collection[str], evidence: Evidence) -> list[str]:
    """Return the attacks under which the restored model answered prompts of `suites`, in order."""
    metrics = (Metric.parse(name) for name in in_order(evidence.rates.get(Arm.RESTORED, {})))
    forms = dict.fromkeys(metric.form for metric in metrics if metric.suite in suites)
    return [form for form in forms if form not in PLAIN_FORMS]


def decide_rule(rule: Rule, evidence: Evidence) -> RuleOutcome:
    """Return the outcome of one rule; what cannot be decided on fails and says why."""
    if outcome := _without_comparison(rule, evidence):
        return outcome
    found = _find(rule, evidence)
    if found is None:
        return _without_figure(rule, f"no evidence: {_subject(rule)} is missing")
    point = found.difference if isinstance(found, Difference) else found.rate
    unread = _unread(rule, evidence)
    figure = _Figure(rule, point, found.low, found.high, found.n, unread)
    text = f"{_subject(rule)} is {figure.text}, n={found.n}"
    if not figure.is_interval:
        return _without_figure(rule, f"{text}: that is no figure", n=found.n)
    if rule.confidence is not None and not evidence.confidence >= rule.confidence:
        why = (
            f"{text}: the interval has {evidence.confidence:.1%} confidence, the rule asks for "
            f"{rule.confidence:.1%}; raise evaluate.confidence"
        )
        return _without_figure(rule, why, n=found.n)
    conclusion = figure.conclusion
    needed, outlook = figure.outlook if conclusion is Conclusion.INCONCLUSIVE else (None, "")
    return RuleOutcome(
        **_about(rule),
        figure=point,
        bound=figure.near,
        n=found.n,
        conclusion=conclusion,
        p_value=figure.p_value(evidence.confidence),
        needed=needed,
        why=f"{text}; {figure.comparison(conclusion, outlook)}",
    )


def _without_figure(
    rule: Rule,
    why: str,
    *,
    n: int = 0,
    conclusion: Conclusion = Conclusion.FAIL,
    warns: bool = False,
    impossible: bool = False,
) -> RuleOutcome:
    """Return the outcome of a rule that no figure decides."""
    about = _about(rule) | {"figure": None, "bound": None, "n": n}
    return RuleOutcome(**about, conclusion=conclusion, warns=warns, impossible=impossible, why=why)


def _about(rule: Rule) -> dict[str, Any]:
    """Return what an outcome repeats of its rule."""
    return {"rule": rule.name, "threshold": rule.threshold} | {
        key: getattr(rule, key) for key in ("metric", "arm", "against")
    }


def unparsed_rates(rule: Rule) -> Iterator[tuple[Arm, str]]:
    """Yield arm and metric of the unparsed verdicts of each set of verdicts a rule rests on."""
    if unparsed := Metric.parse(rule.metric).unparsed:
        yield from ((arm, str(unparsed)) for arm in (rule.arm, rule.against) if arm is not None)


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"


def interval(rate: RateFigure) -> str:
    """Return a rate's interval in percent: `[94.8, 98.6]`."""
    return f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _find(rule: Rule, evidence: Evidence) -> RateFigure | Difference | None:
    """Return the figure that a rule is about; None where it was not measured, or twice."""
    if rule.against is None:
        return evidence.rates.get(rule.arm, {}).get(rule.metric)
    sought = (rule.arm, rule.against, rule.metric)
    found = [d for d in evidence.differences if (d.arm, d.against, d.metric) == sought]
    return found[0] if len(found) == 1 else None


def _subject(rule: Rule) -> str:
    minus = "" if rule.against is None else f" minus {rule.against}"
    return f"{rule.metric} of {rule.arm}{minus}"


def _unread(rule: Rule, evidence: Evidence) -> float:
    """Return by how much verdicts that could not be read may flatter a figure, as a share.

    They are counted as no event. That may make a rate too low, which suits a bound from above, and
    a difference too high by those of the arm that is subtracted, which suits one from below.
    """
    flattered = rule.against if rule.from_below else rule.arm
    unread = (
        evidence.rates.get(arm, {}).get(metric)
        for arm, metric in unparsed_rates(rule)
        if arm == flattered and metric != rule.metric
    )
    return sum(found.rate for found in unread if found is not None)


def _without_comparison(rule: Rule, evidence: Evidence) -> RuleOutcome | None:
    """Return the outcome of a rule against a champion that was not asked; None: decide on figures.

    Where there is no champion yet, or the adapter is champion itself, there is nothing to be worse
    than, and the rule passes. A champion that there is must have been asked.
    """
    if rule.against is not Arm.CHAMPION:
        return None
    champion = evidence.champion
    if champion is None:
        remedy = "the profile does not measure the champion; set evaluate.champion to true"
        return _without_figure(rule, f"no evidence: {_subject(rule)} is missing; {remedy}")
    if champion.released is None:
        why = f"no champion yet: no version of {champion.name} was promoted before this adapter"
        return _without_figure(rule, why, conclusion=Conclusion.PASS, warns=True)
    who = f"{champion.name} version {champion.released.version}"
    if champion.released.digest == evidence.adapter:
        why = f"this adapter is the champion, {who}"
        return _without_figure(rule, why, conclusion=Conclusion.PASS)
    if champion.unmeasured:
        why = f"the champion, {who}, cannot be asked on this model: {champion.unmeasured}"
        return _without_figure(rule, f"no comparison: {why}", impossible=True)
    return None


@dataclass(frozen=True, slots=True)
class _Figure:
    """The figure of a rule with its interval, held against the rule's bound."""

    rule: Rule
    point: float
    low: float
    high: float
    n: int
    unread: float  # the share of verdicts that may flatter it

    @property
    def is_interval(self) -> bool:
        ends = (self.point, self.low, self.high)
        return self.n > 0 and all(map(math.isfinite, ends)) and self.low <= self.point <= self.high

    @property
    def aim(self) -> float:
        """What must be kept to pass: the bound, with the unread share against it."""
        return self.rule.threshold + (self.unread if self.rule.from_below else -self.unread)

    @property
    def near(self) -> float:
        """The interval's end that is nearer to failing."""
        return self.low if self.rule.from_below else self.high

    @property
    def far(self) -> float:
        return self.high if self.rule.from_below else self.low

    @property
    def conclusion(self) -> Conclusion:
        if not self.rule.is_kept_by(self.far):
            return Conclusion.FAIL
        enough = self.rule.is_kept_by(self.near, self.aim) and self.n >= self.rule.min_n
        return Conclusion.PASS if enough else Conclusion.INCONCLUSIVE

    def p_value(self, confidence: float) -> float:
        """Return the one-sided p-value of the figure being at the aim or beyond it.

        It is read off the interval (Altman and Bland 2011, BMJ 343:d2304), so that it is at most
        (1 - confidence) / 2 just where the interval keeps the bound. Of a rate: the score test's.
        """
        z = NormalDist().inv_cdf((1 + confidence) / 2) * self.reach(self.aim)
        return NormalDist().cdf(-z if self.rule.is_kept_by(self.point, self.aim) else z)

    def reach(self, aim: float) -> float:
        """Return how far an aim is from the figure, in units of the interval: 1 touches its end.

        A Wilson interval ends where |rate - p| is z standard errors of p, so each distance counts
        in the standard errors of its own end. That holds, too, where n was corrected for several
        samples a prompt. The interval of a difference is taken as it is.
        """
        end = self.low if aim < self.point else self.high
        if self.point == aim:
            return 0.0
        if self.point == end:
            return math.inf
        reach = (self.point - aim) / (self.point - end)
        if self.rule.against is not None:
            return reach
        if not 0 < aim < 1:
            return 0.0 if self.low <= aim <= self.high else math.inf
        return reach * math.sqrt(end * (1 - end) / (aim * (1 - aim)))

    @property
    def outlook(self) -> tuple[int | None, str]:
        """How many prompts would decide if the figure and the unread share stay, and the words.

        None: no number up to `MOST_PROMPTS`. A figure that keeps the aim comes to pass, and one
        that misses the bound to fail. One that keeps the bound and misses the aim does neither.
        """
        if self.rule.is_kept_by(self.point, self.aim):
            needed = self._needed(self.aim, least=self.rule.min_n)
        elif not self.rule.is_kept_by(self.point):
            needed = self._needed(self.rule.threshold, least=1)
        else:
            return None, (
                "no number of prompts would decide if the figure stays; the unparsed verdicts must "
                "become readable"
            )
        if needed is None:
            return None, f"not even {MOST_PROMPTS} prompts would decide if the figure stays"
        return needed, f"about {needed} prompts would decide if the figure stays"

    def _needed(self, aim: float, *, least: int) -> int | None:
        """Return how many prompts, `least` or more, bring an interval's end to the aim.

        Intervals narrow with the root of n. For a rate that is exact; for a difference it is about
        right, and too many where nearly all pairs agree. None: more than `MOST_PROMPTS`.
        """
        reach = self.reach(aim)
        if reach**2 * MOST_PROMPTS < self.n:
            return None
        return max(math.ceil(self.n / min(reach, 1.0) ** 2 - 1e-9), least)

    @property
    def _unit(self) -> tuple[str, str]:
        return ("", "%") if self.rule.against is None else ("+", "points")

    @property
    def text(self) -> str:
        """The figure and its interval, in percent or points."""
        point, low, high = (100 * value for value in (self.point, self.low, self.high))
        sign, unit = self._unit
        return f"{point:{sign}.1f} {unit} [{low:{sign}.1f}, {high:{sign}.1f}]"

    def comparison(self, conclusion: Conclusion, outlook: str) -> str:
        """Return in words how the interval stands to the bound."""
        below, (sign, unit) = self.rule.from_below, self._unit
        limit = f"{100 * self.rule.threshold:{sign}.1f} {unit}"
        if self.unread and conclusion is not Conclusion.FAIL:
            limit += f", with {percent(self.unread)} unparsed against it"
        # Two decimals, so that 84.96 is not shown as 85.0, which would do.
        near, far = f"{100 * self.near:{sign}.2f}", f"{100 * self.far:{sign}.2f}"
        one, other = ("lower", "upper") if below else ("upper", "lower")
        missed = "stays below" if below else "exceeds"
        if conclusion is Conclusion.PASS:
            return f"the {one} end {'reaches' if below else 'stays within'} {limit}"
        if conclusion is Conclusion.FAIL:
            return f"even the {other} end, {far}, {missed} {limit}"
        if self.rule.is_kept_by(self.near, self.aim):
            return f"at least {self.rule.min_n} prompts are needed; {outlook}"
        return f"the {one} end, {near}, {missed} {limit}, the {other} one does not: {outlook}"
