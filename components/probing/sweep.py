"""How refusal returns as weights are removed, and which share and scope make the best teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from components.config import Scope
from components.errors import ConfigError
from components.lm.masks import PackedMask, projections, pruned
from components.probing.answers import rate
from components.probing.controls import matched_masks, uniform_masks
from components.probing.sampling import CHECKED
from components.probing.set_difference import SetDifference, build_masks
from components.probing.teachers import Thresholds, figures, ranking
from components.records import Outcome, Role
from components.results import PrunedBy, PruningPoint, TeacherFigures

log = logging.getLogger(__name__)

Outcomes = Mapping[Role, Sequence[Outcome]]
Measure = Callable[[str], Outcomes]  # asks the model as it is now; the label is for the log


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
    """Every point, the whole model first, and the set difference of the chosen one."""

    points: tuple[PruningPoint, ...]
    best: SetDifference


def sweep_masks(
    model: nn.Module,
    norms: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    whole: Outcomes,
    measure: Measure,
    *,
    grid: Grid,
    thresholds: Thresholds,
    seed: int,
) -> Sweep:
    """Return what the model does at every point of the grid, and the best of them.

    `norms` are those of the inputs on reasoning and on refusals, `whole` is what the whole model
    did. Best is what makes the best teacher (`teachers.ranking`), the smaller share of equals; only
    one set difference more than the current one is held. Raises `ConfigError` where no share
    removes a weight: an unpruned model is no pruned teacher.
    """
    weights = sum(linear.weight.numel() for linear in projections(model).values())
    points = [_point("nothing", None, (None, None), 0, weights, whole)]
    best: tuple[TeacherFigures, SetDifference, int] | None = None  # and where in `points` it is
    generator = np.random.default_rng(seed)
    for scope, share, kept in grid:
        found = build_masks(
            model, reasoning=norms[0], safety=norms[1], share=share, kept=kept, scope=scope
        )
        if found.removed == 0:
            log.info("no weight is removed, so there is nothing to measure")
            continue
        arms = _arms(model, found.masks, scope, controls=grid.controls, generator=generator)
        for by, masks in arms:
            with pruned(model, masks):
                did = measure(f"without {share:g}{_but(share, kept)} per {scope}, {by}")
            points.append(_point(by, scope, (share, kept), found.removed, weights, did))
            if by == "set-difference":
                judged = figures("pruned", *(did[role] for role in CHECKED), thresholds=thresholds)
                if best is None or ranking(judged) > ranking(best[0]):
                    best = (judged, found, len(points) - 1)
    if best is None:
        raise _nothing_removed(grid)
    points[best[2]] = points[best[2]].model_copy(update={"chosen": True})
    return Sweep(tuple(points), best[1])


def _but(share: float, kept: float) -> str:
    return "" if kept == share else f" but {kept:g}"


def _nothing_removed(grid: Grid) -> ConfigError:
    return ConfigError(
        f"probe.pruning.shares is {dict(grid.shares)}, and none of them removes a weight: the "
        "matrices are too small, or the top weights of both sets are the same; give larger ones "
        "there, or smaller ones under `kept`"
    )


def _arms(
    model: nn.Module,
    masks: dict[str, PackedMask],
    scope: Scope,
    *,
    controls: bool,
    generator: np.random.Generator,
) -> Iterator[tuple[PrunedBy, dict[str, PackedMask]]]:
    """Yield the masks and then, one after the other, their controls."""
    yield "set-difference", masks
    if controls:
        yield "uniform", uniform_masks(masks, scope=scope, generator=generator)
        yield "magnitude-matched", matched_masks(model, masks, scope=scope, generator=generator)


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
