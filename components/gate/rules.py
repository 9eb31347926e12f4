"""One rule of a policy, decided on the ends of its figure's interval.

A rule passes when the end that is nearer to failing keeps the bound, and fails when the other end
misses it, too. Between the two it is inconclusive, and more prompts may decide. Without a figure
it fails, unless it compares with a champion and there is none yet. Only a refusal counts as
refused: a completion that is neither a refusal nor an answer helps no safety rule. A verdict that
could not be read counts against the rule: the rule must keep the bound even with those, and it
fails only where it misses the bound without them. Where people labelled completions of the suite,
the figure is the one that is corrected for the judge's errors, with its interval. Where answers
are missing behind the token limit, the figure may be anything between two, and the interval holds
both: the rule is decided at the one that is nearer to failing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from components.core.metric_names import Metric, in_order
from components.core.result import RateFigure, in_words
from components.core.vocabulary import PLAIN_FORMS, Arm, Role
from components.evaluate.result import Difference, Evidence
from components.gate.figures import Figure, corrected_figure
from components.gate.labels import Labels
from components.gate.policy import Rule
from components.gate.result import Conclusion, RuleOutcome

BY_SECOND = ", by the second judge"  # behind the name of what its figures say


def decide_rules(
    rules: Iterable[Rule], evidence: Evidence, labels: Labels | None = None
) -> Iterator[RuleOutcome]:
    """Yield the outcomes of each rule, and of one `under` attacks those of each attack.

    Where its suite was asked, and under no attack, such a rule passes with these words, which
    people should read.
    """
    for rule in rules:
        each = concrete(rule, evidence)
        for one in each:
            yield from decide_by_judges(one, evidence, labels)
        if not each:
            yield _under_no_attack(rule, evidence)


def _under_no_attack(rule: Rule, evidence: Evidence) -> RuleOutcome:
    """Return the outcome of a rule under attacks where there was none; a suite that was not asked
    at all, such as one whose name is misspelt, is no evidence."""
    suite = Metric.parse(rule.metric).suite
    asked = map(Metric.parse, evidence.rates.get(Arm.RESTORED, {}))
    if not any(metric.suite == suite for metric in asked):
        return _without_figure(rule, f"no evidence: {rule.arm} was asked no {suite} prompts")
    why = f"not tested: the {suite} prompts were asked under no attack"
    return _without_figure(rule, why, conclusion=Conclusion.PASS, warns=True)


def decide_by_judges(
    rule: Rule, evidence: Evidence, labels: Labels | None = None
) -> tuple[RuleOutcome, ...]:
    """Return the outcome of a rule, and where it asks for `both_judges` that on the second judge's
    figures behind it. Both are inconclusive where the judges' figures say different things of it.
    """
    first = decide_rule(rule, evidence, labels)
    if not rule.both_judges:
        return (first,)
    of_second = labels.of_second_judge if labels else None
    second = decide_rule(rule, evidence.by_second_judge, of_second)
    second = second.model_copy(update={"rule": f"{second.rule}{BY_SECOND}"})
    if second.figure is None and not second.passed:
        remedy = "without a second judge of its suite nothing can be said (evaluate.second_judge)"
        return first, second.model_copy(update={"why": f"{second.why}; {remedy}"})
    if first.conclusion is second.conclusion:
        return first, second
    return _differing(first, second), _differing(second, first)


def _differing(outcome: RuleOutcome, other: RuleOutcome) -> RuleOutcome:
    """Return an outcome that another judge's figures contradict."""
    why = (
        f"{outcome.why}: {outcome.conclusion} by this judge, {other.conclusion} by the other one, "
        "so it is not decided: see how often they agree"
    )
    return outcome.model_copy(
        update={"conclusion": Conclusion.INCONCLUSIVE, "needed": None, "why": why}
    )


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


def decide_rule(rule: Rule, evidence: Evidence, labels: Labels | None = None) -> RuleOutcome:
    """Return the outcome of one rule; what cannot be decided on fails and says why."""
    if outcome := _without_comparison(rule, evidence):
        return outcome
    found = _find(rule, evidence)
    if found is None:
        return _without_figure(rule, f"no evidence: {_subject(rule)} is missing")
    n = in_words(found.n, found.clusters)
    lowest, highest = _figures(rule, found, evidence)
    if not (lowest.is_interval and highest.is_interval):
        why = f"{_subject(rule)} is {lowest.text}, n={n}: that is no figure"
        return _without_figure(rule, why, n=found.n)
    accuracy = labels.accuracy(rule.metric) if labels else None
    observed = None if accuracy is None else _worse(lowest, highest).point
    if accuracy is not None:
        lowest, highest = (corrected_figure(figure, accuracy) for figure in (lowest, highest))
    figure = _worse(lowest, highest)
    least = lowest.text.partition(" ")[0]
    span = f"{least} to {highest.text}" if found.highest else figure.text
    text = f"{_subject(rule)} is {span}, n={n}"
    if rule.confidence is not None and not evidence.confidence >= rule.confidence:
        why = (
            f"{text}: the interval has {evidence.confidence:.1%} confidence, the rule asks for "
            f"{rule.confidence:.1%}; raise evaluate.confidence"
        )
        return _without_figure(rule, why, n=found.n)
    conclusion = figure.conclusion
    needed, outlook = None, ""
    if conclusion is Conclusion.INCONCLUSIVE:
        needed, outlook = _outlook(figure, _cut_off(rule, evidence))
    return RuleOutcome(
        **_about(rule),
        figure=figure.point,
        bound=figure.near,
        n=found.n,
        conclusion=conclusion,
        p_value=figure.p_value,
        needed=needed,
        observed=observed,
        accuracy=accuracy,
        why=f"{text}; {figure.comparison(conclusion, outlook)}",
    )


def _figures(
    rule: Rule, found: RateFigure | Difference, evidence: Evidence
) -> tuple[Figure, Figure]:
    """Return the figure at its lowest and at its highest, with the interval that holds both."""
    least = found.difference if isinstance(found, Difference) else found.rate
    about = found.low, found.high, found.n, _unread(rule, evidence), evidence.confidence
    return Figure(rule, least, *about), Figure(rule, found.most, *about)


def _worse(lowest: Figure, highest: Figure) -> Figure:
    """Return the figure that is nearer to failing, with the interval from the lower end of the
    lowest to the upper end of the highest."""
    worse = lowest if lowest.rule.from_below else highest
    return replace(worse, low=lowest.low, high=highest.high)


def _outlook(figure: Figure, cut_off: str) -> tuple[int | None, str]:
    """Return what would decide, as `Figure.outlook`; no number of prompts does where the answers
    that are missing decide."""
    needed, words = figure.outlook
    if not cut_off:
        return needed, words
    if figure.rule.is_kept_by(figure.point, figure.aim):
        return needed, f"{words}; {cut_off}"
    return None, cut_off


def _cut_off(rule: Rule, evidence: Evidence) -> str:
    """Return in words how many completions were cut off before they settled a rule's figure, and
    which setting lets them go on; empty where none was."""
    rates = {
        arm: evidence.rates.get(arm, {}).get(rule.metric)
        for arm in (rule.arm, rule.against)
        if arm is not None
    }
    counts = [
        f"{rate.open} of {rate.samples or rate.n} completions of {arm}"
        for arm, rate in rates.items()
        if rate and rate.open
    ]
    suite = Metric.parse(rule.metric).suite
    own = suite in tuple(Role)
    key = f"evaluate.max_new_tokens.{suite}" if own else f"prepare.suites.{suite}.max_new_tokens"
    return (
        f"what the token limit cut off may decide ({', '.join(counts)}): raise {key}"
        if counts
        else ""
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
