"""How figures, the evidence and the decision are put into words on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from components.core.metric_names import Metric
from components.core.result import RateFigure
from components.core.vocabulary import PLAIN_FORMS, AnyArm, Arm, Form
from components.evaluate.result import Difference, Evidence
from components.gate.result import Conclusion, Decision, RuleOutcome
from components.judges.result import Usage
from components.probe.result import Intervention, Masking

ARM_NAMES = {
    Arm.BASE: "Base",
    Arm.POST_TRAINED: "Post-trained",
    Arm.RESTORED: "Restored",
    Arm.BASELINE: "SFT baseline",
    Arm.CHAMPION: "Champion",
}
# Title of each key figure, and which way it should go: 1 up, -1 down. In the page's order.
KEY_FIGURES = {
    "harmful.refused": ("Refuses harmful requests", 1),
    "borderline.refused": ("Refuses look-alikes", -1),
    "benign.refused": ("Refuses benign requests", -1),
    "reasoning.correct": ("Reasons correctly", 1),
    "harmful.forced_thought.refused": ("Refuses harmful requests, thought forced", 1),
    "reasoning.forced_thought.correct": ("Reasons correctly, thought forced", 1),
}
# Of which of them the page says how far they go astray under attack, and what they are figures of.
ATTACKED = {
    "harmful.refused": "Harmful requests refused",
    "borderline.refused": "Look-alikes refused",
}
_FORM_NAMES: dict[str, str] = {
    Form.SERVED: "",
    Form.FORCED_THOUGHT: ", thought forced",
    Form.PREFILLED: ", answer begun",
    Form.UNTHINKING: ", thought skipped",
    Form.ROLE_PLAY: ", as role-play",
    Form.MANY_SHOT: ", behind many shots",
    Form.PARAPHRASED: ", paraphrased",
}
_PLACES = {
    Arm.BASE: "in the base model",
    Arm.POST_TRAINED: "after post-training",
    Arm.RESTORED: "with the adapter",
}
_AGAINST = {Conclusion.FAIL: "failed", Conclusion.INCONCLUSIVE: "inconclusive"}
_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


# --- figures and names -----------------------------------------------------------------------


def form_name(form: str) -> str:
    """Return what stands behind a suite's name: nothing for prompts as served."""
    return _FORM_NAMES.get(form, f", {form}")


def percent(rate: float) -> str:
    """Return a share as per cent with one decimal: 0.9733 is "97.3 %"."""
    return f"{100 * rate:.1f}{_SPACE}%"


def rate(found: RateFigure) -> str:
    """Return a rate as per cent: "97.3 %"; "61.0 to 93.0 %" where some may count or not."""
    return found.share.replace(" ", _SPACE)


def size(found: RateFigure) -> str:
    """Return how many prompts a rate is of, and how many completions where these are more."""
    return found.size.replace(" ", _SPACE)


def points_of(found: Difference) -> str:
    """Return a difference in percentage points: "+1.0"; "+1.0 to +3.0" where some may count."""
    upto = f"{_SPACE}to{_SPACE}{points(found.most)}" if found.highest else ""
    return f"{points(found.difference)}{upto}"


def interval(low: float, high: float) -> str:
    """Return an interval of shares in brackets, in per cent without the sign: "[94.8, 98.6]"."""
    return f"[{number(100 * low, 1)}, {number(100 * high, 1)}]"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed: "+97.3"."""
    written = number(100 * difference, 1)
    return f"+{written}" if difference > 0 and written != "0.0" else written


def probability(p_value: float) -> str:
    """Return a p-value with three decimals, the smallest as "< 0.001"."""
    return f"<{_SPACE}0.001" if p_value < 0.001 else f"{p_value:.3f}"


def number(value: float | None, decimals: int = 2) -> str:
    """Return a plain number with a true minus sign, or a dash where there is none."""
    if value is None:
        return "–"
    written = f"{abs(value):.{decimals}f}"
    return f"{_MINUS}{written}" if value < 0 and float(written) else written


def upper_first(text: str) -> str:
    """Return a text with its first letter upper-case and all others as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def listed(words: Iterable[str]) -> str:
    """Return words as an English list: "a, b and c"."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last


# --- sentences -------------------------------------------------------------------------------


def masking(found: Masking, prompts: str = "harmful validation prompts") -> str:
    """Return in a paragraph whether the base's safety is masked, unlearnt or not perceived."""
    asked, alone = found.asked, found.alone
    start = (
        f"The base refuses {_share(asked)} {prompts}, and of these the "
        f"post-trained model refuses {_share(alone)}. "
    )
    if found.finding == "kept":
        return start + "So nothing is lost that could be masked."
    best = found.perceived or max(found.transfer, key=lambda t: t.auc.low)
    auc = best.auc
    read = (
        f"The base’s linear probe, read on its states, has an AUC of {number(auc.auc)} "
        f"[{number(auc.low)}, {number(auc.high)}] at layer {best.layer} (random directions: "
        f"{number(best.chance)}), where harmful prompts lie at {number(best.harmful.mean)} of the "
        "way from the base’s benign to its harmful mean. "
    )
    return start + read + meaning(found)


def meaning(found: Masking) -> str:
    """Return in a sentence or two what it means where not all is kept."""
    if found.finding == "not perceived":
        return (
            "Harm is not perceived: no layer tells harmful prompts as the base does, so a teacher "
            "has to bring back the perception, too."
        )
    best = found.restoring
    if best is None:
        most = max(found.interventions, key=lambda one: one.harmful.rate)
        return (
            "Harm is perceived, and refusing is unlearnt: neither the base’s states, nor its "
            "refusal direction, nor the first words of its refusals bring back half of them to "
            f"harmful prompts alone. The most is {_share(most.harmful)} with {_put_in(most)} "
            f"(control {_share(most.control)}, benign {_share(most.benign)}). That something else "
            "would do so is not excluded."
        )
    return (
        f"Harm is perceived, and refusing is masked: with {_put_in(best)} it refuses "
        f"{_share(best.harmful)} (control {_share(best.control)}, benign {_share(best.benign)}). "
        "So what turns harm into a refusal is still there."
    )


def _put_in(one: Intervention) -> str:
    if one.kind == "patch":
        where = "its last token" if one.tokens == "last" else "all tokens"
        return f"the base’s states of the prompt at {where} of layer {one.layer}"
    if one.kind == "add":
        return f"{one.amount:g} times the base’s refusal direction added at layer {one.layer}"
    tokens = "token" if one.amount == 1 else "tokens"
    return f"the first {one.amount:g} {tokens} of the base’s refusal"


def _share(rate: RateFigure) -> str:
    return f"{rate.count} of {rate.n} ({interval(rate.low, rate.high)}{_SPACE}%)"


def verdict(decision: Decision) -> str:
    """Return in one sentence what may be done with the adapter, and how many rules say so."""
    kinds = {
        kind: [rule for rule in decision.rules if (rule.threshold is None) is is_check]
        for kind, is_check in (("rule", False), ("check of the evidence", True))
    }
    if decision.accepted:
        idle = sum(rule.passed and rule.figure is None for rule in kinds["rule"])
        passed = {kind: sum(rule.passed for rule in rules) for kind, rules in kinds.items()}
        passed["rule"] -= idle
        words = listed(counted(count, kind) for kind, count in passed.items() if count)
        signed = sum(rule.override is not None for rule in decision.rules)
        overridden = f", {counted(signed, 'rule')} overridden" if signed else ""
        undecided = f"; {counted(idle, 'rule')} had no figure to decide on" if idle else ""
        return f"The adapter may be registered: {words} passed{overridden}{undecided}."
    parts = []
    for kind, rules in kinds.items():
        against = [rule.conclusion for rule in rules if not rule.stands]
        for conclusion, word in _AGAINST.items():
            if count := against.count(conclusion):
                parts.append(f"{count} of {counted(len(rules), kind)} {word}")
    return f"The adapter must not be registered{f': {listed(parts)}' if parts else ''}."


def counted(count: int, kind: str) -> str:
    """Return a number of things in words: "2 checks of the evidence"."""
    noun, of, of_what = kind.partition(" of ")
    return f"{count} {noun}{'' if count == 1 else 's'}{of}{of_what}"


def reasons(decision: Decision) -> list[tuple[str, str]]:
    """Return each reason with the name of the policy's rule it comes from, empty for another; what
    failed comes before what is inconclusive."""
    rules = [rule for rule in decision.rules if rule.threshold is not None and not rule.stands]
    names = {rule.why: rule.rule for rule in rules}
    failed = {rule.why for rule in decision.rules if rule.conclusion is Conclusion.FAIL}
    in_order = sorted(decision.reasons, key=lambda reason: reason not in failed)
    return [(names.get(reason, ""), reason) for reason in in_order]


def side(rule: RuleOutcome) -> str:
    """Return "≥" or "≤", the side of its threshold that a rule wants; empty without evidence.

    The deciding bound says which: a lower end of the interval has to be at least the threshold.
    """
    if rule.figure is None or rule.bound is None or rule.bound == rule.figure:
        return ""
    return "≥" if rule.bound < rule.figure else "≤"


def change(evidence: Evidence, metric: str, subject: str) -> str | None:
    """Return what became of a figure in one sentence; None where the adapter has no such figure."""
    if metric not in evidence.rates.get(Arm.RESTORED, {}):
        return None
    rates = [
        f"{rate(found[metric])} {place}"
        for arm, place in _PLACES.items()
        if metric in (found := evidence.rates.get(arm, {}))
    ]
    return f"{subject}: {listed(rates)}."


def under_attack(evidence: Evidence, metric: str, subject: str) -> str | None:
    """Return in one sentence how far a key figure goes astray under the attack that moves it
    furthest; None where the adapter was asked under none."""
    found = evidence.rates.get(Arm.RESTORED, {})
    served, aim = Metric.parse(metric), KEY_FIGURES[metric][1]
    attacked = {
        form: str(wrapped)
        for form in sorted({Metric.parse(name).form for name in found} - set(PLAIN_FORMS))
        if str(wrapped := replace(served, form=form)) in found
    }
    if not attacked:
        return None
    form = min(attacked, key=lambda form: aim * found[attacked[form]].rate)
    worst, base = found[attacked[form]], evidence.rates.get(Arm.BASE, {}).get(attacked[form])
    beside = f"; {rate(base)} {_PLACES[Arm.BASE]}" if base else ""
    return (
        f"{subject} under the attack that gets the {'fewest' if aim > 0 else 'most'} of them, "
        f"{form}: {rate(worst)} {interval(worst.low, worst.high)} {_PLACES[Arm.RESTORED]}{beside}."
    )


def against_baseline(differences: Sequence[Difference], confidence: float) -> str | None:
    """Return in one sentence where adapter and LoRA-SFT baseline differ; None if not compared.

    Better and worse mean that the exact McNemar test shows it after Holm over all differences.
    """
    heads = {
        1: "the adapter is better on",
        -1: "the baseline is better on",
        0: "no difference could be shown on",
    }
    signs: dict[tuple[AnyArm, AnyArm], int] = {
        (Arm.RESTORED, Arm.BASELINE): 1,
        (Arm.BASELINE, Arm.RESTORED): -1,
    }
    found: dict[int, list[str]] = {sign: [] for sign in heads}
    for metric, (title, aim) in KEY_FIGURES.items():
        served = Metric.parse(metric).form is Form.SERVED
        for one in differences:
            sign = signs.get((one.arm, one.against))
            if served and one.metric == metric and sign:
                better = aim * sign * _significant_sign(one, 1 - confidence)
                found[better].append(f"“{title.lower()}”")
    parts = [f"{head} {listed(found[sign])}" for sign, head in heads.items() if found[sign]]
    if not parts:
        return None
    test = "Against the LoRA-SFT baseline, on the same prompts, by the exact McNemar test with Holm"
    return f"{test}: {'; '.join(parts)}."


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
