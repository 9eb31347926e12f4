"""The stage `compare`: other arms on the prompts that the adapter was evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.storage import digest_file, digest_folder
from components.core.vocabulary import AnyArm, Arm, Prompted
from components.evaluate.arms import check_same
from components.evaluate.completions import Checkpoint, open_checkpoint
from components.evaluate.judging import Judges
from components.evaluate.plan import EvaluationPlan, Written, test_plan
from components.evaluate.rates import counts_of, cut_figures, differences, rates
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged, write_judged
from components.evaluate.settings import EvaluateSettings
from components.evaluate.statistics import with_holm
from components.judges.verdicts import StoredVerdicts
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity
from components.lm.loading import checkpoint_folder
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.probe.result import Probe
from components.studies.baselines.result import Baselines
from components.studies.compare.edits import complete_edits
from components.studies.compare.result import Comparison
from components.studies.compare.settings import CompareSettings


def compare(
    section: CompareSettings,
    settings: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    probe: Probe,
    evidence: Evidence,
    baselines: Baselines,
    *,
    seed: int,
    out: Path,
) -> Comparison:
    """Write rows and figures of every other arm into `out` and return the figures of all.

    The arms keep the rows of their evaluation. Raises `EvidenceError` where that was on other
    prompts or by another judge, or its rows were changed, and for an adapter of another model,
    contract or data; and, before anything is asked, what `Judges.of` raises.
    """
    plan, confidence = test_plan(settings, prompts, seed), settings.confidence
    _check(plan, prompts, models, evidence, baselines)
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        judges = Judges.of(plan, settings, verdicts)
        check_same(
            [
                (f"the judge of the suite {s}", evidence.judges.get(s), j)
                for s, j in judges.names.items()
            ],
            remedy="run the stage evaluate again",
        )
        asked = models.post_trained
        with open_checkpoint(
            checkpoint_folder(models, asked), asked.digest, batch=settings.batch, finished=finished
        ) as checkpoint:
            written = _complete(plan, checkpoint, section, probe, baselines)
        edited, unable = complete_edits(
            plan, section.edits, models, probe, prompts, batch=settings.batch, finished=finished
        )
        written |= edited
        judged, _ = judges.judge(written, (), confidence)
        write_judged(out / ROWS, [row for rows in judged.values() for row in rows])
        rows = read_judged(evidence.folder / ROWS) | judged
        counts = {arm: counts_of(own) for arm, own in rows.items()}
        pairs = [p for m in judged for p in ((m, Arm.POST_TRAINED), (Arm.RESTORED, m))]
        return Comparison(
            evidence=Evidence.digest_of(evidence.folder),
            data=prompts.digest,
            test_prompts=plan.digest,
            judges=judges.names,
            confidence=confidence,
            arms=tuple(map(str, rows)),
            method=baselines.method,
            teacher=probe.teacher,
            **split_attacks(plan, baselines.forms),
            cut=cut_figures(judged, judges.names),
            usage=judges.usage,
            rows=digest_file(out / ROWS),
            rates={arm: rates(own, confidence) for arm, own in counts.items()},
            differences=with_holm(differences(counts, pairs, plan.roles, confidence)),
            left_out={line.arm: line.reason for line in baselines.arms if line.reason} | unable,
        ).save(out)


def split_attacks(plan: EvaluationPlan, forms: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the plan's attacks, by whether training saw them, as the result's keys."""
    every = dict.fromkeys(attack for suite in plan.suites for attack in suite.attacks)
    return {
        "trained_attacks": tuple(attack for attack in every if attack in forms),
        "held_out_attacks": tuple(attack for attack in every if attack not in forms),
    }


def _check(
    plan: EvaluationPlan,
    prompts: SuiteSet,
    models: Models,
    evidence: Evidence,
    baselines: Baselines,
) -> None:
    """Raise `EvidenceError` unless all that is compared is about the same things."""
    checkpoint = models.post_trained
    pairs = [
        ("the evaluation's test prompts", evidence.test_prompts, plan.digest),
        ("the evaluation's prompts and suites", evidence.data, prompts.digest),
        ("the evaluation's engine", evidence.engine, engine_identity()),
        ("the evaluation's rows", evidence.rows, evidence.rows_now()),
        ("the baselines' model", baselines.base_model, checkpoint.digest),
        ("the baselines' prompt contract", baselines.contract, checkpoint.contract),
        ("the baselines' data", baselines.data, prompts.digest_of_prompts),
    ]
    pairs += [
        (f"the adapter {line.arm}", line.digest, digest_folder(baselines.adapter(line.arm)))
        for line in baselines.arms
        if line.digest
    ]
    check_same(pairs, remedy="run the stages evaluate and baselines again")


def _complete(
    plan: EvaluationPlan,
    checkpoint: Checkpoint,
    section: CompareSettings,
    probe: Probe,
    baselines: Baselines,
) -> dict[AnyArm, Written]:
    """Return what every arm writes: those that change the prompt, then the baselines."""
    rewordings = {
        Prompted.REMINDER: partial(_between, before=probe.reminder, after=""),
        Prompted.SELF_REMINDER: partial(_between, before=section.before, after=section.after),
    }
    written: dict[AnyArm, Written] = {
        arm: checkpoint.arm(arm, reword=rewordings[arm]).complete(plan) for arm in section.prompted
    }
    for line in baselines.arms:
        if line.digest:
            adapter = (baselines.adapter(line.arm), line.digest)
            written[line.arm] = checkpoint.arm(line.arm, adapter).complete(plan)
    return written


def _between(text: str, *, before: str, after: str) -> str:
    return "\n\n".join(part for part in (before, text, after) if part)
