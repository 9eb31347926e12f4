"""Stage `probe`: where the pair sees harm, what post-training moved, and who may teach."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from components.core.paths import DIRECTIONS, MASKS, PLOTS
from components.core.storage import atomic_path
from components.core.vocabulary import Role
from components.judges.rules.outcomes import outcome
from components.lm.masks import save_masks
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.layers import layer_probes
from components.probe.plots import draw_plots
from components.probe.result import LayerProbe, Probe
from components.probe.sampling import draw_samples
from components.probe.separability import draw_folds
from components.probe.set_difference import mask_sizes
from components.probe.settings import ProbeSettings
from components.probe.study import (
    BaseFindings,
    Plan,
    PostTrainedFindings,
    study_base,
    study_post_trained,
)
from components.probe.sweep import Grid
from components.probe.tables import write_tables
from components.probe.targets import check_layers, choose_targets
from components.probe.teachers import Thresholds, candidates, choose_teacher


def probe(
    section: ProbeSettings,
    prompts: PromptSet,
    models: Models,
    *,
    seed: int,
    out: Path,
) -> Probe:
    """Return the pair's diagnosis, with directions, masks, tables and plots beside it.

    Raises `TeacherError` where no teacher passes its check: nothing may be trained then.
    """
    with TemporaryDirectory(prefix=".states-", dir=out) as scratch:
        plan = _plan(section, prompts, models, seed, Path(scratch))
        probed = plan.samples.probed
        folds = draw_folds(
            probed[Role.HARMFUL], probed[Role.BENIGN], folds=section.folds, seed=seed
        )
        base = study_base(plan, models)
        post_trained = study_post_trained(plan, models, base)
        axes = (base.axis, post_trained.axis) if models.same_lineage else None
        layers = layer_probes(base.states, post_trained.states, axes=axes, folds=folds)
    figures = {f.teacher: f for f in (*base.teachers, *post_trained.teachers)}
    diagnosis = Probe(
        layers=layers,
        folded_by=folds.by,
        masks=mask_sizes(post_trained.sweep.best["pruned"].sizes),
        pruning=post_trained.sweep.points,
        teachers=tuple(figures[kind] for kind in plan.teachers),
        check_tokens=plan.check_tokens,
        teacher=choose_teacher([figures[kind] for kind in plan.teachers], section.teacher),
        reminder=section.reminder,
        target_layers=_targets(section, layers, same_lineage=models.same_lineage),
        prompts={role: len(rows) for role, rows in probed.items()},
        calibration=post_trained.calibration,
    )
    _write(out, diagnosis, base, post_trained)
    return diagnosis.save(out)


def _write(
    out: Path, diagnosis: Probe, base: BaseFindings, post_trained: PostTrainedFindings
) -> None:
    """Write what lies beside the result."""
    directions = {"base": base.axis.directions, "post_trained": post_trained.axis.directions}
    with atomic_path(out / DIRECTIONS) as scratch:
        save_file(directions, scratch)
    for kind, found in post_trained.sweep.best.items():
        save_masks(out / MASKS[kind], found.masks)
    positions = [*base.positions, *post_trained.positions]
    sizes = post_trained.sweep.best["pruned"].sizes
    write_tables(out, diagnosis.pruning, sizes, positions)
    draw_plots(out / PLOTS, diagnosis, sizes, positions)


def _plan(
    section: ProbeSettings,
    prompts: PromptSet,
    models: Models,
    seed: int,
    scratch: Path,
) -> Plan:
    """Return what to ask; what of it cannot be done is refused here, before any weight loads."""
    if section.target_layers != "auto":
        check_layers(section.target_layers, layers=models.post_trained.layers)
    teachers = candidates(section.teachers, section.teacher, same_lineage=models.same_lineage)
    pruning = section.pruning
    return Plan(
        samples=draw_samples(
            prompts,
            probed=section.prompts,
            calibrated=pruning.calibration,
            checked=section.check_prompts,
            swept=pruning.prompts,
            seed=seed,
        ),
        teachers=teachers,
        reminder=section.reminder,
        judge=partial(
            outcome,
            refusal_patterns=section.rules.refusal_patterns,
            compliance_pattern=section.rules.compliance_pattern,
        ),
        thresholds=Thresholds(**section.check.model_dump()),
        grid=Grid(pruning.shares, pruning.kept, pruning.controls),
        check_tokens=section.check_tokens,
        calibration_tokens=pruning.tokens,
        batch=section.batch,
        seed=seed,
        scratch=scratch,
    )


def _targets(
    section: ProbeSettings, layers: tuple[LayerProbe, ...], *, same_lineage: bool
) -> tuple[int, ...]:
    if section.target_layers != "auto":
        return check_layers(section.target_layers, layers=len(layers))
    # Of another lineage, the base's layers are not the student's: the student's own figures decide.
    figures = [
        layer.auc_base if same_lineage and layer.auc_base is not None else layer.auc_post_trained
        for layer in layers
    ]
    return choose_targets([figure.auc for figure in figures], count=section.target_count)
