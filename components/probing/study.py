"""What each model of the pair is asked, in one loading of its weights."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.config import TeacherKind
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.lm.masks import pruned
from components.probing.answers import Judge
from components.probing.calibration import own_answers, own_refusals, refusals
from components.probing.directions import States, last_token_states
from components.probing.sampling import Samples
from components.probing.set_difference import build_masks
from components.probing.teachers import Thresholds, check_teacher
from components.probing.wanda import input_norms
from components.records import Role
from components.results import Models, TeacherFigures

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@dataclass(frozen=True, slots=True)
class Plan:
    """Prompts, candidate teachers and settings of a study; `q` and `p` are the mask's shares."""

    samples: Samples
    teachers: tuple[TeacherKind, ...]
    reminder: str
    judge: Judge
    thresholds: Thresholds
    check_tokens: int
    calibration_tokens: int
    q: float
    p: float
    batch: int


@dataclass(frozen=True, slots=True)
class BaseFindings:
    """What the base model showed. `refusals`: None for a harmful prompt it did not refuse."""

    states: States
    refusals: list[list[int] | None]
    teachers: list[TeacherFigures]


@dataclass(frozen=True, slots=True)
class PostTrainedFindings:
    """What the post-trained model showed. `calibration`: exchanges by where answers come from."""

    states: States
    masks: dict[str, Tensor]
    teachers: list[TeacherFigures]
    calibration: dict[str, int]


def study_base(plan: Plan, models: Models) -> BaseFindings:
    """Return the base model's findings, the model itself freed.

    A base model of another lineage neither teaches nor lends its refusals: its tokens differ. Nor
    does one lend them whose template opens no thought where the post-trained model's does, or the
    other way round: they would stand in the wrong place.
    """
    folder = checkpoint_folder(models, models.base)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rows = plan.samples.calibrated[Role.HARMFUL]
    own: list[list[int] | None] = [None] * len(rows)
    alike = models.base.contract.opens_thought == models.post_trained.contract.opens_thought
    if models.same_lineage and alike:
        own = own_refusals(
            model,
            tokenizer,
            rows,
            judge=plan.judge,
            max_new_tokens=plan.calibration_tokens,
            batch=plan.batch,
        )
    findings = BaseFindings(
        states=last_token_states(model, tokenizer, plan.samples.probed, batch=plan.batch),
        refusals=own,
        teachers=_check(plan, "base", (model, tokenizer)),
    )
    del model
    gc.collect()
    return findings


def study_post_trained(
    plan: Plan, models: Models, base_refusals: list[list[int] | None]
) -> PostTrainedFindings:
    """Return the post-trained model's findings, the model itself freed."""
    folder = checkpoint_folder(models, models.post_trained)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    states = last_token_states(model, tokenizer, plan.samples.probed, batch=plan.batch)
    masks, calibration = _masks(plan, (model, tokenizer), base_refusals)
    teachers = _check(plan, "reminder", (model, tokenizer))
    with pruned(model, masks):
        teachers += _check(plan, "pruned", (model, tokenizer))
    del model
    gc.collect()
    return PostTrainedFindings(states, masks, teachers, calibration)


def _masks(
    plan: Plan, loaded: Loaded, base_refusals: list[list[int] | None]
) -> tuple[dict[str, Tensor], dict[str, int]]:
    model, tokenizer = loaded
    calibrated = plan.samples.calibrated
    safety, origins = refusals(tokenizer, calibrated[Role.HARMFUL], base_refusals, judge=plan.judge)
    reasoning = own_answers(
        model,
        tokenizer,
        calibrated[Role.REASONING],
        max_new_tokens=plan.calibration_tokens,
        batch=plan.batch,
    )
    norms = [
        input_norms(model, exchanges, pad=tokenizer.pad_token_id, batch=plan.batch)
        for exchanges in (reasoning, safety)
    ]
    masks = build_masks(model, reasoning=norms[0], safety=norms[1], q=plan.q, p=plan.p)
    counts = {f"{origin} refusals": count for origin, count in origins.items()}
    return masks, {"own reasoning": len(reasoning), **counts}


def _check(plan: Plan, kind: TeacherKind, loaded: Loaded) -> list[TeacherFigures]:
    """Return the candidate's figures, none where it is not a candidate."""
    if kind not in plan.teachers:
        return []
    figures = check_teacher(
        kind,
        *loaded,
        plan.samples.checked,
        reminder=plan.reminder if kind == "reminder" else None,
        judge=plan.judge,
        thresholds=plan.thresholds,
        max_new_tokens=plan.check_tokens,
        batch=plan.batch,
    )
    return [figures]
