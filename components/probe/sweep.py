"""How refusal returns as weights are removed, and which share and scope make the best teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor, nn

from components.core.errors import ConfigError
from components.lm.masks import PackedMask, projections, pruned
from components.probe.answers import Outcomes, measure
from components.probe.controls import matched_masks, uniform_masks
from components.probe.result import PrunedBy, PruningPoint, Scope, TeacherFigures
from components.probe.set_difference import SetDifference, build_masks
from components.probe.settings import Pruning, TeacherCheck
from components.probe.teachers import figures, ranking

log = logging.getLogger(__name__)

Try = Callable[[str], Outcomes]  # what the model, as it is now, does; the label is for the log

# The pruned teachers, and what their points are called.
PRUNED: dict[str, PrunedBy] = {
    "pruned": "set-difference",
    "pruned-reminder": "set-difference, reminded",
}


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every point, the whole model first, and the set difference that each teacher is made of."""

    points: tuple[PruningPoint, ...]
    best: dict[str, SetDifference]


def sweep_masks(
    model: nn.Module,
    norms: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    whole: Outcomes,
    tries: Mapping[str, Try],
    *,
    pruning: Pruning,
    check: TeacherCheck,
    seed: int,
) -> Sweep:
    """Return what the model does at every point of the grid, and the best of them.

    `norms` are those of the inputs on reasoning and on refusals, `whole` is what the whole model
    did. `tries` has an entry for each pruned teacher, with its reminder; that of `pruned` is also
    used for the controls. Best is what makes the best teacher of its name (`teachers.ranking`), the
    smaller share of equals; one set difference a teacher and the current one are held. Raises
    `ConfigError` where no share removes a weight: an unpruned model is no pruned teacher.
    """
    weights = sum(linear.weight.numel() for linear in projections(model).values())
    nothing = {"scope": None, "share": None, "kept": None, "removed": 0, "weights": weights}
    points = [PruningPoint(by="nothing", **nothing, **measure(whole))]
    best: dict[str, tuple[TeacherFigures, SetDifference, int]] = {}
    generator = np.random.default_rng(seed)
    for scope, share, kept in pruning.grid():
        found = build_masks(
            model, reasoning=norms[0], safety=norms[1], share=share, kept=kept, scope=scope
        )
        if found.removed == 0:
            log.info("no weight is removed, so there is nothing to measure")
            continue
        label = f"without {share:g}{'' if kept == share else f' but {kept:g}'} per {scope}"
        at = {"scope": scope, "share": share, "kept": kept, "removed": found.removed}
        point = partial(PruningPoint, **at, weights=weights)
        for name, attempt in tries.items():
            with pruned(model, found.masks):
                did = attempt(f"{label}, {PRUNED[name]}")
            points.append(point(by=PRUNED[name], **measure(did)))
            own = figures(name, did, check=check)
            if name not in best or ranking(own) > ranking(best[name][0]):
                best[name] = own, found, len(points) - 1
        if pruning.controls:
            for by, masks in _controls(model, found.masks, scope, generator):
                with pruned(model, masks):
                    did = tries["pruned"](f"{label}, {by}")
                points.append(point(by=by, **measure(did)))
    if not best:
        raise ConfigError(
            f"probe.pruning.shares is {dict(pruning.shares)}, and none of them removes a weight: "
            "the matrices are too small, or the top weights of both sets are the same; give larger "
            "ones there, or smaller ones under `kept`"
        )
    for _, _, place in best.values():
        points[place] = points[place].model_copy(update={"chosen": True})
    return Sweep(tuple(points), {name: found for name, (_, found, _) in best.items()})


def _controls(
    model: nn.Module, masks: dict[str, PackedMask], scope: Scope, generator: np.random.Generator
) -> Iterator[tuple[PrunedBy, dict[str, PackedMask]]]:
    """Yield the controls of a set difference, one after the other."""
    yield "uniform", uniform_masks(masks, scope=scope, generator=generator)
    yield "magnitude-matched", matched_masks(model, masks, generator=generator)
