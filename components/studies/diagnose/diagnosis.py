"""A pair diagnosed without training: both models answer the same prompts, and are compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.core.fingerprints import Code
from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.storage import digest_bytes, digest_file
from components.core.vocabulary import AnyArm, Arm, Role
from components.evaluate.completions import open_checkpoint
from components.evaluate.judging import Judges
from components.evaluate.plan import EvaluationPlan, Written
from components.evaluate.rates import counts_of, differences, rates
from components.evaluate.rows import write_judged
from components.evaluate.settings import EvaluateSettings
from components.evaluate.statistics import with_holm
from components.judges.verdicts import StoredVerdicts
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import ENGINES, engine_identity, engine_name
from components.probe.result import Masking, TeacherFigures
from components.studies.diagnose.locating import Locating
from components.studies.diagnose.pair import Pair
from components.studies.diagnose.prompts import Asked, diagnosis_plan
from components.studies.diagnose.result import PairDiagnosis


@dataclass(frozen=True, slots=True)
class Case:
    """A pair, prompts, how they are put and judged, and what teachers were tried before."""

    pair: Pair
    asked: Asked
    section: EvaluateSettings
    seed: int
    teachers: tuple[TeacherFigures, ...] = ()
    tried: tuple[str, ...] = ()

    def plan(self) -> EvaluationPlan:
        """Return what both models are asked."""
        return diagnosis_plan(self.section, self.asked, self.seed)

    def key(self) -> str:
        """Return a digest of all that the figures depend on."""
        parts = [
            self.section.model_dump_json(),
            str(self.seed),
            self.plan().digest,
            *(ref.digest for ref in self.pair.models.values()),
            Code().fingerprint(__name__),
        ]
        return digest_bytes("\n".join(parts).encode())


def diagnose_pair(case: Case, *, out: Path) -> PairDiagnosis:
    """Return the diagnosis after writing it and the rows into `out`.

    What an earlier process left there of the same is not asked again. Raises what `Judges.of`
    raises before any model is asked.
    """
    section, pair, plan = case.section, case.pair, case.plan()
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        judges = Judges.of(plan, section, verdicts)
        written = _complete(plan, pair, finished, section.batch)
        rows, _ = judges.judge(written, (), section.confidence)
        write_judged(out / ROWS, [row for own in rows.values() for row in own])
        counts = {arm: counts_of(own) for arm, own in rows.items()}
        compared = [(Arm.POST_TRAINED, Arm.BASE)] if Arm.BASE in pair.models else []
        found = differences(counts, compared, plan.roles, section.confidence)
        masking, not_located = _locate(case, plan, out)
        return PairDiagnosis(
            models=dict(pair.models),
            same_lineage=pair.same_lineage,
            asked=case.asked.words,
            prompts={one.suite: len(one.prompts) for one in plan.suites},
            max_new_tokens={one.suite: one.max_new_tokens for one in plan.suites},
            sources=case.asked.sources,
            roles=plan.roles,
            judges=judges.names,
            usage=judges.usage,
            engine=engine_identity(),
            seed=case.seed,
            confidence=section.confidence,
            rows=digest_file(out / ROWS),
            rates={Arm(arm): rates(own, section.confidence) for arm, own in counts.items()},
            differences=with_holm(found),
            masking=masking,
            not_located=not_located,
            teachers=case.teachers,
            tried=case.tried,
        ).save(out)


def _complete(
    plan: EvaluationPlan, pair: Pair, finished: FinishedRequests, batch: int
) -> dict[AnyArm, Written]:
    """Return what both models write; one is held at a time."""
    written: dict[AnyArm, Written] = {}
    for arm, ref in pair.models.items():
        folder = pair.folders[arm]
        with open_checkpoint(folder, ref.digest, batch=batch, finished=finished) as checkpoint:
            written[arm] = checkpoint.arm(arm).complete(plan)
    return written


def _locate(case: Case, plan: EvaluationPlan, out: Path) -> tuple[Masking | None, str | None]:
    """Return what the states tell, or why they tell nothing."""
    if engine_name() != ENGINES[0]:
        return None, f"states are read in this process, and the engine is {engine_name()}"
    suites = {one.role: one.prompts for one in plan.suites}
    rows = {role: suites.get(role, ()) for role in (Role.HARMFUL, Role.BENIGN)}
    locating = Locating(case.pair, rows, case.section.rules, case.seed)
    if why := locating.refused():
        return None, why
    masking = locating.masking(out)
    return masking, None if masking else "the base refuses none of the harmful prompts"
