"""A champion asked its profile's test prompts once more, and compared with its promotion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from components.core.errors import ConfigError, ModelError
from components.core.metric_names import Metric
from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.result import RateFigure
from components.core.storage import digest_file
from components.core.vocabulary import Arm, Form, Role
from components.evaluate.completions import open_checkpoint
from components.evaluate.judging import Judges
from components.evaluate.plan import EvaluationPlan, test_plan
from components.evaluate.rates import Counts, counts_of, rates
from components.evaluate.result import Evidence
from components.evaluate.rows import Row, read_judged, write_judged
from components.evaluate.settings import EvaluateSettings
from components.gate.labels import Labels
from components.gate.policy import Policy
from components.gate.result import Override, RuleOutcome
from components.gate.rules import decide_rules
from components.judges.verdicts import StoredVerdicts
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity
from components.lm.weights import digest_checkpoint
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.registry.answering import Usable
from components.studies.watch.comparing import PRODUCTION, Promoted, compared
from components.studies.watch.production import read_production
from components.studies.watch.result import Watch

PRODUCTION_ROWS = "production.parquet"  # apart from the test prompts' rows, which are the look
MARGIN = 0.05  # by which a figure may be worse than at the promotion


def watch_champion(
    champion: Usable,
    section: EvaluateSettings,
    prompts: SuiteSet,
    policy: Policy,
    *,
    promoted_rows: Path | None,
    first: Mapping[str, RateFigure],
    production: Path | None,
    notes: Iterable[str] = (),
    seed: int,
    out: Path,
) -> Watch:
    """Return whether the champion does as well as when it was promoted, after writing that and its
    rows into `out`.

    `promoted_rows` are those of the promotion, if they are here; `first` are the figures of the
    first watch, which stand for what the promotion did not measure. Raises what `Judges.of` and
    `read_production` raise before anything is asked, and `ConfigError` for a file of production
    where a suite has its name.
    """
    evidence, plan = champion.evidence, test_plan(section, prompts, seed)
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        rows, asked, judges = _judged_rows(champion, section, plan, production, finished, verdicts)
        write_judged(out / ROWS, rows)
        if production:
            write_judged(out / PRODUCTION_ROWS, asked)
        counts = counts_of([*rows, *asked])
        found = rates(counts, section.confidence)
        before = evidence.rates[Arm.RESTORED]
        then = Promoted(
            {**first, **before},
            _counts(promoted_rows),
            measured=before,
            judged_otherwise=_judged_otherwise(evidence, judges),
            asked_otherwise=_asked_otherwise(evidence, section),
        )
        how = {"margin": MARGIN, "confidence": section.confidence}
        now = _with_figures(evidence, found, plan.roles, judges, section.confidence)
        return Watch(
            version=champion.number,
            adapter=evidence.adapter,
            evidence=Evidence.digest_of(evidence.folder),
            test_prompts=plan.digest,
            data=prompts.digest,
            policy=policy.digest,
            judges=judges,
            engine=engine_identity(),
            rows=digest_file(out / ROWS),
            rates=found,
            lines=tuple(compared(counts, found, plan.roles, then, **how)),
            rules=tuple(_rules(policy, champion, now)),
            notes=(
                *notes,
                *_notes(evidence, plan.digest, judges, section),
                *(_undecided(one) for one in _standing(champion).values()),
            ),
            unasked=unasked(before, found),
            **how,
        ).save(out)


def unasked(then: Iterable[str], now: Iterable[str]) -> tuple[str, ...]:
    """Return the suites, and their forms, of which there were figures and are none."""
    before, after = ({_asked(metric) for metric in metrics} for metrics in (then, now))
    return tuple(sorted(before - after))


def _asked(name: str) -> str:
    metric = Metric.parse(name)
    return metric.suite if metric.form == Form.SERVED else f"{metric.suite}.{metric.form}"


def _judged_rows(
    champion: Usable,
    section: EvaluateSettings,
    plan: EvaluationPlan,
    production: Path | None,
    finished: FinishedRequests,
    verdicts: StoredVerdicts,
) -> tuple[list[Row], list[Row], dict[str, str]]:
    """Return the judged rows of what the champion writes, those of what production has, and the
    judges' names by suite."""
    if production and PRODUCTION in plan.roles:
        raise ConfigError(
            f"{PRODUCTION!r} is a suite of the profile, and --production names figures so; rename "
            "the suite, or watch without --production"
        )
    judges, arm = Judges.of(plan, section, verdicts), Arm.RESTORED
    digest, asked, others = champion.models.post_trained.digest, None, None
    with open_checkpoint(
        champion.model, digest, batch=section.batch, finished=finished
    ) as checkpoint:
        if production:
            asked = read_production(production, section, checkpoint.tokenizer)
            others = Judges.of(asked[0], section, verdicts)
        model = checkpoint.arm(arm, (champion.adapter, champion.evidence.adapter))
        written = model.complete(plan)
    rows, served = judges.judge({arm: written}, (), section.confidence)[0][arm], []
    if asked and others:
        served = others.judge({arm: asked[1]}, (), section.confidence)[0][arm]
    return rows, served, judges.names


def _with_figures(
    evidence: Evidence,
    found: dict[str, RateFigure],
    roles: dict[str, Role],
    judges: dict[str, str],
    confidence: float,
) -> Evidence:
    """Return the promotion's evidence with the figures of now, for the policy's rules to read."""
    about = {"roles": roles, "judges": judges, "confidence": confidence}
    return evidence.model_copy(update={"rates": {Arm.RESTORED: found}, **about})


def _rules(
    policy: Policy, champion: Usable, now: Evidence, today: date | None = None
) -> Iterator[RuleOutcome]:
    """Yield the policy's rules on rates of the restored model alone, decided on those of now.

    Labels of the promotion's completions correct them as long as the judges are the same. A rule
    that people had overridden is theirs to decide until the override ends; `today` is that of UTC.
    """
    overridden = _standing(champion, today)
    own = [
        rule.model_copy(update={"both_judges": False})  # the second judge is not asked
        for rule in policy.rules
        if rule.arm is Arm.RESTORED and rule.against is None
    ]
    same = champion.evidence.judges == now.judges
    labels = Labels(champion.decision.labelled if same else (), now, needed=policy.needs_labels)
    # By the outcomes' names: a rule under attacks has one for each.
    return (one for one in decide_rules(own, now, labels) if one.rule not in overridden)


def _standing(champion: Usable, today: date | None = None) -> dict[str, Override]:
    """Return the overrides of the champion's decision that have not ended, by rule."""
    today = today or datetime.now(UTC).date()
    signed = [outcome.override for outcome in champion.decision.rules if outcome.override]
    return {override.rule: override for override in signed if override.until >= today}


def _undecided(override: Override) -> str:
    """Return in words that a rule was not decided on, so that its silence is no good news."""
    return f"the rule {override.rule!r} is overridden until {override.until}: not decided on"


def _counts(rows: Path | None) -> Counts:
    return counts_of(read_judged(rows)[Arm.RESTORED]) if rows else {}


def _judged_otherwise(evidence: Evidence, judges: Mapping[str, str]) -> list[str]:
    return [suite for suite, name in judges.items() if evidence.judges.get(suite) != name]


def _asked_otherwise(evidence: Evidence, section: EvaluateSettings) -> list[str]:
    pairs = {
        "sampling": (evidence.sampling, section.sampling),
        "system prompt": (evidence.system, section.system),
    }
    return [what for what, (then, now) in pairs.items() if then != now]


def _notes(
    evidence: Evidence, test_prompts: str, judges: Mapping[str, str], section: EvaluateSettings
) -> Iterator[str]:
    """Yield in words what is another one than at the promotion."""
    changed = _asked_otherwise(evidence, section)
    changed += ["test prompts"] if evidence.test_prompts != test_prompts else []
    changed += ["engine"] if evidence.engine != engine_identity() else []
    changed += [f"judge of {suite}" for suite in _judged_otherwise(evidence, judges)]
    yield from (f"another {what} than at the promotion" for what in changed)


def changed_models(models: Models, folder: Path, *, ask_hub: bool) -> Iterator[str]:
    """Yield in words which models of the pair are others now: a folder by its digest, and, where
    the hub is to be asked, a model there that has another commit than was pinned.

    `folder` is where the stage `models` builds its pair. That the champion's own model is the one
    that was evaluated was found before.
    """
    base = models.base
    place = folder / base.location if base.where == "stage" else Path(base.location)
    if base.where != "hub" and digest_checkpoint(place) != base.digest:
        yield f"the base in {base.location} is another one than was evaluated beside the champion"
    on_hub = [ref for ref in (models.base, models.post_trained) if ref.where == "hub"]
    if ask_hub and not on_hub:
        yield "no model of the pair is on the hub, so it was not asked (--upstream)"
    for ref in on_hub if ask_hub else ():
        if (latest := _commit(ref.location)) != ref.revision:
            yield f"{ref.location} is {latest:.12} on the hub, and {ref.revision:.12} is pinned"


def _commit(repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        return str(HfApi().model_info(repository).sha)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the hub does not say which commit {repository!r} has ({type(error).__name__}); watch "
            "without --upstream"
        ) from error
