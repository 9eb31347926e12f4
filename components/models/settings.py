"""Settings of the stage `models`: a pair that exists, or how one is made."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.core.section import Fraction, Positive, Rate, Section, Text

HUB_ID, COMMIT = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+"), re.compile(r"[0-9a-f]{40}")
_KEEP = "keep the model before its alignment, for the teacher `vector`"


class FineTune(Section):
    """Full fine-tuning of all weights, by AdamW with linear warm-up."""

    steps: Positive = Field(50, description="optimiser steps")
    batch: Positive = Field(8, description="sequences a step")
    micro_batch: Positive = Field(8, description="sequences a forward pass")
    lr: Rate = Field(4e-5, description="highest learning rate, after the warm-up")
    decay: bool = Field(False, description="the rate then falls linearly towards zero")
    max_tokens: Positive = Field(512, description="longer sequences are cut")
    harmful: Fraction = Field(0, description="share of harmful prompts, answered by a refusal")
    benign: Fraction = Field(0, description="share of benign prompts")
    reasoning: Fraction = Field(0, description="share of reasoning prompts")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> FineTune:
        total = self.harmful + self.benign + self.reasoning
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares harmful + benign + reasoning must be 1, not {total:g}")
        return self


class Shape(Section):
    """A decoder's sizes, under the names of its config.json in brackets.

    `safereact doctor` estimates memory, disk and time from them before anything is fetched.
    """

    layers: Positive = Field(description="decoder blocks (num_hidden_layers)")
    hidden: Positive = Field(description="width of the hidden states (hidden_size)")
    feed_forward: Positive = Field(description="width of the MLPs (intermediate_size)")
    heads: Positive = Field(description="attention heads (num_attention_heads)")
    kv_heads: Positive = Field(description="key and value heads (num_key_value_heads)")
    head_width: Positive = Field(description="width of a head (head_dim)")
    vocabulary: Positive = Field(description="rows of the embedding (vocab_size)")
    tied: bool = Field(False, description="the LM head is the embedding (tie_word_embeddings)")


class Checkpoints(Section):
    """A pair that exists: local folders or hub repositories."""

    kind: Literal["checkpoints"] = Field("checkpoints", description="a pair that exists")
    base: Text = Field(description="base model: folder, or hub owner/name")
    base_revision: str | None = Field(None, description="hub commit of the base model")
    ancestor: Text | None = Field(
        None,
        description="what the base model was aligned from and the post-trained one descends "
        "from, for the teacher `vector`: folder, or hub owner/name",
    )
    ancestor_revision: str | None = Field(None, description="hub commit of the ancestor")
    post_trained: Text = Field(description="post-trained model: folder, or hub owner/name")
    post_trained_revision: str | None = Field(None, description="hub commit of that model")
    lineage: str = Field("", description="how the second came from the first, in words")
    shape: Shape | None = Field(
        None, description="sizes of the post-trained model, for estimates before it is fetched"
    )


class PostTrain(Section):
    """A pair made from one checkpoint: alignment (optional), then post-training on chains of
    thought."""

    kind: Literal["post-train"] = Field("post-train", description="a pair to be made")
    source: Text = Field(description="checkpoint to start from: folder, hub name or .gguf file")
    source_revision: str | None = Field(None, description="hub commit of the source")
    lineage: str = Field("", description="what the source is, in words")
    refusal: Text = Field(
        "I'm sorry, but I can't help with that.", description="the wording alignment teaches"
    )
    align: FineTune | None = Field(None, description="None: the source is aligned already")
    post_train: FineTune = Field(description="training on chains of thought")
    own_answers: Positive = Field(
        160, description="benign prompts that the source answers itself, their targets"
    )
    own_answer_tokens: Positive = Field(64, description="longest of the source's own answers")
    template: Literal["source", "chatml"] = Field(
        "source", description="chatml: a plain template without a default system turn"
    )
    keep_ancestor: bool = Field(False, description=_KEEP)

    @model_validator(mode="after")
    def _ancestor_before_alignment(self) -> PostTrain:
        if self.keep_ancestor and self.align is None:
            raise ValueError(
                "keep_ancestor needs `align`: without it the base is the source itself"
            )
        return self


class TinyPhase(Section):
    """One phase of the tiny pair's training."""

    steps: Positive = Field(description="optimiser steps")
    batch: Positive = Field(description="sequences a step")
    lr: Rate = Field(description="learning rate")


class TinyModels(Section):
    """The embedded pair, built from nothing (see components/models)."""

    kind: Literal["tiny"] = Field("tiny", description="the embedded pair")
    hidden: Positive = Field(128, description="width of the hidden states")
    layers: Positive = Field(4, description="decoder layers")
    feed_forward: Positive = Field(320, description="width of the feed-forward layers")
    heads: Positive = Field(4, description="attention heads")
    kv_heads: Positive = Field(2, description="key and value heads")
    pretrain: TinyPhase = TinyPhase(steps=220, batch=128, lr=3e-3)
    align: TinyPhase = TinyPhase(steps=70, batch=64, lr=1e-3)
    post_train: TinyPhase = TinyPhase(steps=130, batch=32, lr=2e-3)
    keep_ancestor: bool = Field(False, description=_KEEP)


ModelsSettings = Annotated[Checkpoints | PostTrain | TinyModels, Field(discriminator="kind")]
