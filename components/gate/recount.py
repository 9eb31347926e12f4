"""What a decision rests on, counted again from the tables and rows it is made of."""

from __future__ import annotations

from pathlib import Path

from components.evaluate.result import Evidence
from components.evaluate.settings import EvaluateSettings
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.prepare.settings import PrepareSettings


def recount(
    prepare: PrepareSettings,
    evaluate: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    evidence: Evidence,
    *,
    seed: int,
    root: Path,
) -> None:
    """Raise `EvidenceError` naming every figure of prompts and evidence, with both values, that
    does not follow from their tables and rows.

    `prepare`, `evaluate` and `seed` are those of the profile, which lies below `root`.
    """
    from components.evaluate.recount import recount_evidence
    from components.prepare.recount import recount_prompts

    recount_prompts(prompts, ngram=prepare.overlap_ngram)
    recount_evidence(evidence, evaluate, prompts, models, seed=seed, root=root)
