"""A champion's figures against those that it was promoted on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from components.core.metric_names import Metric, in_order
from components.core.result import RateFigure
from components.core.vocabulary import Arm, Outcome, Role
from components.evaluate.rates import Counts, compare_paired
from components.gate.figures import Figure
from components.gate.policy import Rule
from components.gate.result import Conclusion
from components.studies.check.result import is_checked, more_is_better
from components.studies.watch.result import Line

PRODUCTION = "production"  # the suite of what people asked, of whatever role
_AGAIN = "measured for the first time: the next watch compares with it"


def newcombe_interval(now: RateFigure, then: RateFigure) -> tuple[float, float]:
    """Return both ends of the interval of `now - then`, two rates of different prompts.

    From the ends of their own intervals (Newcombe 1998, Stat Med 17:873-890, method 10), so that
    near-copies and several samples are counted as in these.
    """
    difference = now.rate - then.rate
    down = math.hypot(now.rate - now.low, then.high - then.rate)
    up = math.hypot(now.high - now.rate, then.rate - then.low)
    return max(difference - down, -1.0), min(difference + up, 1.0)


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a champion was promoted on, as far as it is at hand."""

    rates: Mapping[str, RateFigure]  # with those of an earlier watch, where only that measured them
    counts: Counts  # of its rows; empty: they are not here
    measured: Collection[str] = ()  # metrics of the promotion itself
    judged_otherwise: Collection[str] = ()  # suites with another judge now
    asked_otherwise: Collection[str] = ()  # what of the way of asking is another one now

    def incomparable(self, metric: str) -> str:
        """Return in words why a figure of now says nothing beside that of the promotion; empty: it
        does. Two judges, or two ways of asking, differ where the champion does not."""
        if metric not in self.measured:
            return ""
        if self.asked_otherwise:
            what = f"another {' and '.join(self.asked_otherwise)} than at the promotion"
            return f"{what}: not compared; watch with the promotion's settings, or promote again"
        about = Metric.parse(metric)
        if about.of_verdicts and about.suite in self.judged_otherwise:
            why = f"another judge of {about.suite} than at the promotion: not compared"
            return f"{why}; watch with that judge, or evaluate and promote with this one"
        return ""


def compared(
    own: Counts, rates: Mapping[str, RateFigure], roles: Mapping[str, Role], then: Promoted,
    *, margin: float, confidence: float,
) -> Iterator[Line]:  # fmt: skip
    """Yield a line for every checked metric, and for what production refused one in each direction.

    Prompt by prompt where the prompts are the same and the rows of the promotion are at hand, as
    two samples where they are not; and not at all where judge or way of asking are others.
    """
    for metric in in_order(own):
        for at_least in _directions(metric, roles):
            before, now = then.rates.get(metric), rates[metric]
            about = {"metric": metric, "at_least": at_least, "now": now, "then": before}
            unknown = _AGAIN if before is None else then.incomparable(metric)
            if before is None or unknown:
                cannot_tell = Conclusion.INCONCLUSIVE
                yield Line(**about, paired=False, conclusion=cannot_tell, why=unknown)
                continue
            same = metric in then.counts and own[metric].keys() == then.counts[metric].keys()
            if same:
                found = compare_paired(
                    Arm.RESTORED, Arm.CHAMPION, metric, own[metric], then.counts[metric], confidence
                )
                ends = found.difference, found.low, found.high
            else:
                ends = now.rate - before.rate, *newcombe_interval(now, before)
            # What a judge could not read may hide a harm of today, or a merit of before.
            unparsed = str(Metric.parse(metric).unparsed)
            flattered = (then.rates if at_least else rates).get(unparsed)
            unread = flattered.rate if flattered else 0.0
            rule = _rule(metric, at_least, margin)
            figure = Figure(rule, *ends, min(now.n, before.n), unread, confidence)
            conclusion = figure.conclusion
            outlook = figure.outlook[1] if conclusion is Conclusion.INCONCLUSIVE else ""
            why = f"{figure.text}: {figure.comparison(conclusion, outlook)}"
            yield Line(**about, paired=same, conclusion=conclusion, why=why)


def _directions(metric: str, roles: Mapping[str, Role]) -> tuple[bool, ...]:
    """Return in which directions a metric may not change: whether less of it is worse."""
    suite = Metric.parse(metric).suite
    if suite not in roles:  # production's, of which nobody knows the role
        return (True, False) if metric == f"{PRODUCTION}.{Outcome.REFUSED}" else ()
    return (more_is_better(metric, roles[suite]),) if is_checked(metric, roles[suite]) else ()


def _rule(metric: str, at_least: bool, margin: float) -> Rule:
    """Return what no drift means, as a rule: the champion now against itself when promoted."""
    rule = Rule.model_construct(
        name=metric, metric=metric, arm=Arm.RESTORED, against=Arm.CHAMPION, min_n=1
    )
    return rule.model_copy(update={"at_least": -margin} if at_least else {"at_most": margin})
