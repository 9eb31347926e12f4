"""Settings of the stage `train`, and of the methods that it is compared with."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.core.extensions import check_name
from components.core.section import Forms, Fraction, Manner, Positive, Rate, Section
from components.core.vocabulary import Form
from components.judges.settings import RulesSettings

# A checked refusal, and what the baseline learns, where the loss itself is on the prompt alone.
PROMPT_ONLY_TOKENS = 24
# They compare the teacher's refusals token by token.
BY_TOKENS = ("distil", "combined", "on-policy", "self-generated")
OWN_METHODS = ("safereact", *BY_TOKENS, "circuit-breaker", "sft", "rank-one")
Reads = Literal["form", "plain"]  # where the student reads an attack: the same, the bare prompt
MethodName = Annotated[str, AfterValidator(partial(check_name, "methods", ours=OWN_METHODS))]


class Lora(Section):
    """The adapter's shape (paper: r = alpha = 16, dropout 0.05, all seven projections)."""

    r: Positive = Field(16, description="rank")
    alpha: Positive = Field(16, description="scale; the update is multiplied by alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="share of the adapter's inputs dropped in training"
    )


class EarlyStopSettings(Section):
    """When training has done enough, told by prompts of the validation split."""

    every: Positive = Field(20, description="optimiser steps between two looks")
    harmful_refused: Fraction = Field(
        0.95, description="share of harmful prompts, in every form, that is enough"
    )
    retention: Annotated[float, Field(gt=0)] = Field(
        0.05, description="distance from the post-trained states over their norm that is allowed"
    )
    prompts: Positive = Field(32, description="harmful prompts, and as many to be retained")
    tokens: Positive = Field(24, description="tokens of a completion")


class FineTuning(Section):
    """Plain fine-tuning on the teacher's refusals."""

    retain: Fraction
    lr: Rate
    steps: Positive


class TrainSettings(Section):
    """Settings of the stage `train`."""

    method: MethodName = Field("distil", description="training method, by its name")
    lora: Lora = Lora()
    steps: Positive = Field(100, description="optimiser steps")
    batch: Positive = Field(16, description="sequences a step, of each kind")
    micro_batch: Positive | None = Field(
        None, description="sequences a forward pass, of each kind; None: a process's whole share"
    )
    checkpoint_activations: Annotated[bool | None, Manner()] = Field(
        None,
        description="compute activations again in the backward pass instead of keeping them; "
        "None: where the device's memory asks for it",
    )
    checkpoint_every: Positive = Field(
        50, description="optimiser steps after which a killed training can go on"
    )
    early_stop: EarlyStopSettings | None = Field(None, description="None: all steps are taken")
    load_in_4bit: bool = Field(
        False, description="load the student in 4 bits (bitsandbytes NF4); the teacher stays whole"
    )
    lr: Rate = Field(2e-5, description="learning rate of the adapter")
    decay: bool = Field(False, description="the rate falls linearly towards zero; else constant")
    strength: Annotated[float, Field(gt=0)] = Field(10, description="a of the loss")
    schedule: Annotated[float, Field(ge=1)] = Field(
        1.5, description="c = step / (schedule * steps)"
    )
    forms: Forms = Field(
        (Form.SERVED,),
        min_length=1,
        description="how prompts are put in training: served, as the template puts them; "
        "forced_thought, with the thought opened by the prompt; attacks, by their names",
    )
    teacher_reads: Reads = Field(
        "plain",
        description="what the teacher is asked where the student reads an attack: plain, the bare "
        "prompt, so that its refusal is taught under attacks to which it yields; form, the same",
    )
    retain_reads: Reads = Field(
        "plain",
        description="what the post-trained model is asked where the student reads a retained "
        "prompt under an attack: plain, the bare prompt, so that what is harmless is answered "
        "under attacks as without; form, the same; problems are always asked in the same form",
    )
    refusal_tokens: Annotated[int, Field(ge=0)] = Field(
        24, description="tokens of the teacher's own refusal on harmful rows; 0: prompt only"
    )
    prompt_tokens: Positive = Field(
        2, description="last prompt tokens that are aligned beside the refusal"
    )
    likeliest: Positive = Field(
        64, description="next tokens whose probabilities are stored; the rest counts as one"
    )
    retain_weight: Annotated[float, Field(ge=0)] = Field(
        1, description="weight of the retained rows in the losses that compare next tokens"
    )
    retain_tokens: Positive = Field(128, description="tokens of a retained completion")
    retain_prompts: Positive = Field(256, description="retained prompts, of all benign roles")
    harmful_prompts: Positive = Field(256, description="harmful prompts")
    max_prompt_tokens: Positive = Field(256, description="longer prompts are left out")
    rules: RulesSettings = Field(
        RulesSettings(), description="tell whether the teacher refuses a prompt"
    )
    baseline_lr: Rate = Field(2e-5, description="learning rate of the LoRA-SFT baseline")
    baseline_steps: Positive = Field(100, description="steps of the LoRA-SFT baseline")
    baseline_retain: Fraction = Field(0.5, description="share of retained rows in its batches")

    @property
    def taught_tokens(self) -> int:
        """Tokens of a refusal that are kept, where the loss is on the prompt alone, too."""
        return self.refusal_tokens or PROMPT_ONLY_TOKENS

    @property
    def baseline(self) -> FineTuning:
        """The settings of the LoRA-SFT baseline."""
        return FineTuning(
            retain=self.baseline_retain, lr=self.baseline_lr, steps=self.baseline_steps
        )

    @model_validator(mode="after")
    def _there_are_tokens_to_compare(self) -> TrainSettings:
        if self.method in BY_TOKENS and self.refusal_tokens == 0:
            raise ValueError(
                f"method {self.method} compares the teacher's refusals token by token, and "
                "refusal_tokens is 0; raise it, or set method: safereact"
            )
        return self

    @model_validator(mode="after")
    def _batch_can_be_cut(self) -> TrainSettings:
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} must divide batch {self.batch} without a rest"
            )
        return self


class CircuitBreaker(Section):
    """Representation rerouting (Zou et al. 2024, arXiv 2406.04313, section 3)."""

    layers: tuple[Positive, ...] | Literal["auto"] = Field(
        "auto", description="layers that are rerouted; auto: at a third and two thirds of the depth"
    )
    strength: Annotated[float, Field(gt=0)] = Field(10, description="alpha of both coefficients")
    tokens: Positive = Field(24, description="tokens of the compliant answers that are rerouted")
    lr: Rate = Field(1e-4, description="learning rate, constant")
    steps: Positive = Field(150, description="optimiser steps")


class RankOne(FineTuning):
    """Rank 1 on the middle layers' up_proj (Xue and Mirzasoleiman 2025, arXiv 2507.17075)."""

    retain: Fraction = Field(0, description="share of retained rows; the paper has refusals alone")
    lr: Rate = Field(1e-3, description="learning rate, constant")
    steps: Positive = Field(100, description="optimiser steps")
