"""The evidence and the decision in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from components.core.metric_names import Metric
from components.core.vocabulary import AnyArm, Arm, Form
from components.evaluate.result import Difference, Evidence
from components.gate.result import Conclusion, Decision, RuleOutcome
from components.judges.result import Usage
from components.report.figures import arms, checks, policy_rules
from components.report.wording import KEY_FIGURES, listed, number, percent

_PLACES = {
    Arm.BASE: "in the base model",
    Arm.POST_TRAINED: "after post-training",
    Arm.RESTORED: "with the adapter",
}
_AGAINST = {Conclusion.FAIL: "failed", Conclusion.INCONCLUSIVE: "inconclusive"}


def verdict(decision: Decision) -> str:
    """Return in one sentence what may be done with the adapter, and how many rules say so."""
    kinds = ((policy_rules(decision), "rule"), (checks(decision), "check of the evidence"))
    if decision.accepted:
        passed = [(sum(rule.passed for rule in outcomes), kind) for outcomes, kind in kinds]
        counted = listed(_counted(count, kind) for count, kind in passed if count)
        signed = sum(rule.override is not None for rule in decision.rules)
        overridden = f", {_counted(signed, 'rule')} overridden" if signed else ""
        return f"The adapter may be registered: {counted} passed{overridden}."
    parts = []
    for outcomes, kind in kinds:
        against = [rule.conclusion for rule in outcomes if not rule.stands]
        for conclusion, word in _AGAINST.items():
            if count := against.count(conclusion):
                parts.append(f"{count} of {_counted(len(outcomes), kind)} {word}")
    return f"The adapter must not be registered{f': {listed(parts)}' if parts else ''}."


def _counted(count: int, kind: str) -> str:
    noun, of, of_what = kind.partition(" of ")
    return f"{count} {noun}{'' if count == 1 else 's'}{of}{of_what}"


def reasons(decision: Decision) -> list[tuple[str, str]]:
    """Return each reason with the name of the policy's rule it comes from, empty for another."""
    names = {rule.why: rule.rule for rule in policy_rules(decision) if not rule.stands}
    return [(names.get(reason, ""), reason) for reason in decision.reasons]


def side(rule: RuleOutcome) -> str:
    """Return "≥" or "≤", the side of its threshold that a rule wants; empty without evidence.

    The deciding bound says which: a lower end of the interval has to be at least the threshold.
    """
    if rule.figure is None or rule.bound is None or rule.bound == rule.figure:
        return ""
    return "≥" if rule.bound < rule.figure else "≤"


def change(evidence: Evidence, metric: str, subject: str) -> str | None:
    """Return what became of a figure in one sentence; None where the adapter has no such figure."""
    found = arms(evidence, metric)
    if Arm.RESTORED not in found:
        return None
    rates = [
        f"{percent(evidence.rates[arm][metric].rate)} {_PLACES[arm]}"
        for arm in found
        if arm in _PLACES
    ]
    return f"{subject}: {listed(rates)}."


def against_baseline(differences: Sequence[Difference], confidence: float) -> str | None:
    """Return in one sentence where adapter and LoRA-SFT baseline differ; None if not compared.

    Better and worse mean that the exact McNemar test shows it after Holm over all differences.
    """
    found: dict[int, list[str]] = {1: [], -1: [], 0: []}
    signs: dict[tuple[AnyArm, AnyArm], int] = {
        (Arm.RESTORED, Arm.BASELINE): 1,
        (Arm.BASELINE, Arm.RESTORED): -1,
    }
    for metric, (title, aim) in KEY_FIGURES.items():
        served = Metric.parse(metric).form is Form.SERVED
        for one in differences:
            sign = signs.get((one.arm, one.against))
            if served and one.metric == metric and sign:
                better = aim * sign * _significant_sign(one, 1 - confidence)
                found[better].append(f"“{title.lower()}”")
    heads = {
        1: "the adapter is better on",
        -1: "the baseline is better on",
        0: "no difference could be shown on",
    }
    parts = [f"{head} {listed(found[sign])}" for sign, head in heads.items() if found[sign]]
    return (
        "Against the LoRA-SFT baseline, on the same prompts, by the exact McNemar test with Holm: "
        f"{'; '.join(parts)}."
        if parts
        else None
    )


def _significant_sign(difference: Difference, level: float) -> int:
    """Return the sign of a difference whose adjusted p is at most `level`, else 0."""
    if difference.p_holm is None or difference.p_holm > level:
        return 0
    return (difference.gained > difference.lost) - (difference.gained < difference.lost)


def describe_usage(name: str, use: Usage) -> str:
    """Return in words what a paid judge did."""
    return (
        f"{name}: {use.requests:,} requests (those of killed runs included), "
        f"{use.prompt_tokens:,} tokens read and {use.completion_tokens:,} written, "
        f"{number(use.cost)} US dollars by the profile's prices"
    )
