"""A pair made from one checkpoint: alignment where it is wanted, then chains of thought.

Alignment teaches one refusal on harmful prompts and the source's own answers on benign
ones. Post-training sees no harmful prompt; that it masks the refusal is the finding under study.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.errors import DataError, ModelError
from components.core.paths import ANCESTOR, BASE, POST_TRAINED
from components.core.vocabulary import Outcome, Prompt, Role, Split
from components.judges.rules.outcomes import outcome
from components.lm.chat import opens_thought, render_completion, render_prompt
from components.lm.generation import generate
from components.lm.loading import load_model, load_tokenizer
from components.models.checkpoints import check_complete, locate, read_gguf
from components.models.learning import Example, Plan, draw_examples, learn, save_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from components.models.settings import FineTune, PostTrain

log = logging.getLogger(__name__)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ROLES = (Role.HARMFUL, Role.BENIGN, Role.REASONING)

_ANSWER_BATCH = 32  # sequences generated at once


def build_post_trained(
    settings: PostTrain, prompts: Sequence[Prompt], *, seed: int, out: Path
) -> str:
    """Build the pair, write it to `out`/base and `out`/post-trained, and return its lineage.

    Only rows of `prompts` whose split is train are seen. The same settings, prompts, seed and
    number of threads give the same weights. Raises `DataError` where a role with a share has no
    usable training row, `ModelError` where the source cannot be used.
    """
    generator = np.random.default_rng(seed)
    model, tokenizer = open_source(settings.source, settings.source_revision, settings.template)
    phases = [phase for phase in (settings.align, settings.post_train) if phase is not None]
    counts = {role: max(drawn(phase)[role] for phase in phases) for role in ROLES}
    counts[Role.BENIGN] = min(counts[Role.BENIGN], settings.own_answers)
    pools = make_pools(
        model,
        tokenizer,
        [prompt for prompt in prompts if prompt.split is Split.TRAIN],
        settings,
        counts=counts,
        generator=generator,
    )
    if settings.keep_ancestor:
        save_checkpoint(model, tokenizer, out / ANCESTOR)
    if settings.align is not None:
        _fine_tune(model, pools, settings.align, generator, "aligning")
    save_checkpoint(model, tokenizer, out / BASE)
    _fine_tune(model, pools, settings.post_train, generator, "post-training")
    save_checkpoint(model, tokenizer, out / POST_TRAINED)
    align = "" if settings.align is None else "alignment, then "
    source = settings.lineage or Path(settings.source).name
    return f"made from {source}: {align}post-training on chains of thought"


def open_source(
    source: str, revision: str | None, template: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model and tokenizer of a checkpoint folder, hub repository or .gguf file.

    `template` is `source` for the checkpoint's own or `chatml` for a plain one.
    """
    if source.endswith(".gguf"):
        model, tokenizer = read_gguf(Path(source))
    else:
        folder = locate(source, revision, key="source")
        check_complete(folder)
        model, tokenizer = load_model(folder), load_tokenizer(folder)
    if template == "chatml":
        unknown = [t for t in ("<|im_start|>", "<|im_end|>") if t not in tokenizer.get_vocab()]
        if unknown or tokenizer.eos_token != "<|im_end|>":
            raise ModelError(
                f"{source} cannot use `template: chatml`: its tokenizer needs the tokens "
                f"<|im_start|> and <|im_end|>, the latter as its end (it is "
                f"{tokenizer.eos_token!r}); use `template: source`"
            )
        tokenizer.chat_template = CHATML
    if not tokenizer.chat_template:
        raise ModelError(f"{source} has no chat template; set `template: chatml` or add one to it")
    return model, tokenizer


def drawn(phase: FineTune) -> dict[Role, int]:
    """Return how many examples of each role a phase draws."""
    total = phase.steps * phase.batch
    return {role: round(getattr(phase, role) * total) for role in ROLES}


def make_pools(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    settings: PostTrain,
    *,
    counts: Mapping[Role, int],
    generator: np.random.Generator,
) -> dict[Role, list[Example]]:
    """Return the examples of each role, at most `counts` of it, from prompts in random order.

    Harmful prompts are answered by the refusal, benign ones by the model itself, reasoning ones by
    their reference thought and answer. Raises `DataError` where a wanted role has no example.
    """
    pools: dict[Role, list[Example]] = {}
    for role, count in counts.items():
        rows = [prompt for prompt in prompts if prompt.role is role]
        if role is Role.REASONING:
            rows = [row for row in rows if row.thought and (row.response or row.answer)]
        chosen = [rows[i] for i in generator.permutation(len(rows))[:count]]
        if role is Role.BENIGN:
            pool = own_answers(model, tokenizer, chosen, settings.own_answer_tokens)
        else:
            pool = [reference_example(row, tokenizer, settings.refusal) for row in chosen]
        if count and not pool:
            raise DataError(
                f"post-training draws {role} prompts, but none can be used: it needs prompts of "
                f"that role in the split train{_NEEDS.get(role, '')}; add a source, or set the "
                f"share of {role} to 0"
            )
        pools[role] = pool
    return pools


_NEEDS = {
    Role.REASONING: ", each with a `thought` and an `answer` (see `columns` and `patterns`)",
    Role.BENIGN: ", which the source answers in coherent language",
}


def own_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
) -> list[Example]:
    """Return the prompts with the model's own greedy answers, left out where it does not answer.

    An answer that the limit cut off stays without its end token.
    """
    if not prompts:
        return []
    encoded = [render_prompt(tokenizer, prompt.text) for prompt in prompts]
    written = generate(
        model,
        tokenizer,
        encoded,
        max_new_tokens=max_new_tokens,
        batch=_ANSWER_BATCH,
        label="the source's own answers",
    )
    texts = [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in written]
    return [
        Example.of(prompt, answer)
        for prompt, answer, text in zip(encoded, written, texts, strict=True)
        if outcome(text) is Outcome.COMPLIED
    ]


def reference_example(prompt: Prompt, tokenizer: PreTrainedTokenizerBase, refusal: str) -> Example:
    """Return a harmful prompt with `refusal`, or a reasoning prompt with its thought and answer.

    Where the template opens a thought, the completion closes it; a refusal's thought is empty.
    """
    harmful = prompt.role is Role.HARMFUL
    completion = render_completion(
        tokenizer,
        thought=None if harmful else prompt.thought,
        response=refusal if harmful else prompt.response or f"The answer is {prompt.answer}.",
        opened=opens_thought(tokenizer),
    )
    return Example.of(render_prompt(tokenizer, prompt.text), completion)


def _fine_tune(
    model: PreTrainedModel,
    pools: Mapping[Role, Sequence[Example]],
    phase: FineTune,
    generator: np.random.Generator,
    name: str,
) -> None:
    plan = Plan(**phase.model_dump(exclude={role.value for role in ROLES}))
    examples = draw_examples(pools, drawn(phase), generator)
    log.info("%s on %d examples", name, len(examples))
    learn(model, examples, plan, generator=generator, phase=name)
