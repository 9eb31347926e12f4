"""The evidence as a page shows it: key figures with their intervals, tables, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.core.metric_names import Metric, in_order, is_compared
from components.core.result import RateFigure
from components.core.vocabulary import AnyArm, Arm
from components.evaluate.result import Difference, Evidence
from components.gate.result import Conclusion, Decision, RuleOutcome
from components.report.wording import (
    AIMS,
    FORCED_THOUGHT_AIMS,
    FORM_NAMES,
    METRIC_NAMES,
    listed,
    percent,
)

_PLACES = {
    Arm.BASE: "in the base model",
    Arm.POST_TRAINED: "after post-training",
    Arm.RESTORED: "with the adapter",
}
_AGAINST = {Conclusion.FAIL: "failed", Conclusion.INCONCLUSIVE: "inconclusive"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One key figure: its rate in every arm that has it, and the gate's thresholds for it."""

    metric: str
    title: str
    aim: int  # 1: higher is better, -1: lower is
    rates: tuple[tuple[Arm, RateFigure], ...]
    thresholds: tuple[RuleOutcome, ...]


def panels(evidence: Evidence, decision: Decision) -> list[Panel]:
    """Return the key figures in the page's order; one that nobody measured has no rates.

    Figures under a forced thought are there only where they were measured.
    """
    measured = {m: aim for m, aim in FORCED_THOUGHT_AIMS.items() if arms(evidence, m)}
    return [
        Panel(
            metric=metric,
            title=METRIC_NAMES[metric],
            aim=aim,
            rates=tuple((a, evidence.rates[a][metric]) for a in arms(evidence, metric)),
            thresholds=tuple(
                rule
                for rule in decision.rules
                if (rule.metric, rule.arm, rule.against) == (metric, Arm.RESTORED, None)
            ),
        )
        for metric, aim in {**AIMS, **measured}.items()
    ]


def arms(evidence: Evidence, metric: str | None = None) -> list[Arm]:
    """Return the arms that were evaluated, or those that have `metric`, in the fixed order."""
    found = [arm for arm in Arm if arm in evidence.rates]
    return [arm for arm in found if metric is None or metric in evidence.rates[arm]]


def metrics(evidence: Evidence, *, compared: bool) -> dict[str, list[str]]:
    """Return the metrics of any arm in which arms are compared, or all others, by suite and form,
    in the order in which people read them."""
    groups: dict[str, list[str]] = {}
    for name in in_order({metric for rates in evidence.rates.values() for metric in rates}):
        metric = Metric.parse(name)
        if is_compared(name, evidence.roles.get(metric.suite)) is not compared:
            continue
        group = f"{metric.suite}{FORM_NAMES.get(metric.form, '')}"
        groups.setdefault(group, []).append(name)
    return groups


def comparisons(evidence: Evidence) -> dict[tuple[AnyArm, AnyArm], list[Difference]]:
    """Return the paired differences by the arms they compare, in the evidence's order."""
    groups: dict[tuple[AnyArm, AnyArm], list[Difference]] = {}
    for difference in evidence.differences:
        groups.setdefault((difference.arm, difference.against), []).append(difference)
    return groups


def policy_rules(decision: Decision) -> list[RuleOutcome]:
    """Return the outcomes that are about a figure: the policy's own rules."""
    return [rule for rule in decision.rules if rule.threshold is not None]


def checks(decision: Decision) -> list[RuleOutcome]:
    """Return the other outcomes: whether the evidence is about this adapter."""
    return [rule for rule in decision.rules if rule.threshold is None]


def verdict(decision: Decision) -> str:
    """Return in one sentence what may be done with the adapter, and how many rules say so."""
    kinds = ((policy_rules(decision), "rule"), (checks(decision), "check of the evidence"))
    if decision.accepted:
        passed = [(sum(rule.passed for rule in outcomes), kind) for outcomes, kind in kinds]
        held = listed(_counted(number, kind) for number, kind in passed if number)
        signed = sum(rule.override is not None for rule in decision.rules)
        overridden = f", {_counted(signed, 'rule')} overridden" if signed else ""
        return f"The adapter may be registered: {held} passed{overridden}."
    told = []
    for outcomes, kind in kinds:
        against = [rule.conclusion for rule in outcomes if not rule.stands]
        for conclusion, word in _AGAINST.items():
            if number := against.count(conclusion):
                told.append(f"{number} of {_counted(len(outcomes), kind)} {word}")
    return f"The adapter must not be registered{f': {listed(told)}' if told else ''}."


def _counted(number: int, kind: str) -> str:
    noun, of, of_what = kind.partition(" of ")
    return f"{number} {noun}{'' if number == 1 else 's'}{of}{of_what}"


def reasons(decision: Decision) -> list[tuple[str, str]]:
    """Return each reason with the name of the policy's rule it comes from, empty for another."""
    names = {rule.why: rule.rule for rule in policy_rules(decision) if not rule.stands}
    return [(names.get(reason, ""), reason) for reason in decision.reasons]


def side(rule: RuleOutcome) -> str:
    """Return "≥" or "≤", the side of its threshold a rule asks for; empty without evidence.

    The deciding bound tells it: a lower end of the interval is asked to be at least the threshold.
    """
    if rule.figure is None or rule.bound is None or rule.bound == rule.figure:
        return ""
    return "≥" if rule.bound < rule.figure else "≤"


def change(evidence: Evidence, metric: str, subject: str) -> str | None:
    """Return what became of a figure in one sentence; None where the adapter has no such figure."""
    if Arm.RESTORED not in arms(evidence, metric):
        return None
    found = [arm for arm in arms(evidence, metric) if arm in _PLACES]
    told = [f"{percent(evidence.rates[arm][metric].rate)} {_PLACES[arm]}" for arm in found]
    return f"{subject}: {listed(told)}."


def against_baseline(differences: Sequence[Difference], confidence: float) -> str | None:
    """Return in one sentence where adapter and LoRA-SFT baseline differ; None if not compared.

    Better and worse mean that the exact McNemar test shows it after Holm over all differences.
    """
    found: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for metric, aim in AIMS.items():
        for difference in differences:
            sign = _orientation(difference)
            if difference.metric == metric and sign:
                shown = _shown_sign(difference, 1 - confidence)
                found[aim * sign * shown].append(METRIC_NAMES[metric].lower())
    parts = [
        f"{words} {listed(f'“{name}”' for name in found[side])}"
        for side, words in (
            (1, "the adapter is better on"),
            (-1, "the baseline is better on"),
            (0, "no difference could be shown on"),
        )
        if found[side]
    ]
    return (
        "Against the LoRA-SFT baseline, on the same prompts, by the exact McNemar test with Holm: "
        f"{'; '.join(parts)}."
        if parts
        else None
    )


def _orientation(difference: Difference) -> int:
    """Return 1 for restored - baseline, -1 for baseline - restored, 0 for other arms."""
    pair = (difference.arm, difference.against)
    return (pair == (Arm.RESTORED, Arm.BASELINE)) - (pair == (Arm.BASELINE, Arm.RESTORED))


def _shown_sign(difference: Difference, level: float) -> int:
    """Return the sign of a difference whose adjusted p is at most `level`, else 0."""
    if difference.p_holm is None or difference.p_holm > level:
        return 0
    return (difference.gained > difference.lost) - (difference.gained < difference.lost)
