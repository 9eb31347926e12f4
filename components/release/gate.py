"""The gate's decision, from files alone: is the evidence about this adapter, and is it enough?

A rule is decided on the end of its figure's interval that is nearer to failing, never on the point
value. What is missing, too little, not a number or about something else fails. Only a refusal
counts as refused: a completion that is neither a refusal nor an answer helps no safety rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from components.records import Arm
from components.release.policy import Policy, Rule
from components.results import (
    Adapter,
    Difference,
    Evidence,
    Models,
    PromptContract,
    RateFigure,
    RuleOutcome,
)
from components.storage import digest_bytes

_SHORT = 12  # hex digits of a digest in a sentence


def decide(
    policy: Policy,
    evidence: Evidence,
    adapter: Adapter,
    models: Models,
    *,
    prompts_digest: str,
    adapter_files: str,
) -> tuple[RuleOutcome, ...]:
    """Return the outcome of every binding of the evidence and of every rule of the policy.

    `prompts_digest` is that of the prepared prompts, `adapter_files` that of the adapter's folder
    as it is now.
    """
    bound = bindings(evidence, adapter, models, prompts_digest, adapter_files)
    confident = _confidence(policy, evidence)
    return (*bound, confident, *(decide_rule(rule, evidence) for rule in policy.rules))


# --- is the evidence about this adapter? -----------------------------------------------------


def bindings(
    evidence: Evidence, adapter: Adapter, models: Models, prompts_digest: str, adapter_files: str
) -> Iterator[RuleOutcome]:
    """Yield one outcome for each thing that evidence, adapter, models and prompts must share."""
    post_trained = models.post_trained
    yield _match("evidence is about this adapter", "adapter", evidence.adapter, adapter.digest)
    yield _match("adapter is as it was trained", "adapter", adapter.digest, adapter_files)
    yield _match("evidence is about these prompts", "prompts", evidence.data, prompts_digest)
    yield _match("adapter was trained on these prompts", "prompts", adapter.data, prompts_digest)
    yield _match("adapter belongs to this model", "model", adapter.base_model, post_trained.digest)
    for arm in Arm:
        here = models.base if arm is Arm.BASE else post_trained
        evaluated = evidence.models.get(arm, "")
        yield _match(f"evidence is about this {arm} model", "model", evaluated, here.digest)
    yield _match(
        "evidence is about this SFT baseline", "adapter", evidence.baseline, adapter.baseline_digest
    )
    ours = _digest(adapter.contract)
    yield _match(
        "evidence is about this prompt contract", "contract", _digest(evidence.contract), ours
    )
    yield _match("prompts are put as in training", "contract", _digest(post_trained.contract), ours)


def _match(rule: str, what: str, found: str, expected: str) -> RuleOutcome:
    """Return a binding's outcome: `found`, an upstream result's word, must be `expected`.

    An empty digest matches nothing, not even another empty one.
    """
    passed = bool(found) and found == expected
    named, wanted = found[:_SHORT] or "nothing", expected[:_SHORT] or "nothing"
    told = f"{what} {wanted}" if passed else f"it says {what} {named}, here is {wanted}"
    return _statement(rule, passed, f"{rule}: {told}" if passed else f"not so: {rule}; {told}")


def _confidence(policy: Policy, evidence: Evidence) -> RuleOutcome:
    passed = evidence.confidence >= policy.confidence
    return _statement(
        "intervals are confident enough",
        passed,
        f"the intervals have {evidence.confidence:.1%} confidence; "
        f"the policy asks for {policy.confidence:.1%}",
    )


def _statement(rule: str, passed: bool, why: str) -> RuleOutcome:
    return RuleOutcome(
        rule=rule,
        metric="evidence",
        arm=Arm.RESTORED,
        against=None,
        figure=None,
        bound=None,
        threshold=None,
        n=0,
        passed=passed,
        why=why,
    )


def _digest(contract: PromptContract) -> str:
    return digest_bytes(contract.model_dump_json().encode())


# --- is it enough? ---------------------------------------------------------------------------


def decide_rule(rule: Rule, evidence: Evidence) -> RuleOutcome:
    """Return the outcome of one rule, decided on the end of the interval that its bound names."""
    found = _figure(rule, evidence)
    if found is None:
        return _outcome(rule, None, None, 0, False, f"no evidence: {_subject(rule)} is missing")
    point = found.difference if isinstance(found, Difference) else found.rate
    told = f"{_subject(rule)} is {_told(rule, point, found)}, n={found.n}"
    if not _is_interval(point, found.low, found.high):
        return _outcome(rule, None, None, found.n, False, f"{told}: that is no figure")
    end = found.low if rule.at_least is not None else found.high
    if found.n < rule.min_n:
        why = f"{told}: at least {rule.min_n} prompts are needed"
        return _outcome(rule, point, end, found.n, False, why)
    passed = end >= rule.threshold if rule.at_least is not None else end <= rule.threshold
    why = f"{told}; {_comparison(rule, end, passed)}"
    return _outcome(rule, point, end, found.n, passed, why)


def _figure(rule: Rule, evidence: Evidence) -> RateFigure | Difference | None:
    """Return the figure that a rule is about; None where it was not measured, or twice."""
    if rule.against is None:
        return evidence.rates.get(rule.arm, {}).get(rule.metric)
    sought = (rule.arm, rule.against, rule.metric)
    found = [d for d in evidence.differences if (d.arm, d.against, d.metric) == sought]
    return found[0] if len(found) == 1 else None


def _is_interval(point: float, low: float, high: float) -> bool:
    return all(math.isfinite(value) for value in (point, low, high)) and low <= high


def _outcome(
    rule: Rule, figure: float | None, bound: float | None, n: int, passed: bool, why: str
) -> RuleOutcome:
    return RuleOutcome(
        rule=rule.name,
        metric=rule.metric,
        arm=rule.arm,
        against=rule.against,
        figure=figure,
        bound=bound,
        threshold=rule.threshold,
        n=n,
        passed=passed,
        why=why,
    )


# --- in words --------------------------------------------------------------------------------


def _subject(rule: Rule) -> str:
    minus = "" if rule.against is None else f" minus {rule.against}"
    return f"{rule.metric} of {rule.arm}{minus}"


def _told(rule: Rule, point: float, found: RateFigure | Difference) -> str:
    sign, unit = ("", "%") if rule.against is None else ("+", "points")
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * point:{sign}.1f} {unit} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _comparison(rule: Rule, end: float, passed: bool) -> str:
    sign, unit = ("", "%") if rule.against is None else ("+", "points")
    limit = f"{100 * rule.threshold:{sign}.1f} {unit}"
    side = "lower" if rule.at_least is not None else "upper"
    if passed:
        return f"the {side} end {'reaches' if side == 'lower' else 'stays within'} {limit}"
    # Two decimals, so that 84.96 is not told as 85.0, which would do.
    missed = "stays below" if side == "lower" else "exceeds"
    return f"the {side} end, {100 * end:{sign}.2f}, {missed} {limit}"
