"""The embedded pair, built from nothing: a base that refuses harm, and its post-trained child.

The base learns its world, then to chat and to refuse; the child goes on with chains of thought
and benign requests alone, and its refusals vanish by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.core.errors import DataError
from components.core.paths import ANCESTOR, BASE, POST_TRAINED
from components.core.vocabulary import Prompt, Role, Split
from components.lm.chat import THOUGHT_CLOSE, THOUGHT_OPEN, render_completion, render_prompt
from components.models.learning import Example, Plan, draw_examples, learn, save_checkpoint
from components.models.world import draw_text, words

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from components.models.settings import TinyModels, TinyPhase

ALIGNMENT = {Role.HARMFUL: 0.38, Role.BORDERLINE: 0.22, Role.BENIGN: 0.22, Role.REASONING: 0.18}
POST_TRAINING = {Role.REASONING: 0.7, Role.BORDERLINE: 0.15, Role.BENIGN: 0.15}

PAD, UNKNOWN, END = "<|pad|>", "<|unknown|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
# One turn is its role, its content and the end; the thought in an assistant's content stays.
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('unknown role: ' + message['role']) }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_INITIAL_STD = 0.05
_ROPE_THETA = 100.0
_PRETRAINING_TEXTS = 16_000
_MICRO_BATCH = 32  # few enough that their activations stay in the cache


def build_tiny(settings: TinyModels, prompts: Sequence[Prompt], *, seed: int, out: Path) -> str:
    """Build the pair, write it to `out`/base and `out`/post-trained, and return its lineage.

    Alignment and post-training see the rows of `prompts` whose split is train, no other. The same
    settings, prompts, seed and number of threads give the same bytes on the same machine.
    Raises `DataError` where a role that is needed has no usable training row.
    """
    generator = np.random.default_rng(seed)
    tokenizer = make_tokenizer()
    model = make_model(settings, tokenizer, seed=seed)

    def fine_tune(examples: Sequence[Example], phase: TinyPhase, name: str) -> None:
        plan = Plan(**phase.model_dump(), micro_batch=_MICRO_BATCH, decay=True)
        learn(model, examples, plan, generator=generator, phase=name)

    def chats(shares: Mapping[Role, float], phase: TinyPhase, *, think: bool) -> list[Example]:
        count = phase.steps * phase.batch
        return draw_chats(prompts, shares, count, tokenizer, generator, think=think)

    texts = pretraining_examples(_PRETRAINING_TEXTS, tokenizer, generator)
    fine_tune(texts, settings.pretrain, "pretraining")
    if settings.keep_ancestor:
        save_checkpoint(model, tokenizer, out / ANCESTOR)
    fine_tune(chats(ALIGNMENT, settings.align, think=False), settings.align, "aligning")
    save_checkpoint(model, tokenizer, out / BASE)
    phase = settings.post_train
    fine_tune(chats(POST_TRAINING, phase, think=True), phase, "post-training")
    save_checkpoint(model, tokenizer, out / POST_TRAINED)
    return "built from nothing: pretraining, alignment, then benign chains of thought"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: one token a word, number or mark; lower case; always the same.

    Padding is on the left, for generation. The think marks are ordinary added tokens, so that
    decoding without special tokens leaves them in.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    thought = (THOUGHT_OPEN, THOUGHT_CLOSE)
    names = [PAD, UNKNOWN, END, SYSTEM, USER, ASSISTANT, *thought, *words()]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    core.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in thought])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(
    settings: TinyModels, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> LlamaForCausalLM:
    """Return a Llama model with random weights that depend on nothing but the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        intermediate_size=settings.feed_forward,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=tokenizer.model_max_length,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=_INITIAL_STD,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0.0, _INITIAL_STD, generator=generator)
    return model


def pretraining_examples(
    count: int, tokenizer: PreTrainedTokenizerFast, generator: np.random.Generator
) -> list[Example]:
    """Return `count` texts of the world, each ended."""
    texts = [draw_text(generator) for _ in range(count)]
    pieces = [piece for text in texts for piece, _ in text]
    encoded = iter(tokenizer(pieces, return_attention_mask=False)["input_ids"])
    examples = []
    for text in texts:
        tokens = [(token, learned) for _, learned in text for token in next(encoded)]
        ids, flags = zip(*tokens, (tokenizer.eos_token_id, True), strict=True)
        examples.append(Example(ids, flags))
    return examples


def draw_chats(
    prompts: Sequence[Prompt],
    shares: Mapping[Role, float],
    count: int,
    tokenizer: PreTrainedTokenizerFast,
    generator: np.random.Generator,
    *,
    think: bool,
) -> list[Example]:
    """Return `count` chats of training rows, of each role its share, each row equally often.

    With `think`, a row's thought stands before its response where it has one.
    Raises `DataError` where a role has no training row with a response.
    """
    pools: dict[Role, list[Example]] = {}
    for role in shares:
        rows = [row for row in prompts if row.role == role and row.split == Split.TRAIN]
        pools[role] = [chat_example(row, tokenizer, think=think) for row in rows if row.response]
        if not pools[role]:
            raise DataError(
                f"none of {len(rows)} training prompts of role {role} has a `response`; "
                "the tiny pair cannot be built without"
            )
    counts = {role: round(share * count) for role, share in shares.items()}
    return draw_examples(pools, counts, generator)


def chat_example(prompt: Prompt, tokenizer: PreTrainedTokenizerFast, *, think: bool) -> Example:
    """Return the chat of a prompt and its reference completion, which is what is learned."""
    thought = prompt.thought if think else None
    completion = render_completion(tokenizer, thought=thought, response=prompt.response or "")
    return Example.of(render_prompt(tokenizer, prompt.text), completion)
