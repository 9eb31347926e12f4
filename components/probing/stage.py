"""Stage `probe`: where the pair sees harm, what post-training moved, and who may teach."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from safetensors.torch import save_file

from components import config, results
from components.lm.masks import save_masks
from components.lm.outcomes import outcome
from components.probing.directions import check_folds, layer_probes, refusal_directions
from components.probing.plots import draw_plots
from components.probing.sampling import draw_samples
from components.probing.set_difference import mask_sizes
from components.probing.study import Plan, study_base, study_post_trained
from components.probing.targets import check_layers, choose_targets
from components.probing.teachers import Thresholds, candidates, choose_teacher
from components.records import Role
from components.storage import atomic_path
from components.workspace import DIRECTIONS, MASKS, PLOTS


def probe(
    section: config.Probe,
    prompts: results.PromptSet,
    models: results.Models,
    *,
    seed: int,
    out: Path,
) -> results.Probe:
    """Return the pair's diagnosis, with directions, masks and plots beside it.

    Raises `TeacherError` where no teacher passes its check: nothing may be trained then.
    """
    plan = _plan(section, prompts, models, seed)
    base = study_base(plan, models)
    post_trained = study_post_trained(plan, models, base.refusals)
    layers = layer_probes(
        base.states,
        post_trained.states,
        same_lineage=models.same_lineage,
        folds=section.folds,
        seed=seed,
    )
    figures = {f.teacher: f for f in (*base.teachers, *post_trained.teachers)}
    diagnosis = results.Probe(
        layers=layers,
        masks=mask_sizes(post_trained.masks),
        teachers=tuple(figures[kind] for kind in plan.teachers),
        teacher=choose_teacher([figures[kind] for kind in plan.teachers], section.teacher),
        reminder=section.reminder,
        target_layers=_targets(section, layers, same_lineage=models.same_lineage),
        prompts={role: len(rows) for role, rows in plan.samples.probed.items()},
        calibration=post_trained.calibration,
    )
    directions = {
        name: refusal_directions(states[Role.HARMFUL], states[Role.BENIGN])
        for name, states in (("base", base.states), ("post_trained", post_trained.states))
    }
    with atomic_path(out / DIRECTIONS) as scratch:
        save_file(directions, scratch)
    save_masks(out / MASKS, post_trained.masks)
    draw_plots(out / PLOTS, diagnosis)
    return diagnosis.save(out)


def _plan(
    section: config.Probe, prompts: results.PromptSet, models: results.Models, seed: int
) -> Plan:
    """Return what to ask; what of it cannot be done is refused here, before any weight loads."""
    if section.target_layers != "auto":
        check_layers(section.target_layers, layers=models.post_trained.layers)
    teachers = candidates(section.teachers, section.teacher, same_lineage=models.same_lineage)
    samples = draw_samples(
        prompts,
        probed=section.prompts,
        calibrated=section.pruning.calibration,
        checked=section.check_prompts,
        seed=seed,
    )
    counts = {role: len(rows) for role, rows in samples.probed.items()}
    check_folds(counts[Role.HARMFUL], counts[Role.BENIGN], folds=section.folds)
    return Plan(
        samples=samples,
        teachers=teachers,
        reminder=section.reminder,
        judge=partial(
            outcome,
            refusal_patterns=section.rules.refusal_patterns,
            compliance_pattern=section.rules.compliance_pattern,
        ),
        thresholds=Thresholds(
            min_harmful_refused=section.check.min_harmful_refused,
            max_benign_refused=section.check.max_benign_refused,
            min_coherent=section.check.min_coherent,
        ),
        check_tokens=section.check_tokens,
        calibration_tokens=section.pruning.tokens,
        q=section.pruning.q,
        p=section.pruning.p,
        batch=section.batch,
    )


def _targets(
    section: config.Probe, layers: tuple[results.LayerProbe, ...], *, same_lineage: bool
) -> tuple[int, ...]:
    if section.target_layers != "auto":
        return check_layers(section.target_layers, layers=len(layers))
    # Of another lineage, the base's layers are not the student's: the student's own figures decide.
    aucs = [
        layer.auc_base if same_lineage and layer.auc_base is not None else layer.auc_post_trained
        for layer in layers
    ]
    return choose_targets(aucs, count=section.target_count)
