"""The test prompts of an evaluation, put to one model after the other in the same way."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components import config
from components.errors import EvidenceError
from components.evaluation.arms import completions
from components.evaluation.judging import Judge, Row, judged_rows
from components.lm.chat import opens_thought
from components.records import AnyArm, Form, Prompt, Role
from components.storage import digest_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

NEEDED = (Role.HARMFUL, Role.BENIGN)


@dataclass(frozen=True, slots=True)
class Questions:
    """What every arm is asked, and how its answers are read."""

    prompts: Sequence[Prompt]
    max_new_tokens: Mapping[Role, int]
    batch: int
    force_think: bool  # ask in the forced form, too
    judge: Judge

    @classmethod
    def of(
        cls, section: config.Evaluate, prompts: Sequence[Prompt], *, force_think: bool
    ) -> Questions:
        """Return the questions of `prompts`, read and limited as the section `evaluate` says."""
        judge = Judge(section.rules.refusal_patterns, section.rules.compliance_pattern)
        return cls(prompts, section.max_new_tokens, section.batch, force_think, judge)

    @property
    def digest(self) -> str:
        """SHA-256 over the ids of the prompts."""
        return digest_bytes("\n".join(sorted(prompt.id for prompt in self.prompts)).encode())

    def ask(
        self,
        arm: AnyArm,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        reword: Callable[[str], str] = str,
    ) -> list[Row]:
        """Return the judged rows of one arm, of every form in which it is asked.

        `reword` is what becomes of a prompt's text on its way to the model.
        """
        forms = [Form.SERVED]
        if self.force_think and not opens_thought(tokenizer):
            forms.append(Form.FORCED)
        rows: list[Row] = []
        for form in forms:
            written = completions(
                model,
                tokenizer,
                self.prompts,
                max_new_tokens=self.max_new_tokens,
                batch=self.batch,
                reword=reword,
                force_thought=form is Form.FORCED,
                label=arm if form is Form.SERVED else f"{arm}, thought forced",
            )
            rows += judged_rows(self.prompts, written, judge=self.judge, arm=arm, form=form)
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
