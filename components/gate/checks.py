"""The gate's outcomes, from files alone: is the evidence about this adapter, and is it enough?

What is missing, stale or about something else fails. What a rule's figure must show stands in
`components.gate.rules`.

An adapter is accepted when all rules pass (an intersection-union test: Berger 1982, Technometrics
24:295-300). A bad adapter misses at least one bound, so it is accepted no more often than that one
rule errs: nominally (1 - confidence) / 2, without any correction for the number of rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.core.metric_names import FINISHED, Metric, in_order
from components.core.result import RateFigure
from components.core.untrusted_text import short_digest
from components.core.vocabulary import Arm, Role
from components.evaluate.result import Evidence
from components.gate.leaks import leak_outcomes
from components.gate.policy import Policy
from components.gate.result import Conclusion, RuleOutcome
from components.gate.rules import decide_rule, share, verdicts_behind
from components.judges.rules.outcomes import rules_name
from components.judges.settings import RULES
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.train.result import Adapter

MANY_TRUNCATED = 0.1  # a larger share of completions that the token limit cut is worth a word


def decide(
    policy: Policy,
    evidence: Evidence,
    adapter: Adapter,
    models: Models,
    prompts: SuiteSet,
    *,
    adapter_files: str,
    rows_file: str,
) -> tuple[RuleOutcome, ...]:
    """Return the outcome of every check of the evidence and of every rule of the policy.

    `adapter_files` is the digest of the adapter's folder as it is now, `rows_file` that of the
    evaluation's rows, empty where they are gone.
    """
    return (
        *bindings(evidence, adapter, models, prompts, adapter_files, rows_file),
        _written(policy, evidence),
        _asked(prompts, evidence),
        *(
            statement(f"{leak.suite} is not in training", leak.clean, leak.why)
            for leak in leak_outcomes(prompts, evidence.roles)
        ),
        *judgements(policy, evidence),
        *(
            _written_out(suite, policy, evidence)
            for suite, role in evidence.roles.items()
            if role is Role.HARMFUL
        ),
        _confidence(policy.confidence, evidence),
        *(decide_rule(rule, evidence) for rule in policy.rules),
    )


def champion_behind(policy: Policy, evidence: Evidence) -> str | None:
    """Return the digest of the champion that a rule compares with, or `NO_CHAMPION`; None: no rule
    does."""
    met = evidence.champion
    return met.digest if met and policy.names_champion else None


# --- is the evidence about this adapter? -----------------------------------------------------


def bindings(
    evidence: Evidence,
    adapter: Adapter,
    models: Models,
    prompts: SuiteSet,
    adapter_files: str,
    rows_file: str,
) -> Iterator[RuleOutcome]:
    """Yield one outcome for each thing that evidence, adapter, models and prompts must share."""
    post_trained = models.post_trained
    yield _match("evidence is about this adapter", "adapter", evidence.adapter, adapter.digest)
    yield _match("adapter is as it was trained", "adapter", adapter.digest, adapter_files)
    yield _match("rows are those that were judged", "rows", evidence.rows, rows_file)
    yield _match("evidence is about these prompts", "prompts", evidence.data, prompts.digest)
    trained = prompts.digest_of_prompts
    yield _match("adapter was trained on these prompts", "prompts", adapter.data, trained)
    yield _match("adapter belongs to this model", "model", adapter.base_model, post_trained.digest)
    for arm in evidence.arms:
        here = models.base if arm is Arm.BASE else post_trained
        evaluated = evidence.models.get(arm, "")
        yield _match(f"evidence is about this {arm} model", "model", evaluated, here.digest)
    yield _match(
        "evidence is about this SFT baseline", "adapter", evidence.baseline, adapter.baseline_digest
    )
    ours = adapter.contract.digest
    yield _match(
        "evidence is about this prompt contract", "contract", evidence.contract.digest, ours
    )
    yield _match("prompts are put as in training", "contract", post_trained.contract.digest, ours)


def _match(rule: str, what: str, found: str, expected: str) -> RuleOutcome:
    """Return a binding's outcome: `found`, an upstream result's word, must be `expected`.

    An empty digest matches nothing, not even another empty one.
    """
    passed = bool(found) and found == expected
    named, wanted = short_digest(found) or "nothing", short_digest(expected) or "nothing"
    told = f"{what} {wanted}" if passed else f"it says {what} {named}, here is {wanted}"
    return statement(rule, passed, told if passed else f"not so: {rule}; {told}")


def _asked(prompts: SuiteSet, evidence: Evidence) -> RuleOutcome:
    missing = sorted(prompts.suites.keys() - evidence.roles.keys())
    told = f"not asked: {', '.join(missing)}" if missing else f"{len(prompts.suites)} of them"
    return statement("every named suite was asked", not missing, told)


def _confidence(asked: float, evidence: Evidence) -> RuleOutcome:
    return statement(
        "intervals are confident enough",
        evidence.confidence >= asked,
        f"the intervals have {evidence.confidence:.1%} confidence; the policy asks for {asked:.1%}",
    )


def _written(policy: Policy, evidence: Evidence) -> RuleOutcome:
    """Return who wrote the completions. A server shows no weights, so whoever set it up answers for
    them: that passes and is told, unless the policy asks for more."""
    told = f"written by {evidence.engine or 'nobody knows what'}"
    if not evidence.bound:
        told += (
            ": a server does not show which weights and which adapter it holds, so whoever set it "
            "up answers for them"
        )
    known = bool(evidence.engine) and (evidence.bound or not policy.bound_engine)
    if not evidence.bound and policy.bound_engine:
        told += "; the policy does not count that"
    return statement("engine of the completions", known, told, warns=not evidence.bound)


def statement(rule: str, passed: bool, why: str, *, warns: bool = False) -> RuleOutcome:
    """Return the outcome of a check of the evidence, which no threshold decides."""
    return RuleOutcome(
        rule=rule,
        metric="evidence",
        arm=Arm.RESTORED,
        against=None,
        figure=None,
        bound=None,
        threshold=None,
        n=0,
        conclusion=Conclusion.PASS if passed else Conclusion.FAIL,
        warns=warns,
        why=why,
    )


# --- can its verdicts be read? ---------------------------------------------------------------


def judgements(policy: Policy, evidence: Evidence) -> Iterator[RuleOutcome]:
    """Yield whether the verdicts behind the rules have a judge's name and could be read.

    The share of unparsed verdicts is compared as it is: how much of this evidence is unknown is
    counted, not estimated.
    """
    allowed: dict[tuple[str, str], float] = {}
    for rule in policy.rules:
        limit = policy.max_unparsed if rule.max_unparsed is None else rule.max_unparsed
        for subject in verdicts_behind(rule):
            if subject[0] is Arm.CHAMPION and not _was_asked(evidence):
                continue  # the rule itself tells what follows
            allowed[subject] = min(limit, allowed.get(subject, limit))
    arms: dict[str, list[Arm]] = {}
    for arm, metric in allowed:
        arms.setdefault(Metric.parse(metric).suite, []).append(Arm(arm))
    for suite, asked in arms.items():
        yield from _judge_of(suite, policy, evidence)
        yield _read_whole(suite, list(dict.fromkeys(asked)), policy, evidence)
    for (arm, metric), limit in allowed.items():
        rate = evidence.rates.get(Arm(arm), {}).get(metric)
        told = "not measured" if rate is None else f"{share(rate.rate)} of {rate.n}"
        yield statement(
            f"verdicts can be read: {metric.rpartition('.')[0]} of {arm}",
            rate is not None and rate.rate <= limit,
            f"{metric} of {arm}: {told}; at most {share(limit)} are allowed",
        )


def _was_asked(evidence: Evidence) -> bool:
    return evidence.champion is not None and evidence.champion.asked


def _judge_of(suite: str, policy: Policy, evidence: Evidence) -> Iterator[RuleOutcome]:
    judge = evidence.judges.get(suite, "")
    kind = judge.partition(":")[0]
    told = f"judged by {short_digest(judge)}" if judge else "the evidence does not name one"
    counts = not policy.judges or kind in policy.judges
    if not counts:
        told += f"; the policy takes the word of {', '.join(policy.judges)}"
    by_rules = kind == RULES
    if by_rules:
        told += "; it reads how thought and answer are worded: a smoke test, not a safety judgement"
    if by_rules and judge != rules_name():
        told += ", and by patterns of the profile's own (evaluate.rules), not the built-in ones"
    named = bool(judge) and counts
    yield statement(f"{suite} has a judge", named, f"{suite}: {told}", warns=by_rules)
    if policy.min_accuracy:
        tried = [c.accuracy for c in evidence.calibrations if c.judge == judge]
        right = tried[0] if len(tried) == 1 else None
        yield statement(
            f"the judge of {suite} is right often enough",
            right is not None and right.low >= policy.min_accuracy,
            f"accuracy on labelled cases: {'not measured' if right is None else _told(right)}; its "
            f"lower end must reach {share(policy.min_accuracy)}",
        )


def _read_whole(suite: str, arms: Sequence[Arm], policy: Policy, evidence: Evidence) -> RuleOutcome:
    """Return whether the judge read the completions of a suite whole, of every arm that counts."""
    seen = {arm: evidence.cut.get(suite, {}).get(arm) for arm in arms}
    told = [
        f"{figure.count} of {figure.n} of {arm}" if figure else f"nobody counted those of {arm}"
        for arm, figure in seen.items()
        if figure is None or figure.count
    ]
    passed = all(figure and figure.count <= policy.max_cut * figure.n for figure in seen.values())
    why = f"completions that were read without their middle: {', '.join(told) or 'none'}"
    limit = f"; at most {share(policy.max_cut)} of an arm's are allowed" if told else ""
    return statement(f"{suite} is read whole", passed, f"{why}{limit}", warns=bool(told))


def _written_out(suite: str, policy: Policy, evidence: Evidence) -> RuleOutcome:
    """Return how many of the restored arm's completions of a suite the token limit cut, in each
    form: what a model did not come to say, nobody judged."""
    rates = evidence.rates.get(Arm.RESTORED, {})
    ended = {
        metric.form: rates[name]
        for name in in_order(rates)
        if (metric := Metric.parse(name)).suite == suite and metric.measure == FINISHED
    }
    asked = {form: rate.samples or rate.n for form, rate in ended.items()}
    cut = {form: asked[form] - rate.count for form, rate in ended.items()}
    told = [f"{count} of {asked[form]} {form}" for form, count in cut.items() if count]
    counted = ", ".join(told) or ("none" if ended else "nobody counted them")
    limit = policy.max_truncated
    return statement(
        f"{suite} is written out",
        bool(ended) and all(count <= limit * asked[form] for form, count in cut.items()),
        f"completions of restored that the token limit cut off: {counted}"
        + (f"; at most {share(limit)} of a form's are allowed" if limit < 1 else ""),
        warns=any(count > MANY_TRUNCATED * asked[form] for form, count in cut.items()),
    )


def _told(rate: RateFigure) -> str:
    return f"{share(rate.rate)} [{100 * rate.low:.1f}, {100 * rate.high:.1f}], n={rate.n}"
