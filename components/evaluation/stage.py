"""The stage `evaluate`: base, post-trained, restored and SFT baseline on the same test prompts."""

from __future__ import annotations

from pathlib import Path

from components import config
from components.evaluation.arms import check_adapter, for_each_arm
from components.evaluation.asking import Questions, sample
from components.evaluation.judging import Row
from components.evaluation.metrics import Counts, counts_of, differences, rates
from components.records import AnyArm, Arm, Split
from components.results import COMPARISONS, Adapter, Evidence, Models, PromptSet
from components.storage import write_rows
from components.workspace import ROWS


def evaluate(
    section: config.Evaluate,
    prompts: PromptSet,
    models: Models,
    adapter: Adapter,
    *,
    seed: int,
    out: Path,
) -> Evidence:
    """Write rows and figures of all four arms into `out` and return the figures.

    Raises `EvidenceError` for an adapter of another model, contract or data, and for a test set
    without harmful or without benign prompts.
    """
    check_adapter(adapter, models, prompts)
    questions = Questions.of(
        section,
        sample(prompts.rows(split=Split.TEST), section.prompts, seed),
        force_think=section.force_think,
    )
    rows = for_each_arm(models, adapter, questions.ask)
    write_rows(out / ROWS, [row for arm in Arm for row in rows[arm]], Row)
    counts: dict[AnyArm, Counts] = {arm: counts_of(rows[arm]) for arm in Arm}
    post_trained = models.post_trained.digest
    return Evidence(
        adapter=adapter.digest,
        baseline=adapter.baseline_digest,
        models={arm: models.base.digest if arm is Arm.BASE else post_trained for arm in Arm},
        data=prompts.digest_of_prompts,
        test_prompts=questions.digest,
        contract=models.post_trained.contract,
        judge=questions.judge.name,
        confidence=section.confidence,
        rates={arm: rates(counts[arm], section.confidence) for arm in Arm},
        differences=differences(counts, COMPARISONS, section.confidence),
    ).save(out)
