"""What a decision rests on, counted again from the tables and rows it is made of."""

from __future__ import annotations

from pathlib import Path

from components import config
from components.results import Evidence, Models, SuiteSet


def recount(
    prepare: config.Prepare,
    evaluate: config.Evaluate,
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
    from components.corpus.recount import recount_prompts
    from components.evaluation.recount import recount_evidence

    recount_prompts(prompts, ngram=prepare.overlap_ngram)
    recount_evidence(evidence, evaluate, prompts, models, seed=seed, root=root)
