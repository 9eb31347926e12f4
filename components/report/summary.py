"""The report's first box: what the verdict is about, how far it reaches, and what was not shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from components.core.metric_names import FINISHED, Metric
from components.core.result import in_words
from components.core.untrusted_text import short_digest
from components.core.vocabulary import ATTACKS, Arm, Role
from components.evaluate.result import Evidence
from components.gate.result import UNLABELLED, UNTESTED, Decision
from components.lm.references import CheckpointRef
from components.models.result import Models
from components.report.studies import WITHSTOOD, Study
from components.report.wording import ARM_NAMES, counted, interval, listed, percent


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose page it is. The files of a stage carry no dates and do not know the registry, so only a
    page that is written beside the chain says when and by which code the evaluation ran, and which
    look the decision is."""

    profile: str
    model: str  # the registered model's name
    policy: str  # its file's name
    evaluated: str | None = None  # the day, in UTC
    commit: str | None = None  # of the code that evaluated
    looks: str | None = None  # which look, and what those before it found


def rests_on(
    decision: Decision,
    evidence: Evidence,
    models: Models,
    origin: Origin,
    studies: Sequence[Study] = (),
) -> list[tuple[str, str]]:
    """Return what the verdict is about and how far it reaches, as terms with their words."""
    pair = ((Arm.BASE, models.base), (Arm.POST_TRAINED, models.post_trained))
    prompts = ", ".join(f"{n} {suite}" for suite, n in _asked(evidence).items())
    attacks = ", ".join(decision.attacks)
    beside = f"on the page of `safereact report --profile {origin.profile}`"
    second = list(_judges(evidence, evidence.by_second_judge.judges.values()))
    return [
        ("Profile", origin.profile),
        ("Models", "; ".join(f"{ARM_NAMES[arm]} {_named(ref)}" for arm, ref in pair)),
        ("Adapter", f"{short_digest(decision.adapter)}, for the registered model {origin.model}"),
        ("Policy", f"{origin.policy} ({short_digest(decision.policy)})"),
        ("Evaluated", origin.evaluated or beside),
        ("Code", origin.commit or f"{beside}, and in a version’s tag git_commit"),
        (
            "Judged by",
            "; ".join([*_judges(evidence, evidence.judges.values()), _measured(decision)]),
        ),
        *([("Judged again by", "; ".join(second))] if second else []),
        ("Attacks", f"asked under {attacks}" if attacks else UNTESTED),
        ("Prompts", prompts or "not counted"),
        ("Looks", origin.looks or f"{beside}, and in a version’s tag looks"),
        ("Not shown", listed(_not_shown(decision, evidence, studies))),
    ]


def _judges(evidence: Evidence, names: Iterable[str]) -> Iterator[str]:
    """Yield each judge with its accuracy on labelled cases."""
    tried = {c.judge: c.accuracy for c in evidence.calibrations}
    for judge in dict.fromkeys(names):
        found = tried.get(judge)
        yield f"{short_digest(judge)}, " + (
            f"right in {percent(found.rate)} {interval(found.low, found.high)} of "
            f"{found.n} labelled cases"
            if found
            else "not tried on labelled cases"
        )


def _measured(decision: Decision) -> str:
    """Return how many rules are corrected by labels of the completions themselves."""
    rules = [rule for rule in decision.rules if rule.uncorrected or rule.accuracy]
    corrected = sum(rule.accuracy is not None for rule in rules)
    if not corrected:
        return UNLABELLED
    return f"{corrected} of {counted(len(rules), 'rule')} on verdicts corrected for it by labels"


def _not_shown(decision: Decision, evidence: Evidence, studies: Sequence[Study]) -> Iterator[str]:
    """Yield what the evidence is silent about."""
    if not decision.attacks:
        yield "how it answers under attacks"
    elif untried := [attack for attack in ATTACKS if attack not in decision.attacks]:
        yield f"other attacks ({', '.join(untried)})"
    if Role.BORDERLINE not in evidence.roles.values():
        yield "whether it refuses look-alikes"
    if evidence.second is None:
        yield "what another judge says of the same completions"
    if not evidence.bound:
        yield "which weights the server held"
    if any(study.title == WITHSTOOD.title and study.missing for study in studies):
        yield f"what is left when somebody undoes its safety (`{WITHSTOOD.command}`)"
    yield "other prompts and languages than those asked"


def _named(ref: CheckpointRef) -> str:
    """Return a checkpoint's name on the hub, else its digest: folders differ elsewhere."""
    return ref.location if ref.where == "hub" else short_digest(ref.digest)


def _asked(evidence: Evidence) -> dict[str, str]:
    """Return how many prompts of each suite the restored model answered as served."""
    rates = evidence.rates.get(Arm.RESTORED, {})
    found = {suite: rates.get(str(Metric(suite, FINISHED))) for suite in evidence.roles}
    return {
        suite: in_words(rate.n, rate.clusters) for suite, rate in found.items() if rate is not None
    }
