"""The stage `evaluate`: base, post-trained, restored and SFT baseline on the same test prompts."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components import config
from components.errors import EvidenceError
from components.evaluation.arms import check_adapter, completions, for_each_arm
from components.evaluation.judging import Judge, Row, judged_rows
from components.evaluation.metrics import counts_of, differences, rates
from components.lm.chat import opens_thought
from components.records import Arm, Form, Prompt, Role, Split
from components.results import Adapter, Evidence, Models, PromptSet
from components.storage import digest_bytes, write_rows
from components.workspace import ROWS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

NEEDED = (Role.HARMFUL, Role.BENIGN)


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
    asked = sample(prompts.rows(split=Split.TEST), section.prompts, seed)
    judge = Judge(section.rules.refusal_patterns, section.rules.compliance_pattern)

    rows = for_each_arm(models, adapter, partial(_ask, section, asked, judge))
    write_rows(out / ROWS, [row for arm in Arm for row in rows[arm]], Row)
    counts = {arm: counts_of(rows[arm]) for arm in Arm}
    post_trained = models.post_trained.digest
    return Evidence(
        adapter=adapter.digest,
        baseline=adapter.baseline_digest,
        models={arm: models.base.digest if arm is Arm.BASE else post_trained for arm in Arm},
        data=prompts.digest_of_prompts,
        test_prompts=digest_bytes("\n".join(sorted(p.id for p in asked)).encode()),
        contract=models.post_trained.contract,
        judge=judge.name,
        confidence=section.confidence,
        rates={arm: rates(counts[arm], section.confidence) for arm in Arm},
        differences=differences(counts, section.confidence),
    ).save(out)


def _ask(
    section: config.Evaluate,
    prompts: Sequence[Prompt],
    judge: Judge,
    arm: Arm,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Row]:
    """Return the judged rows of one arm, of every form in which it is asked."""
    forms = [Form.SERVED]
    if section.force_think and not opens_thought(tokenizer):
        forms.append(Form.FORCED)
    rows: list[Row] = []
    for form in forms:
        written = completions(
            model,
            tokenizer,
            prompts,
            max_new_tokens=section.max_new_tokens,
            batch=section.batch,
            force_thought=form is Form.FORCED,
            label=arm if form is Form.SERVED else f"{arm}, thought forced",
        )
        rows += judged_rows(prompts, written, judge=judge, arm=arm, form=form)
    return rows


def sample(rows: Sequence[Prompt], sizes: Mapping[Role, int], seed: int) -> list[Prompt]:
    """Return at most `sizes[role]` prompts a role, drawn by the seed, in order of role and id.

    What is drawn depends on the prompts there are, not on their order. Raises `EvidenceError` where
    no harmful or no benign prompt is left; other roles may be missing.
    """
    drawn: list[Prompt] = []
    for role in Role:
        known = sorted((row for row in rows if row.role is role), key=lambda row: row.id)
        size = min(sizes.get(role, 0), len(known))
        if size == 0 and role in NEEDED:
            raise EvidenceError(
                f"there is no {role} test prompt to evaluate on ({len(known)} in the prepared set, "
                f"evaluate.prompts asks for {sizes.get(role, 0)}); add a source of {role} prompts "
                "to the section prepare"
            )
        chosen = random.Random(f"{seed} {role}").sample(known, size)
        drawn += sorted(chosen, key=lambda row: row.id)
        log.info("%s: %d of %d test prompts", role, size, len(known))
    return drawn
