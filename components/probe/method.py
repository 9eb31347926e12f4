"""The diagnosis on one page: what SafeReAct (arXiv 2604.00012) finds out before it trains.

The claim: post-training masks the safety of the base model and does not remove it. Let `h_l(x)_t`
be the state of prompt x at decoder layer l and token t, and `W` a matrix with inputs `X`.

1. Separability. A linear probe on `h_l(x)_-1` tells harmful from benign prompts: AUC by layer.
2. Refusal direction. `r_l = mean h_l(harmful)_-1 - mean h_l(benign)_-1` (arXiv 2406.11717, section
   2.3), and the projection of `h_l(x)_t` on it by position.
3. Wanda score. `S = |W| * ||X||_2` (arXiv 2306.11695, equation 1), on the model's own reasoning and
   on refusals.
4. Set difference. The top share by the first score minus the top share by the second (arXiv
   2402.05162, section 3). Random masks of the same size are the controls.
5. Pruned teacher. The post-trained model without these weights, which are chosen by what it does.
   In place of that, a context before the prompt may bring refusals back (the best of a pool), or
   what alignment changed in its ancestor's weights (at the best of some scales).
6. Check. A teacher refuses harmful prompts and writes language, before anything is trained.
7. Masked or lost? What of the base, read or put into the post-trained model, shows that its safety
   is still there (masking.py).
8. Target layers. Spread over depth, where the model with its safety tells the prompts apart.

One model is in memory at a time: first the base, then the post-trained model. The AUCs of step 1
are those of the stored states of both, so they are computed when no model is in memory.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial

from components.core.result import RateFigure
from components.core.vocabulary import Outcome, Role
from components.lm.teachers import find_teacher
from components.probe.answers import (
    Answers,
    Exchange,
    outcomes,
    rate,
    refusals,
    written_refusals,
)
from components.probe.directions import Axis, States, refusal_axis
from components.probe.layers import check_layers, choose_targets, layer_probes
from components.probe.masking import BaseTrace, Intervening, trace_base
from components.probe.pair import PairModel, Plan
from components.probe.positions import PositionFigure
from components.probe.result import (
    ContextFigures,
    Intervention,
    LayerProbe,
    Masking,
    TeacherFigures,
    VectorFigures,
)
from components.probe.set_difference import input_norms
from components.probe.sweep import PRUNED, Sweep, sweep_masks
from components.probe.transfer import transfer_figures

PutIn = tuple[RateFigure, tuple[Intervention, ...]]  # as it is, and with each intervention


@dataclass(frozen=True, slots=True)
class Reading:
    """What one model showed."""

    states: States
    axis: Axis
    positions: list[PositionFigure]
    teachers: list[TeacherFigures]  # of the candidates that are changes of this model
    trace: BaseTrace | None = None  # of the base, where masking is measured


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried to make teachers of the post-trained model."""

    sweep: Sweep
    contexts: tuple[ContextFigures, ...]  # the best first
    scales: tuple[VectorFigures, ...]  # the best first
    calibration: dict[str, int]  # exchanges behind the scores, by where their answers come from
    put_in: PutIn | None  # None where masking is not measured


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the pair showed."""

    base: Reading
    post_trained: Reading
    tried: Tried
    layers: tuple[LayerProbe, ...]
    targets: tuple[int, ...]
    masking: Masking | None


def diagnose(plan: Plan) -> Diagnosis:
    """Return the figures of all steps."""
    base, refused = read_base(plan)
    post_trained, tried = read_post_trained(plan, base, refused)
    # 1. Separability, and what post-training moved
    axes = (base.axis, post_trained.axis) if plan.models.same_lineage else None
    layers = layer_probes(base.states, post_trained.states, axes=axes, folds=plan.folds)
    # 7. Masked or lost?
    masking = None
    if base.trace and tried.put_in:
        states, (alone, interventions) = (base.states, post_trained.states), tried.put_in
        masking = Masking(
            asked=base.trace.asked,
            alone=alone,
            transfer=transfer_figures(*states, base.axis, plan.folds, seed=plan.seed),
            interventions=interventions,
        )
    # 8. Target layers
    targets = target_layers(plan, layers)
    return Diagnosis(base, post_trained, tried, layers, targets, masking)


def read_base(plan: Plan) -> tuple[Reading, list[list[int] | None]]:
    """Return what the base shows, and the token ids of its refusals of the calibration prompts.

    None stands for a prompt that it did not refuse, and for every prompt where the pair is of
    different lineage, since then its tokens differ.
    """
    base = PairModel.load(plan, plan.models.base)
    refused: list[list[int] | None] = [None for _ in plan.samples.calibrated[Role.HARMFUL]]
    if plan.models.same_lineage:
        own = base.calibrate(Role.HARMFUL, "calibration refusals")
        refused = written_refusals(own, plan.judge)
    # 1. and 2. States and refusal direction
    states = base.states("base")
    axis = refusal_axis(states)
    rows = plan.samples.checked if "base" in plan.teachers else plan.samples.swept
    answers = base.answers(rows, "answers of the base model")
    positions = base.positions("base", answers, axis)
    # 6. Check. The answers above are those of the teacher `base`.
    names = [name for name in plan.teachers if find_teacher(name).is_base]
    teachers = [
        base.figures(name, answers) if name == "base" else base.check(name, {}, plan.means())
        for name in names
    ]
    # 7. What of the base is put into the post-trained model
    trace, masking = None, plan.settings.masking
    if masking and plan.models.same_lineage:
        trace = trace_base(base, base.swept(answers), plan.judge, prompts=masking.prompts)
    del base
    gc.collect()
    return Reading(states, axis, positions, teachers, trace), refused


def read_post_trained(
    plan: Plan, base: Reading, refused: list[list[int] | None]
) -> tuple[Reading, Tried]:
    """Return what the post-trained model shows, and what was tried to make teachers of it."""
    tuned = PairModel.load(plan, plan.models.post_trained)
    # 1. and 2. Of one lineage, both models are read on the base's direction: so a fall shows.
    states = tuned.states("post-trained")
    own_axis = refusal_axis(states)
    answers = tuned.answers(plan.samples.swept, "answers of the post-trained model")
    axis = base.axis if plan.models.same_lineage else own_axis
    positions = tuned.positions("post-trained", answers, axis)
    # 3. Wanda score, by the norms of inputs
    harmful = plan.samples.calibrated[Role.HARMFUL]
    own = {"base": refused, "reminded": tuned.reminded_refusals(refused)}
    safety, origins = refusals(tuned.tokenizer, harmful, own, judge=plan.judge)
    written = tuned.calibrate(Role.REASONING, "calibration answers")
    reasoning = [Exchange(one.prompt, one.written) for one in written]
    pad = tuned.tokenizer.pad_token_id
    norms = partial(input_norms, tuned.model, pad=pad, batch=tuned.batch)
    # 4. and 5. Set difference and pruned teachers
    needed = {"pruned", *(find_teacher(name).masks for name in plan.teachers)}
    sweep = sweep_masks(
        tuned.model,
        (norms(reasoning), norms(safety)),
        outcomes(answers, plan.judge),
        {name: partial(tuned.outcomes, name) for name in PRUNED if name in needed},
        pruning=plan.settings.pruning,
        check=plan.settings.check,
        seed=plan.seed,
    )
    # 6. Check
    names = [name for name in plan.teachers if not find_teacher(name).is_base]
    contexts = tuned.contexts()
    scales = tuned.scales()
    means = plan.means(contexts, scales)
    teachers = [tuned.check(name, sweep.best, means) for name in names]
    # 7. Masked or lost?
    put_in = intervene(tuned, base.trace, base.axis, answers) if base.trace else None
    del tuned
    gc.collect()
    counts = {f"{origin} refusals": count for origin, count in origins.items()}
    reading = Reading(states, own_axis, positions, teachers)
    counts = {"own reasoning": len(reasoning), **counts}
    return reading, Tried(sweep, contexts, scales, counts, put_in)


def intervene(tuned: PairModel, trace: BaseTrace, axis: Axis, answers: Answers) -> PutIn:
    """Return what the post-trained model refuses of what the base does, as it is by its `answers`
    and with each intervention."""
    plan = tuned.plan
    harmful = {row.id for row in trace.rows[Role.HARMFUL]}
    alone = [plan.judge(one.judged) for one in answers[Role.HARMFUL] if one.row.id in harmful]
    tokens = plan.settings.check_tokens
    put_in = Intervening(tuned, trace, axis, plan.judge, tokens, plan.seed)
    return rate(alone.count(Outcome.REFUSED), len(alone)), put_in.every()


def target_layers(plan: Plan, layers: tuple[LayerProbe, ...]) -> tuple[int, ...]:
    """Return the layers of the settings, or those that `auto` chooses by the AUCs of step 1.

    Of another lineage, the base's layers are not the student's: the student's own figures decide.
    """
    settings, by_base = plan.settings, plan.models.same_lineage
    if settings.target_layers != "auto":
        return check_layers(settings.target_layers, layers=len(layers))
    figures = [(by_base and layer.auc_base) or layer.auc_post_trained for layer in layers]
    return choose_targets([figure.auc for figure in figures], count=settings.target_count)
