"""What each model of the pair is asked, in one loading of its weights."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.core.vocabulary import Outcome, Role
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.lm.masks import PackedMask, pruned
from components.lm.references import ModelRef
from components.lm.teachers import find_teacher
from components.models.result import Models
from components.probe.answers import Answers, Judge, answer, outcomes
from components.probe.calibration import own_answers, own_refusals, refusals
from components.probe.directions import Axis, refusal_axis
from components.probe.last_tokens import States, last_token_states
from components.probe.positions import PositionFigure, project_positions
from components.probe.result import TeacherFigures
from components.probe.sampling import CHECKED, Rows, Samples
from components.probe.sweep import ASKED, Grid, Sweep, sweep_masks
from components.probe.teachers import Thresholds, figures
from components.probe.wanda import Exchange, input_norms

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Norms = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """Prompts, candidate teachers and settings of a study."""

    samples: Samples
    teachers: tuple[str, ...]
    reminder: str
    judge: Judge
    thresholds: Thresholds
    grid: Grid
    check_tokens: int
    calibration_tokens: int
    batch: int
    seed: int
    scratch: Path  # an empty folder for states


@dataclass(frozen=True, slots=True)
class BaseFindings:
    """What the base model showed. `refusals`: None for a harmful prompt it did not refuse."""

    states: States
    axis: Axis
    positions: list[PositionFigure]
    refusals: list[list[int] | None]
    teachers: list[TeacherFigures]


@dataclass(frozen=True, slots=True)
class PostTrainedFindings:
    """What the post-trained model showed. `calibration`: exchanges by where answers come from."""

    states: States
    axis: Axis
    positions: list[PositionFigure]
    sweep: Sweep
    teachers: list[TeacherFigures]
    calibration: dict[str, int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and the plan by which it is asked."""

    plan: Plan
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def states(self, name: str) -> States:
        """Return the last prompt tokens' states, in files of the scratch folder `name`."""
        folder = self.plan.scratch / name
        folder.mkdir()
        return last_token_states(
            self.model,
            self.tokenizer,
            self.plan.samples.probed,
            batch=self.plan.batch,
            folder=folder,
        )

    def answers(self, rows: Rows, label: str, *, reminder: str | None = None) -> Answers:
        """Return the greedy answers to the rows that a check asks, by role."""
        return {
            role: answer(
                self.model,
                self.tokenizer,
                rows[role],
                max_new_tokens=self.plan.check_tokens,
                batch=self.plan.batch,
                label=f"{label}, {role}",
                reminder=reminder,
            )
            for role in CHECKED
        }

    def outcomes(
        self, rows: Rows, label: str, *, reminder: str | None = None
    ) -> dict[Role, list[Outcome]]:
        """Return what the model, as it is now, does with the rows, by role."""
        return outcomes(self.answers(rows, label, reminder=reminder), self.plan.judge)

    def reminder(self, kind: str) -> str | None:
        """Return what stands before the prompts of a teacher of that kind."""
        return find_teacher(kind).reminder(self.plan.reminder)

    def check(self, kind: str, masks: Mapping[str, PackedMask] | None = None) -> TeacherFigures:
        """Return what the model does as a teacher of that kind, on all prompts of the check."""
        with (
            pruned(self.model, masks) if masks else nullcontext(),
            find_teacher(kind).applied(self.model),
        ):
            answers = self.answers(
                self.plan.samples.checked,
                f"checking teacher {kind}",
                reminder=self.reminder(kind),
            )
        return self.figures(kind, answers)

    def figures(self, kind: str, answers: Answers) -> TeacherFigures:
        """Return what the model shows as a teacher of that kind."""
        did = outcomes(answers, self.plan.judge)
        return figures(kind, did[Role.HARMFUL], did[Role.BENIGN], thresholds=self.plan.thresholds)


def open_model(plan: Plan, models: Models, ref: ModelRef) -> Loaded:
    """Return a checkpoint of the pair with the tokenizer through which it reads prompts.

    Models of one lineage both read what the post-trained one is served: so the base would teach,
    and only so do the states of both stand at the same tokens.
    """
    reads = models.post_trained if models.same_lineage else ref
    model = load_model(checkpoint_folder(models, ref))
    return Loaded(plan, model, load_tokenizer(checkpoint_folder(models, reads)))


def study_base(plan: Plan, models: Models) -> BaseFindings:
    """Return the base model's findings, the model itself freed.

    A base model of another lineage neither teaches nor lends its refusals: its tokens differ.
    """
    base = open_model(plan, models, models.base)
    calibrated = plan.samples.calibrated[Role.HARMFUL]
    own: list[list[int] | None] = [None] * len(calibrated)
    if models.same_lineage:
        own = own_refusals(
            base.model,
            base.tokenizer,
            calibrated,
            judge=plan.judge,
            max_new_tokens=plan.calibration_tokens,
            batch=plan.batch,
        )
    states = base.states("base")
    axis = refusal_axis(states)
    kinds = [kind for kind in plan.teachers if find_teacher(kind).is_base]
    rows = plan.samples.checked if "base" in kinds else plan.samples.swept
    answers = base.answers(rows, "asking the base model")
    findings = BaseFindings(
        states=states,
        axis=axis,
        positions=_positions("base", base, answers, axis),
        refusals=own,
        teachers=[
            base.figures(kind, answers) if kind == "base" else base.check(kind) for kind in kinds
        ],
    )
    del base
    gc.collect()
    return findings


def study_post_trained(plan: Plan, models: Models, base: BaseFindings) -> PostTrainedFindings:
    """Return the post-trained model's findings, the model itself freed."""
    tuned = open_model(plan, models, models.post_trained)
    states = tuned.states("post-trained")
    own = refusal_axis(states)
    swept = plan.samples.swept
    whole = tuned.answers(swept, "asking the post-trained model")
    # Of one lineage, both models are read on the base's axis: so a fall shows as one.
    axis = base.axis if models.same_lineage else own
    positions = _positions("post-trained", tuned, whole, axis)
    norms, calibration = _norms(tuned, base.refusals)
    sweep = sweep_masks(
        tuned.model,
        norms,
        outcomes(whole, plan.judge),
        {
            kind: partial(tuned.outcomes, swept, reminder=tuned.reminder(kind))
            for kind in ASKED
            if kind in {"pruned", *(find_teacher(name).masks for name in plan.teachers)}
        },
        grid=plan.grid,
        thresholds=plan.thresholds,
        seed=plan.seed,
    )
    teachers = _candidates(tuned, sweep)
    del tuned
    gc.collect()
    return PostTrainedFindings(states, own, positions, sweep, teachers, calibration)


def _positions(
    which: Literal["base", "post-trained"], asked: Loaded, answers: Answers, axis: Axis
) -> list[PositionFigure]:
    """Return the projections on the prompts that both models answered, so that they compare."""
    swept = {role: {row.id for row in rows} for role, rows in asked.plan.samples.swept.items()}
    return project_positions(
        which,
        asked.model,
        asked.tokenizer,
        {role: [one for one in own if one.row.id in swept[role]] for role, own in answers.items()},
        axis,
        batch=asked.plan.batch,
    )


def _norms(
    tuned: Loaded, base_refusals: list[list[int] | None]
) -> tuple[tuple[Norms, Norms], dict[str, int]]:
    """Return the norms of inputs on reasoning and on refusals, and the exchanges by origin."""
    plan, tokenizer = tuned.plan, tuned.tokenizer
    calibrated = plan.samples.calibrated
    safety, origins = refusals(tokenizer, calibrated[Role.HARMFUL], base_refusals, judge=plan.judge)
    reasoning = own_answers(
        tuned.model,
        tokenizer,
        calibrated[Role.REASONING],
        max_new_tokens=plan.calibration_tokens,
        batch=plan.batch,
    )

    def norms(exchanges: list[Exchange]) -> Norms:
        return input_norms(tuned.model, exchanges, pad=tokenizer.pad_token_id, batch=plan.batch)

    counts = {f"{origin} refusals": count for origin, count in origins.items()}
    return (norms(reasoning), norms(safety)), {"own reasoning": len(reasoning), **counts}


def _candidates(tuned: Loaded, sweep: Sweep) -> list[TeacherFigures]:
    """Return the figures of the post-trained model's candidates, on all prompts of the check."""
    kinds = [kind for kind in tuned.plan.teachers if not find_teacher(kind).is_base]
    masks = {name: best.masks for name, best in sweep.best.items()}
    return [tuned.check(kind, masks.get(find_teacher(kind).masks or "")) for kind in kinds]
