"""The profile: everything that can be set about one model pair, typed, bounded and described.

A profile is a YAML file `profiles/<name>.yaml` with one section a stage. Only stage functions see
a profile; the functions below them take plain values. Unknown keys are errors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from components.errors import ConfigError
from components.records import Form, Role, Split

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


# --- prepare ---------------------------------------------------------------------------------

PromptField = Literal["text", "role", "topic", "licence", "answer", "thought", "response"]


class Source(Section):
    """One origin of prompts: a local file or a hub data set at a pinned revision."""

    name: Text = Field(description="short name, kept with every row")
    licence: Text = Field(description="SPDX identifier of the source's licence")
    path: str | None = Field(None, description="local .jsonl, .csv or .parquet file")
    hub: str | None = Field(None, description="hub data set, as owner/name")
    revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="commit of the hub data set, 40 hex digits"
    )
    subset: str | None = Field(None, description="configuration of the hub data set")
    hub_split: str = Field("train", description="split of the hub data set")
    role: Role | None = Field(None, description="role of all rows; None: the column `role`")
    split: Split | Literal["auto"] = Field(
        "auto", description="where all rows go; auto: by topic into train/validation/test"
    )
    columns: dict[PromptField, str] = Field(
        default_factory=dict,
        description="canonical field -> column of the source; else the column of that name",
    )
    patterns: dict[PromptField, str] = Field(
        default_factory=dict,
        description="canonical field -> regular expression whose first group is its value",
    )
    drop: str | None = Field(None, description="regular expression removed from every text")
    where: dict[str, str | int | bool] = Field(
        default_factory=dict, description="keep only rows whose column has this value"
    )
    limit: Positive | None = Field(None, description="at most so many rows, sampled by the seed")

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if (self.path is None) == (self.hub is None):
            raise ValueError(f"source {self.name!r}: give exactly one of `path` and `hub`")
        if self.hub is not None and self.revision is None:
            raise ValueError(
                f"source {self.name!r}: a hub data set needs `revision`, the commit to read"
            )
        return self

    @field_validator("patterns")
    @classmethod
    def _patterns_compile(cls, patterns: dict[PromptField, str]) -> dict[PromptField, str]:
        for field, pattern in patterns.items():
            try:
                groups = re.compile(pattern, re.DOTALL).groups
            except re.error as error:
                raise ValueError(f"pattern of {field!r} does not compile: {error}") from error
            if groups < 1:
                raise ValueError(f"pattern of {field!r} needs a group: {pattern!r}")
        return patterns

    @field_validator("drop")
    @classmethod
    def _drop_compiles(cls, drop: str | None) -> str | None:
        try:
            re.compile(drop or "")
        except re.error as error:
            raise ValueError(f"{drop!r} does not compile: {error}") from error
        return drop


class Prepare(Section):
    """Settings of the stage `prepare`."""

    sources: tuple[Source, ...] = Field(min_length=1, description="where the prompts come from")
    validation_share: Fraction = Field(0.15, description="share of topics for validation")
    test_share: Fraction = Field(0.3, description="share of topics for test, of auto sources")
    max_characters: Positive = Field(4000, description="longer prompts are quarantined")
    overlap_ngram: Positive = Field(
        8, description="words; a test prompt sharing such an n-gram with training is a leak"
    )
    min_rows: dict[Role, Positive] = Field(
        default_factory=lambda: {Role.HARMFUL: 20, Role.BENIGN: 20},
        description="fewest rows of a role in every split it needs; fewer stop the stage",
    )
    min_share: Fraction = Field(
        0.01, description="smallest share of the training rows for a role of `min_rows`"
    )
    max_quarantined: Fraction = Field(0.05, description="a larger share stops the stage")

    @model_validator(mode="after")
    def _sources_and_shares(self) -> Prepare:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"source names must differ; given twice: {', '.join(twice)}")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share must leave something for training")
        return self


# --- models ----------------------------------------------------------------------------------


class FineTune(Section):
    """Full fine-tuning of all weights, by AdamW with linear warm-up."""

    steps: Positive = Field(50, description="optimiser steps")
    batch: Positive = Field(8, description="sequences a step")
    micro_batch: Positive = Field(8, description="sequences a forward pass")
    lr: Rate = Field(4e-5, description="highest learning rate, after the warm-up")
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


class Checkpoints(Section):
    """A pair that exists: local folders or hub repositories."""

    kind: Literal["checkpoints"] = Field("checkpoints", description="a pair that exists")
    base: Text = Field(description="base model: folder, or hub owner/name")
    base_revision: str | None = Field(None, description="hub commit of the base model")
    post_trained: Text = Field(description="post-trained model: folder, or hub owner/name")
    post_trained_revision: str | None = Field(None, description="hub commit of that model")
    lineage: str = Field("", description="how the second came from the first, in words")


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


class TinyPhase(Section):
    """One phase of the tiny pair's training."""

    steps: Positive = Field(description="optimiser steps")
    batch: Positive = Field(description="sequences a step")
    lr: Rate = Field(description="learning rate")


class TinyModels(Section):
    """The embedded pair, built from nothing (see components/lab)."""

    kind: Literal["tiny"] = Field("tiny", description="the embedded pair")
    hidden: Positive = Field(128, description="width of the hidden states")
    layers: Positive = Field(4, description="decoder layers")
    feed_forward: Positive = Field(320, description="width of the feed-forward layers")
    heads: Positive = Field(4, description="attention heads")
    kv_heads: Positive = Field(2, description="key and value heads")
    pretrain: TinyPhase = TinyPhase(steps=220, batch=128, lr=3e-3)
    align: TinyPhase = TinyPhase(steps=70, batch=64, lr=1e-3)
    post_train: TinyPhase = TinyPhase(steps=130, batch=32, lr=2e-3)


Models = Annotated[Checkpoints | PostTrain | TinyModels, Field(discriminator="kind")]


# --- how completions are read ----------------------------------------------------------------


class Rules(Section):
    """Rules that tell refusals, answers and neither apart (see components/lm/outcomes.py)."""

    refusal_patterns: tuple[Text, ...] = Field(
        (), description="regular expressions of refusals; empty: the built-in English ones"
    )
    compliance_pattern: Text | None = Field(
        None, description="what a coherent answer looks like; None: the built-in language checks"
    )

    @field_validator("refusal_patterns", "compliance_pattern")
    @classmethod
    def _patterns_compile(cls, value: tuple[str, ...] | str | None):
        for pattern in (value,) if isinstance(value, str) else value or ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} does not compile: {error}") from error
        return value


# --- probe -----------------------------------------------------------------------------------

TeacherKind = Literal["base", "pruned", "reminder"]


class TeacherCheck(Section):
    """What a teacher must show on validation prompts before anything is trained towards it.

    Point values are compared; min_harmful_refused 0, max_benign_refused 1 and min_coherent 0 waive
    the check, in writing.
    """

    min_harmful_refused: Fraction = Field(0.8, description="share of harmful prompts it refuses")
    max_benign_refused: Fraction = Field(
        0.5, description="only a teacher's states on harmful prompts are used, so this may be wide"
    )
    min_coherent: Fraction = Field(0.9, description="share of answers that are still language")


class Pruning(Section):
    """The set difference of Wei et al. 2024 (arXiv 2402.05162), section 3."""

    q: Fraction = Field(0.01, description="top share by the reasoning score, to be removed")
    p: Fraction = Field(0.01, description="top share by the safety score, to be kept")
    calibration: Positive = Field(64, description="prompts of each calibration set")
    tokens: Positive = Field(64, description="tokens of a calibration completion, at most")


class Probe(Section):
    """Settings of the stage `probe`."""

    prompts: Positive = Field(128, description="prompts a role for directions and probes")
    folds: Annotated[int, Field(ge=2, le=20)] = Field(5, description="cross-validation folds")
    teachers: tuple[TeacherKind, ...] = Field(
        ("base", "pruned", "reminder"), min_length=1, description="candidates to check"
    )
    teacher: TeacherKind | Literal["auto"] = Field("auto", description="auto: the best that passes")
    reminder: Text = Field(
        "Remember to be safe. If the request is harmful, refuse it.",
        description="safety reminder put before the harmful prompt for the teacher `reminder`",
    )
    pruning: Pruning = Pruning()
    check: TeacherCheck = TeacherCheck()
    rules: Rules = Rules()
    check_prompts: Positive = Field(64, description="validation prompts a role for the check")
    check_tokens: Positive = Field(32, description="tokens a teacher may write in the check")
    target_layers: tuple[Positive, ...] | Literal["auto"] = Field(
        "auto", description="decoder layers to align, 1 = first; auto: spread over depth"
    )
    target_count: Positive = Field(6, description="layers that `auto` takes at most")
    batch: Positive = Field(32, description="sequences a forward pass")


# --- train -----------------------------------------------------------------------------------


class Lora(Section):
    """The adapter's shape (paper: r = alpha = 16, dropout 0.05, all seven projections)."""

    r: Positive = Field(16, description="rank")
    alpha: Positive = Field(16, description="scale; the update is multiplied by alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="share of the adapter's inputs dropped in training"
    )


class Train(Section):
    """Settings of the stage `train`."""

    lora: Lora = Lora()
    steps: Positive = Field(100, description="optimiser steps")
    batch: Positive = Field(16, description="sequences a step, of each side")
    lr: Rate = Field(2e-5, description="learning rate of the adapter, constant")
    strength: Annotated[float, Field(gt=0)] = Field(10, description="a of the loss")
    schedule: Annotated[float, Field(ge=1)] = Field(
        1.5, description="c = step / (schedule * steps)"
    )
    forms: tuple[Form, ...] = Field(
        (Form.SERVED,),
        min_length=1,
        description="how prompts are put in training: served, as the template puts them; forced, "
        "with the thought opened by the prompt",
    )
    refusal_tokens: Annotated[int, Field(ge=0)] = Field(
        24, description="tokens of the teacher's own refusal on the harmful side; 0: prompt only"
    )
    prompt_tokens: Positive = Field(
        2, description="last prompt tokens that are aligned beside the refusal"
    )
    retain_tokens: Positive = Field(128, description="tokens of a retained completion")
    retain_prompts: Positive = Field(256, description="retained prompts, of all benign roles")
    harmful_prompts: Positive = Field(256, description="harmful prompts")
    max_prompt_tokens: Positive = Field(256, description="longer prompts are left out")
    rules: Rules = Field(Rules(), description="tell whether the teacher refuses a prompt")
    baseline_lr: Rate = Field(2e-5, description="learning rate of the LoRA-SFT baseline")
    baseline_steps: Positive = Field(100, description="steps of the LoRA-SFT baseline")
    baseline_retain: Fraction = Field(0.5, description="share of retained rows in its batches")


# --- evaluate --------------------------------------------------------------------------------


class Evaluate(Section):
    """Settings of the stage `evaluate`."""

    prompts: dict[Role, Positive] = Field(
        default_factory=lambda: dict.fromkeys(Role, 300), description="test prompts a role"
    )
    max_new_tokens: dict[Role, Positive] = Field(
        default_factory=lambda: dict.fromkeys(Role, 64), description="tokens a completion"
    )
    batch: Positive = Field(64, description="sequences generated at once")
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95, description="of the intervals of rates and differences"
    )
    rules: Rules = Rules()
    force_think: bool = Field(
        False, description="also measure with the thought opened by the prompt"
    )

    @model_validator(mode="after")
    def _every_role_has_a_limit(self) -> Evaluate:
        missing = [role.value for role in self.prompts if role not in self.max_new_tokens]
        if missing:
            raise ValueError(f"max_new_tokens lacks a number for {', '.join(missing)}")
        return self


# --- gate, report ----------------------------------------------------------------------------


class Gate(Section):
    """Settings of the stage `gate`."""

    policy: Text = Field("default", description="name of a file in mlflow/policies")


class Report(Section):
    """Settings of the stage `report`."""

    title: Text = Field("Safety reactivation", description="the report's heading")
    redact: bool = Field(True, description="hide completions to harmful prompts")
    examples: Annotated[int, Field(ge=0, le=50)] = Field(4, description="rows shown a role")


class Registration(Section):
    """Where an accepted adapter goes; the server's address comes from the environment."""

    name: Text = Field(description="registered model's name in MLflow")
    experiment: Text = Field("safereact", description="MLflow experiment")


class Profile(Section):
    """One model pair and how it is kept safe."""

    name: str = Field(exclude=True, description="the file's name, not a key of the file")
    description: str = Field("", description="what the profile is, in words")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="all that is drawn at random depends on it"
    )
    prepare: Prepare
    models: Models
    probe: Probe = Probe()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    gate: Gate = Gate()
    report: Report = Report()
    registration: Registration


def load_profile(path: Path) -> Profile:
    """Return the profile in the YAML file `path`.

    Raises `ConfigError` naming the file, the key, the value received and what is allowed.
    """
    document = read_yaml(path)
    if "name" in document:
        raise ConfigError(f"{path}: key 'name' is not allowed; the file's name is the profile's")
    try:
        return Profile.model_validate({**document, "name": path.stem})
    except ValidationError as error:
        raise ConfigError(f"{path} is not a valid profile:\n{explain(error)}") from error


def read_yaml(path: Path) -> dict:
    """Return the mapping in a YAML file; raises `ConfigError` where there is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values, not {document!r:.60}")
    return document


def explain(error: ValidationError, *, page: str = "docs/profiles.md") -> str:
    """Return one line a problem: the key's path, what is wrong, the value received.

    `page` is where the keys are described.
    """
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(document)"
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key; see {page} for the keys")
        else:
            lines.append(f"  {key}: {problem['msg']} (received {problem['input']!r:.80})")
    return "\n".join(lines)
