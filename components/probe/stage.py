"""Stage `probe`: where the pair sees harm, what post-training moved, and who may teach."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from components.core.paths import DIRECTIONS, MASKS, PLOTS
from components.core.storage import atomic_path
from components.core.vocabulary import Role
from components.lm.masks import save_masks
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.layers import check_layers
from components.probe.method import diagnose
from components.probe.pair import Plan
from components.probe.plots import draw_plots
from components.probe.result import Probe
from components.probe.sampling import draw_samples
from components.probe.separability import draw_folds
from components.probe.set_difference import mask_sizes
from components.probe.settings import ProbeSettings
from components.probe.tables import write_tables
from components.probe.teachers import candidates, choose_teacher


def probe(
    section: ProbeSettings, prompts: PromptSet, models: Models, *, seed: int, out: Path
) -> Probe:
    """Return the pair's diagnosis, with directions, masks, tables and plots beside it.

    Raises `TeacherError` where no teacher passes its check: nothing may be trained then.
    """
    with TemporaryDirectory(prefix=".states-", dir=out) as scratch:
        plan = _plan(section, prompts, models, seed, Path(scratch))
        found = diagnose(plan)
    figures = {f.teacher: f for f in (*found.base.teachers, *found.post_trained.teachers)}
    teachers = tuple(figures[name] for name in plan.teachers)
    sizes = found.tried.sweep.best["pruned"].sizes
    result = Probe(
        layers=found.layers,
        folded_by=plan.folds.by,
        masks=mask_sizes(sizes),
        pruning=found.tried.sweep.points,
        teachers=teachers,
        check_tokens=section.check_tokens,
        teacher=choose_teacher(teachers, section.teacher),
        reminder=section.reminder,
        contexts=found.tried.contexts,
        scales=found.tried.scales,
        masking=found.masking,
        target_layers=found.targets,
        prompts={role: len(rows) for role, rows in plan.samples.probed.items()},
        calibration=found.tried.calibration,
    )
    readings = {"base": found.base, "post_trained": found.post_trained}
    with atomic_path(out / DIRECTIONS) as target:
        save_file({name: own.axis.directions for name, own in readings.items()}, target)
    for name, difference in found.tried.sweep.best.items():
        save_masks(out / MASKS[name], difference.masks)
    positions = [*found.base.positions, *found.post_trained.positions]
    write_tables(out, result.pruning, sizes, positions)
    draw_plots(out / PLOTS, result, sizes, positions)
    return result.save(out)


def _plan(
    section: ProbeSettings, prompts: PromptSet, models: Models, seed: int, scratch: Path
) -> Plan:
    """Return what to do; what of it cannot be done is refused here, before any weight loads."""
    if section.target_layers != "auto":
        check_layers(section.target_layers, layers=models.post_trained.layers)
    teachers = candidates(
        section.teachers,
        section.teacher,
        same_lineage=models.same_lineage,
        ancestor=models.ancestor is not None,
    )
    samples = draw_samples(
        prompts,
        probed=section.prompts,
        calibrated=section.pruning.calibration,
        checked=section.check_prompts,
        swept=section.pruning.prompts,
        seed=seed,
    )
    harmful, benign = samples.probed[Role.HARMFUL], samples.probed[Role.BENIGN]
    folds = draw_folds(harmful, benign, folds=section.folds, seed=seed)
    return Plan(section, models, samples, teachers, folds, seed, scratch)
