"""The figure of a rule with its interval, held against the rule's bound, as judged or corrected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from components.core.metric_names import Metric
from components.gate.labels import MOST_LABELS, labels_needed
from components.gate.policy import Rule
from components.gate.result import Conclusion
from components.judges.correction import (
    LEAST,
    Span,
    corrected_difference,
    corrected_rate,
    is_measured,
)
from components.judges.result import Accuracy

MOST_PROMPTS = 100_000  # nobody is told to measure more


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"


@dataclass(frozen=True)
class Figure:
    """The figure of a rule with its interval, held against the rule's bound."""

    rule: Rule
    point: float
    low: float
    high: float
    n: int
    unread: float  # the share of verdicts that may flatter it
    confidence: float  # of its interval

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

    @property
    def p_value(self) -> float | None:
        """Return the one-sided p-value of the figure being at the aim or beyond it; None of an
        interval of unknown confidence.

        It is read off the interval (Altman and Bland 2011, BMJ 343:d2304), so that it is at most
        (1 - confidence) / 2 just where the interval keeps the bound. Of a rate: the score test's.
        """
        if not 0 <= self.confidence < 1:
            return None
        z = NormalDist().inv_cdf((1 + self.confidence) / 2) * self.reach(self.aim)
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


@dataclass(frozen=True)
class CorrectedFigure(Figure):
    """A figure that is corrected for its judge. Where the labels leave none it is the figure as
    judged, and its interval holds whatever there can be."""

    observed: Figure  # as judged
    accuracy: Accuracy

    @property
    def has_bounds(self) -> bool:
        """Whether the labels leave a figure."""
        return _span(self.observed, self.accuracy) is not None

    @property
    def p_value(self) -> float | None:
        """As of any figure, where the labels leave one."""
        return super().p_value if self.has_bounds else None

    def reach(self, aim: float) -> float:
        """Return the same with the interval taken as it is."""
        end = self.low if aim < self.point else self.high
        if self.point in (aim, end):
            return 0.0 if self.point == aim else math.inf
        return (self.point - aim) / (self.point - end)

    @property
    def outlook(self) -> tuple[int | None, str]:
        """How many labels would decide if the judge's accuracy stays, in words; prompts where these
        are too few."""
        if self.rule.is_kept_by(self.near, self.aim):
            return super().outlook
        needed = labels_needed(self.accuracy, self._decides)
        if needed is None:
            return None, (
                f"not even {MOST_LABELS} labels would decide with these prompts if the figure and "
                "the judge's accuracy stay"
            )
        measure = Metric.parse(self.rule.metric).measure
        return None, (
            f"about {_whole(needed.positives)} labels of completions that are {measure} (there "
            f"are {self.accuracy.positives:g}) and {_whole(needed.negatives)} of others (there "
            f"are {self.accuracy.negatives:g}) would decide if the judge's accuracy stays"
        )

    def _decides(self, accuracy: Accuracy) -> bool:
        """Return whether the ends would decide with other labels."""
        span = _span(self.observed, accuracy)
        if span is None:
            return False
        low, high = span.low, span.high
        near, far = (low, high) if self.rule.from_below else (high, low)
        return self.rule.is_kept_by(near, self.aim) or not self.rule.is_kept_by(far)

    @property
    def text(self) -> str:
        """Both figures with their intervals, and the labels."""
        measure = Metric.parse(self.rule.metric).measure
        labels = self.accuracy
        known = (
            f"by labels its judge finds {labels.found:g} of {labels.positives:g} that are {measure}"
            f" and calls {labels.mistaken:g} of {labels.negatives:g} others so"
        )
        if not self.has_bounds:
            return f"{self.observed.text} as judged; {known}: {self._why_unbounded}"
        return f"{super().text} corrected for its judge, {self.observed.text} as judged ({known})"

    def comparison(self, conclusion: Conclusion, outlook: str) -> str:
        """Return the same in words; of no figure, what would give one."""
        if self.has_bounds or conclusion is not Conclusion.INCONCLUSIVE:
            return super().comparison(conclusion, outlook)
        return outlook

    @property
    def _why_unbounded(self) -> str:
        labels = self.accuracy
        if min(labels.positives, labels.negatives) < LEAST:
            return f"fewer than {LEAST} labels of one kind (`safereact label`)"
        if not is_measured(labels):
            return "it is right no more often than chance"
        return "no true figure fits both, so it errs otherwise here than where it was measured"


def corrected_figure(figure: Figure, accuracy: Accuracy) -> CorrectedFigure:
    """Return a figure corrected for how its judge errs."""
    least = 0.0 if figure.rule.against is None else -1.0
    span = _span(figure, accuracy) or Span(figure.point, least, 1.0)
    return CorrectedFigure(
        figure.rule, *span, figure.n, figure.unread, figure.confidence, figure, accuracy
    )


def _span(figure: Figure, accuracy: Accuracy) -> Span | None:
    correct = corrected_rate if figure.rule.against is None else corrected_difference
    return correct(Span(figure.point, figure.low, figure.high), accuracy, figure.confidence)


def _whole(labels: float) -> int:
    return math.ceil(labels - 1e-6)  # 40.0000001 are 40
