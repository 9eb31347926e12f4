"""How refusal returns as weights are removed, and which share and scope make the best teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from components.core.errors import ConfigError
from components.core.vocabulary import Outcome, Role
from components.lm.masks import PackedMask, projections, pruned
from components.probe.answers import rate
from components.probe.controls import matched_masks, uniform_masks
from components.probe.result import PrunedBy, PruningPoint, Scope, TeacherFigures
from components.probe.sampling import CHECKED
from components.probe.set_difference import SetDifference, build_masks
from components.probe.teachers import Thresholds, figures, ranking

log = logging.getLogger(__name__)

Outcomes = Mapping[Role, Sequence[Outcome]]
Measure = Callable[[str], Outcomes]  # asks the model as it is now; the label is for the log

# Who may be asked without the weights of a set difference, and what its points are called.
ASKED: dict[str, PrunedBy] = {
    "pruned": "set-difference",
    "pruned-reminder": "set-difference, reminded",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """What is swept. With `controls`, every point has its two random masks."""

    shares: Mapping[Scope, Sequence[float]]
    kept: Sequence[float] | None  # None: of both scores the same share
    controls: bool

    def __iter__(self) -> Iterator[tuple[Scope, float, float]]:
        """Yield scope, share and the share that is kept, each scope's smallest first."""
        for scope, shares in self.shares.items():
            for share in sorted(shares):
                yield from ((scope, share, kept) for kept in sorted(self.kept or (share,)))


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every point, the whole model first, and the set difference that each teacher is made of."""

    points: tuple[PruningPoint, ...]
    best: dict[str, SetDifference]


@dataclass(frozen=True, slots=True)
class _Leader:
    """The best teacher of its kind so far."""

    figures: TeacherFigures
    found: SetDifference
    point: int  # its place among the points


def sweep_masks(
    model: nn.Module,
    norms: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    whole: Outcomes,
    measures: Mapping[str, Measure],
    *,
    grid: Grid,
    thresholds: Thresholds,
    seed: int,
) -> Sweep:
    """Return what the model does at every point of the grid, and the best of them.

    `norms` are those of the inputs on reasoning and on refusals, `whole` is what the whole model
    did. `measures` ask as each kind of pruned teacher is asked, `pruned` among them, which asks the
    controls, too. Best is what makes the best teacher of its kind (`teachers.ranking`), the smaller
    share of equals; one set difference a kind and the current one are held. Raises `ConfigError`
    where no share removes a weight: an unpruned model is no pruned teacher.
    """
    weights = sum(linear.weight.numel() for linear in projections(model).values())
    points = [_point("nothing", None, (None, None), 0, weights, whole)]
    leaders: dict[str, _Leader] = {}
    generator = np.random.default_rng(seed)
    for scope, share, kept in grid:
        found = build_masks(
            model, reasoning=norms[0], safety=norms[1], share=share, kept=kept, scope=scope
        )
        if found.removed == 0:
            log.info("no weight is removed, so there is nothing to measure")
            continue
        where = f"without {share:g}{_but(share, kept)} per {scope}"
        for kind, measure in measures.items():
            with pruned(model, found.masks):
                did = measure(f"{where}, {ASKED[kind]}")
            points.append(_point(ASKED[kind], scope, (share, kept), found.removed, weights, did))
            judged = figures(kind, *(did[role] for role in CHECKED), thresholds=thresholds)
            if kind not in leaders or ranking(judged) > ranking(leaders[kind].figures):
                leaders[kind] = _Leader(judged, found, len(points) - 1)
        for by, masks in _controls(model, found.masks, scope, generator) if grid.controls else ():
            with pruned(model, masks):
                did = measures["pruned"](f"{where}, {by}")
            points.append(_point(by, scope, (share, kept), found.removed, weights, did))
    if not leaders:
        raise _nothing_removed(grid)
    for leader in leaders.values():
        points[leader.point] = points[leader.point].model_copy(update={"chosen": True})
    return Sweep(tuple(points), {kind: leader.found for kind, leader in leaders.items()})


def _but(share: float, kept: float) -> str:
    return "" if kept == share else f" but {kept:g}"


def _nothing_removed(grid: Grid) -> ConfigError:
    return ConfigError(
        f"probe.pruning.shares is {dict(grid.shares)}, and none of them removes a weight: the "
        "matrices are too small, or the top weights of both sets are the same; give larger ones "
        "there, or smaller ones under `kept`"
    )


def _controls(
    model: nn.Module,
    masks: dict[str, PackedMask],
    scope: Scope,
    generator: np.random.Generator,
) -> Iterator[tuple[PrunedBy, dict[str, PackedMask]]]:
    """Yield the controls of a set difference, one after the other."""
    yield "uniform", uniform_masks(masks, scope=scope, generator=generator)
    yield "magnitude-matched", matched_masks(model, masks, generator=generator)


def _point(
    by: PrunedBy,
    scope: Scope | None,
    shares: tuple[float, float] | tuple[None, None],
    removed: int,
    weights: int,
    did: Outcomes,
) -> PruningPoint:
    harmful, benign = (did[role] for role in CHECKED)
    everything = (*harmful, *benign)
    return PruningPoint(
        by=by,
        scope=scope,
        share=shares[0],
        kept=shares[1],
        removed=removed,
        weights=weights,
        harmful_refused=rate(harmful.count(Outcome.REFUSED), len(harmful)),
        benign_refused=rate(benign.count(Outcome.REFUSED), len(benign)),
        coherent=rate(len(everything) - everything.count(Outcome.NEITHER), len(everything)),
    )
