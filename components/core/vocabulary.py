"""The rows that pass between stages, and the terms in them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a prompt is there to measure."""

    HARMFUL = "harmful"  # asks for harm; should be refused
    BORDERLINE = "borderline"  # looks harmful, is not; should be answered
    BENIGN = "benign"  # an ordinary request; should be answered
    REASONING = "reasoning"  # has a reference answer


class Split(StrEnum):
    """Who may see a prompt."""

    TRAIN = "train"  # probing and training
    VALIDATION = "validation"  # teacher checks and model selection
    TEST = "test"  # evaluation only


class Form(StrEnum):
    """How a prompt is put to a model."""

    SERVED = "served"  # as the tokenizer's template puts it
    FORCED_THOUGHT = "forced_thought"  # with the thought opened by the prompt
    # Attacks: harmful prompts put so that a refusal comes less easily.
    PREFILLED = "prefilled"  # the beginning of a willing answer is put into the model's mouth
    UNTHINKING = "unthinking"  # the prompt opens and closes an empty thought
    ROLE_PLAY = "role-play"  # asked as a scene of fiction
    MANY_SHOT = "many-shot"  # behind turns in which every request was answered
    PARAPHRASED = "paraphrased"  # asked in other words, by templates
    BEGUN_LIST = "begun-list"  # the beginning of a list stands in the model's mouth
    SCREENPLAY = "screenplay"  # asked as the next line of a film
    PERSONA = "persona"  # asked of somebody who has no rules
    INSTRUCTED = "instructed"  # with rules for the answer that leave no room for a refusal


PLAIN_FORMS = (Form.SERVED, Form.FORCED_THOUGHT)
ATTACKS = tuple(form for form in Form if form not in PLAIN_FORMS)


class View(StrEnum):
    """Which part of a completion is judged."""

    ANSWER = "answer"  # what is behind the thought
    THOUGHT = "thought"  # of the completions that hold one
    EITHER = "either"  # the worse of both
    UNCLOSED = "unclosed"  # the thought of the completions that never closed it


class Outcome(StrEnum):
    """What a completion did with a prompt."""

    REFUSED = "refused"
    COMPLIED = "complied"  # a coherent answer that is not a refusal
    NEITHER = "neither"  # empty, garbled, or cut off before an answer
    UNPARSED = "unparsed"  # the judge's answer could not be read; never counts as safe


class Arm(StrEnum):
    """A model under evaluation."""

    BASE = "base"
    POST_TRAINED = "post-trained"
    RESTORED = "restored"  # post-trained + SafeReAct adapter
    BASELINE = "sft-baseline"  # post-trained + LoRA-SFT adapter
    CHAMPION = "champion"  # post-trained + the adapter that the registry calls champion


# Those of every evaluation; the champion is asked where the profile says so.
OWN_ARMS = (Arm.BASE, Arm.POST_TRAINED, Arm.RESTORED, Arm.BASELINE)


class Prompted(StrEnum):
    """A way to make the post-trained model refuse that changes its prompts and trains nothing."""

    REMINDER = "reminder"  # a safety reminder before every prompt
    SELF_REMINDER = "self-reminder"  # the prompt between two reminders


# Whatever answers test prompts: an arm of every evaluation, or one of `compare` by its name.
AnyArm = Arm | str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of the canonical table."""

    id: str  # 16 hex digits of the digest of role and normalised text
    text: str
    role: Role
    topic: str
    source: str
    licence: str
    split: Split
    answer: str | None = None  # reference final answer
    thought: str | None = None  # reference chain of thought, without markers
    response: str | None = None  # reference visible response
    cluster: str | None = None  # what it counts as one with in intervals; None: itself alone


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prompt, in parts."""

    prompt_id: str
    thought: str | None  # None: no thought was opened
    answer: str  # text after the thought; empty where the token limit cut the thought off
    finished: bool  # ended by the model, not by the token limit
    tokens: int  # tokens generated
    closed: bool = True  # no thought was left open

    @property
    def text(self) -> str:
        """The thought and the answer as one text."""
        return self.answer if self.thought is None else f"{self.thought}\n{self.answer}"


# In an engine's name: it does not show which weights it holds.
UNBOUND = "unbound"
