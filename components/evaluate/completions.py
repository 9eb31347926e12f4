"""What the arms write: each checkpoint is held once, and the plan's prompts go to its engines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import EvidenceError
from components.core.storage import digest_bytes
from components.core.vocabulary import AnyArm, Arm, Completion, Form, Prompt
from components.evaluate.plan import EvaluationPlan, SuitePlan, Written
from components.evaluate.result import Champion
from components.evaluate.rows import Place
from components.lm.attacks import render_form
from components.lm.chat import opens_thought, split_completion
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity, engine_place, open_host
from components.lm.engines.protocol import Engine, Host, Request, collect
from components.lm.loading import checkpoint_folder, context_length, load_tokenizer
from components.lm.template_checks import check_system
from components.models.result import Models
from components.train.result import Adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArmModel:
    """One arm's model behind an engine."""

    arm: AnyArm
    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    context: int  # tokens that a prompt and its completion may have together
    reword: Callable[[str], str] = str  # what becomes of a prompt's text on its way to the model

    @classmethod
    def in_memory(
        cls,
        arm: AnyArm,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch: int,
        resumed: tuple[FinishedRequests, str] | None = None,
    ) -> ArmModel:
        """Return a model in memory, with an adapter or without, as `arm`.

        `resumed` are the requests that an earlier process finished, and the digest of all that the
        model is made of.
        """
        from components.lm.generation import engine_of

        engine: Engine = engine_of(model, tokenizer, batch=batch)
        if resumed:
            finished, made_of = resumed
            engine = finished.resume(engine, made_of)
        context = model.config.get_text_config().max_position_embeddings
        return cls(arm, engine, tokenizer, context)

    def complete(self, plan: EvaluationPlan) -> Written:
        """Return what the arm writes."""
        opens = opens_thought(self.tokenizer)
        completions: dict[Place, Completion] = {}
        for suite in plan.suites:
            for form, prompts in suite.forms(forced_thought=plan.forced_thought and not opens):
                completions |= self._complete(suite, form, prompts, plan)
        return Written(self.arm, plan.places(opens_thought=opens), completions)

    def _complete(
        self, suite: SuitePlan, form: str, prompts: Sequence[Prompt], plan: EvaluationPlan
    ) -> dict[Place, Completion]:
        # A completion may be cut by the context, but exchanges before a prompt leave it half.
        limit = max(self.context - suite.max_new_tokens, self.context // 2)

        def reword(text: str) -> str:
            return self.reword(suite.worded(text))

        put = partial(
            render_form, self.tokenizer, form=form,
            seed=plan.seed, limit=limit, reword=reword, system=plan.system,
        )  # fmt: skip
        rendered = [put(prompt) for prompt in prompts]
        requests = [
            Request(
                tuple(ids),
                tokens_left(suite, prompt, len(ids), self.context),
                samples=suite.samples,
                temperature=suite.temperature,
                top_p=suite.top_p,
                top_k=suite.top_k,
                seed=plan.seed,
            )
            for prompt, (ids, _) in zip(prompts, rendered, strict=True)
        ]
        if short := sum(request.max_new_tokens < suite.max_new_tokens for request in requests):
            log.warning(
                "%s: the context of %d tokens leaves fewer than %d for %d of %d prompts of %s",
                self.arm, self.context, suite.max_new_tokens, short, len(requests), suite.suite,
            )  # fmt: skip
        label = f"{self.arm}, {suite.suite}{'' if form == Form.SERVED else f', {form}'}"
        written = collect(self.engine, requests, label=label)
        return {
            Place(suite.suite, form, prompt.id, sample): split_completion(
                self.tokenizer, prompt.id, list(ids), ends=self.engine.ends, opened=opened
            )
            for prompt, (_, opened), samples in zip(prompts, rendered, written, strict=True)
            for sample, ids in enumerate(samples)
        }


def tokens_left(suite: SuitePlan, prompt: Prompt, length: int, context: int) -> int:
    """Return how many tokens a completion may have behind `length` tokens of prompt: the suite's
    limit, or what the model's context leaves of it. Raises `EvidenceError` where it leaves none."""
    left = context - length
    if left < 1:
        raise EvidenceError(
            f"prompt {prompt.id} of {suite.suite} has {length} tokens, and the model reads "
            f"{context} with its completion; leave the prompt out (prepare.max_characters), or "
            "evaluate another model"
        )
    return min(suite.max_new_tokens, left)


def check_system_prompt(system: str, models: Models) -> None:
    """Raise `ModelError` where one of the pair's templates cannot put the system prompt, if any."""
    for ref in (models.base, models.post_trained) if system else ():
        check_system(load_tokenizer(checkpoint_folder(models, ref)), system)


# --- the arms: adapters swapped on a checkpoint --------------------------------------------------


def complete_arms(
    plan: EvaluationPlan,
    models: Models,
    adapter: Adapter,
    *,
    champion: Champion | None = None,
    batch: int,
    finished: FinishedRequests,
) -> dict[AnyArm, Written]:
    """Return what every arm writes; one checkpoint is held at a time.

    The champion is asked where one is given. What an earlier process has finished and noted in
    `finished` is not written again.
    """
    adapted: dict[Arm, tuple[Path, str] | None] = {
        Arm.POST_TRAINED: None,
        Arm.RESTORED: (adapter.adapter, adapter.digest),
        Arm.BASELINE: (adapter.baseline, adapter.baseline_digest),
    }
    if champion and champion.released:
        adapted[Arm.CHAMPION] = (champion.adapter, champion.released.digest)
    written: dict[AnyArm, Written] = {}
    for ref, arms in ((models.base, {Arm.BASE: None}), (models.post_trained, adapted)):
        folder = checkpoint_folder(models, ref)
        with open_checkpoint(folder, ref.digest, batch=batch, finished=finished) as checkpoint:
            for arm, added in arms.items():
                written[arm] = checkpoint.arm(arm, added).complete(plan)
    return written


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint that arms are made of, by adapters or by other words."""

    host: Host
    tokenizer: PreTrainedTokenizerBase
    context: int  # tokens
    digest: str
    finished: FinishedRequests

    def arm(
        self,
        arm: AnyArm,
        adapter: tuple[Path, str] | None = None,
        *,
        reword: Callable[[str], str] = str,
    ) -> ArmModel:
        """Return an arm's model until the next one is asked for: the checkpoint with an adapter, a
        folder and its digest, or without one."""
        path, digest = adapter or (None, "")
        made_of = f"{self.digest} {digest} {engine_identity()} {engine_place()}"
        engine = self.finished.resume(self.host.engine(arm, path), digest_bytes(made_of.encode()))
        return ArmModel(arm, engine, self.tokenizer, self.context, reword)


@contextmanager
def open_checkpoint(
    folder: Path, digest: str, *, batch: int, finished: FinishedRequests
) -> Iterator[Checkpoint]:
    """Yield a checkpoint with its engines, and give back its memory in the end."""
    tokenizer, context = load_tokenizer(folder), context_length(folder)
    with open_host(folder, batch=batch) as host:
        yield Checkpoint(host, tokenizer, context, digest, finished)
