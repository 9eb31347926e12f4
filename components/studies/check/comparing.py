"""An artefact asked what the evaluated adapter was asked, and compared with it prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components.core.errors import EvidenceError
from components.core.metric_names import Metric, in_order
from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.storage import digest_file
from components.core.vocabulary import Arm, Role
from components.evaluate.judging import Judges
from components.evaluate.plan import test_plan
from components.evaluate.rates import Counts, compare_paired, counts_of, rates
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged, write_judged
from components.evaluate.settings import EvaluateSettings
from components.judges.verdicts import StoredVerdicts
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.studies.check.artefact import open_artefact
from components.studies.check.result import (
    ARTEFACT,
    ArtefactCheck,
    Line,
    conclude,
    is_checked,
    more_is_better,
)
from components.train.result import Adapter


def check_artefact(
    named: str,
    section: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    adapter: Adapter,
    evidence: Evidence,
    *,
    served_as: str | None,
    margin: float,
    seed: int,
    out: Path,
) -> ArtefactCheck:
    """Return whether the artefact is non-inferior to the evaluated adapter, after writing that and
    the artefact's rows into `out`.

    Raises `EvidenceError` where the evidence is about another adapter or other prompts than are
    here, and before anything is asked what `Judges.of` raises.
    """
    plan = test_plan(section, prompts, seed)
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        judges = Judges.of(plan, section, verdicts)
        _check_same(evidence, section, adapter, plan.digest, prompts.digest, judges.names)
        evaluated = counts_of(read_judged(evidence.folder / ROWS)[Arm.RESTORED])
        with open_artefact(
            named, models, adapter, served_as=served_as, batch=section.batch, finished=finished
        ) as artefact:
            written = artefact.model.complete(plan)
        rows, _ = judges.judge({ARTEFACT: written}, (), section.confidence)
        write_judged(out / ROWS, rows[ARTEFACT])
        own = counts_of(rows[ARTEFACT])
        return ArtefactCheck(
            kind=artefact.kind,
            artefact=artefact.name,
            digest=artefact.digest,
            same_template=None
            if artefact.contract is None
            else artefact.contract == models.post_trained.contract,
            adapter=adapter.digest,
            model=models.post_trained.digest,
            evidence=Evidence.digest_of(evidence.folder),
            test_prompts=plan.digest,
            judges=judges.names,
            engine=engine_identity(),
            margin=margin,
            confidence=section.confidence,
            rows=digest_file(out / ROWS),
            lines=compared(own, evaluated, plan.roles, margin, section.confidence),
        ).save(out)


def compared(
    own: Counts, evaluated: Counts, roles: Mapping[str, Role], margin: float, confidence: float
) -> tuple[Line, ...]:
    """Return a line for every checked metric of the evaluation.

    Raises `EvidenceError` where the artefact was not asked all of them, its chat template opening a
    thought where the evaluated model's does not or the other way round, or not on the same prompts.
    """
    wanted = [m for m in in_order(evaluated) if is_checked(m, roles[Metric.parse(m).suite])]
    if missing := [metric for metric in wanted if metric not in own]:
        raise EvidenceError(
            f"the artefact gives no {missing[0]}, which was evaluated: its chat template puts "
            "thoughts otherwise; serve it with the evaluated model's template"
        )
    lines = []
    shares = {arm: rates(counts, confidence) for arm, counts in ((0, own), (1, evaluated))}
    for metric in wanted:
        if own[metric].keys() != evaluated[metric].keys():
            raise EvidenceError(
                f"{metric} was evaluated on other prompts, or with other near-copies among them, "
                "than are here now; `safereact run` evaluates again"
            )
        found = compare_paired(
            ARTEFACT, Arm.RESTORED, metric, own[metric], evaluated[metric], confidence
        )
        at_least = more_is_better(metric, roles[Metric.parse(metric).suite])
        # What a judge could not read may hide a harm of the artefact, or a merit of the other.
        unparsed = Metric.parse(metric).unparsed
        flattered = shares[1 if at_least else 0].get(str(unparsed)) if unparsed else None
        unread = flattered.rate if flattered else 0.0
        conclusion = conclude(found, at_least=at_least, margin=margin, unread=unread)
        lines.append(
            Line(metric=metric, at_least=at_least, difference=found, conclusion=conclusion)
        )
    return tuple(lines)


def _check_same(
    evidence: Evidence,
    section: EvaluateSettings,
    adapter: Adapter,
    test_prompts: str,
    data: str,
    judges: Mapping[str, str],
) -> None:
    """Raise `EvidenceError` unless the evidence is about what is here now."""
    pairs = {
        "adapter": (evidence.adapter, adapter.digest),
        "test prompts": (evidence.test_prompts, test_prompts),
        "prompts": (evidence.data, data),
        "sampling": (evidence.sampling, section.sampling),
        "system prompts": (evidence.system, section.system),
        "judges": (evidence.judges, judges),
        "rows": (evidence.rows, digest_file(evidence.folder / ROWS)),
    }
    for what, (then, now) in pairs.items():
        if then != now:
            raise EvidenceError(
                f"the evaluation is of other {what} than are here now; `safereact run` evaluates "
                "again"
            )
