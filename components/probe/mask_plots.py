"""Pictures of the pruning: where the removed weights lie, and what their removal does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from components.lm.masks import PROJECTIONS
from components.probe.canvas import BLUE, FAINT, GREEN, INK, ORANGE, draw, layer_ticks, legend
from components.probe.result import MaskSize, PruningPoint
from components.probe.set_difference import MatrixSize

NONE = "#EFEFEF"

# by, scope -> name, colour, marker, line, and a factor on the share, so that intervals at the same
# share stand side by side
SERIES = {
    ("set-difference", "matrix"): ("set difference", ORANGE, "s", "-", 1.0),
    ("set-difference", "row"): ("set difference, rows", GREEN, "D", "-", 1.0),
    ("set-difference, reminded", "matrix"): ("reminded", ORANGE, "P", "--", 0.95),
    ("set-difference, reminded", "row"): ("reminded, rows", GREEN, "P", "--", 1.05),
    ("uniform", "matrix"): ("random, uniform", FAINT, "o", ":", 0.9),
    ("uniform", "row"): ("random, uniform, rows", FAINT, "v", "-.", 0.82),
    ("magnitude-matched", "matrix"): ("same magnitudes", BLUE, "^", "--", 1.11),
    ("magnitude-matched", "row"): ("same magnitudes, rows", BLUE, "v", "-.", 1.22),
}
MEASURES = (
    ("harmful_refused", "harmful refused"),
    ("benign_refused", "benign refused"),
    ("coherent", "coherent answers"),
)


def draw_masks(path: Path, sizes: Sequence[MatrixSize], totals: Sequence[MaskSize]) -> None:
    """Write which share of the top reasoning weights serves safety too, by layer and projection."""
    removed, top = (sum(getattr(total, name) for total in totals) for name in ("removed", "top"))
    title = f"Removed by the chosen masks: {removed:,} of the {top:,} top reasoning weights"
    layers = max(size.layer for size in sizes)
    height = 160 + max(110, 10 * layers)
    draw(path, title, height, lambda figure: _masks(figure, sizes, totals))


def _masks(figure: Figure, sizes: Sequence[MatrixSize], totals: Sequence[MaskSize]) -> None:
    axes = figure.add_subplot()
    layers = max(size.layer for size in sizes)
    shares = np.full((layers, len(PROJECTIONS)), np.nan)
    for size in sizes:
        if size.top:
            place = size.layer - 1, PROJECTIONS.index(size.projection)
            shares[place] = 100 * size.removed / size.top
    edges = np.arange(len(PROJECTIONS) + 1) - 0.5, np.arange(layers + 1) + 0.5
    axes.set_facecolor(NONE)  # where not a weight is in the top share
    mesh = axes.pcolormesh(*edges, shares, cmap="viridis", vmin=0)
    axes.set_xticks(range(len(PROJECTIONS)), [_total(total) for total in totals])
    axes.set_yticks(layer_ticks(layers))
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("decoder layer")
    axes.grid(visible=False)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label("removed: % of the top\nreasoning weights")
    bar.outline.set_visible(False)


def _total(total: MaskSize) -> str:
    share = "–" if total.overlap is None else f"{100 * (1 - total.overlap):.0f} %"
    return f"{total.projection}\n{share}"


def draw_pruning(path: Path, points: Sequence[PruningPoint]) -> None:
    """Write what the model does against the share of weights removed, each way of choosing them."""
    n = points[0].harmful_refused.n, points[0].benign_refused.n
    title = f"Removing weights from the post-trained model (n = {n[0]} harmful, {n[1]} benign)"
    draw(path, title, 340, lambda figure: _pruning(figure, points))


def _pruning(figure: Figure, points: Sequence[PruningPoint]) -> None:
    panels = figure.subplots(1, 3, sharey=True)
    ticks = share_ticks([100 * point.removed / point.weights for point in points if point.removed])
    for axes, (measure, name) in zip(panels, MEASURES, strict=True):
        whole = getattr(points[0], measure)
        axes.axhline(100 * whole.rate, color=INK, lw=1, label="nothing removed")
        axes.axhspan(100 * whole.low, 100 * whole.high, color=INK, alpha=0.07, lw=0)
        for key, look in SERIES.items():
            own = [point for point in points if (point.by, point.scope) == key]
            if own:
                _series(axes, sorted(own, key=lambda point: point.removed), measure, look)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(ticks[0], ticks[-1])
        axes.set_title(name)
    panels[0].set_ylim(-7, 107)
    panels[0].set_ylabel("% of answers, 95 % interval")
    panels[1].set_xlabel("weights removed, % (rings: the masks of the pruned teachers)")
    legend(figure, panels[0], columns=3)


def share_ticks(shares: Sequence[float]) -> list[float]:
    """Return the values 1 and 3 of every power of ten that enclose the shares with some room."""
    grid = [digit * 10.0**power for power in range(-9, 3) for digit in (1, 3)]
    left, right = (end(look[-1] for look in SERIES.values()) for end in (min, max))
    low = max(tick for tick in grid if tick < left * min(shares))
    high = min(tick for tick in grid if tick > right * max(shares))
    return [tick for tick in grid if low <= tick <= high]


def _series(
    axes: Axes, points: Sequence[PruningPoint], measure: str, look: tuple[str, str, str, str, float]
) -> None:
    name, colour, marker, line, factor = look
    shares = [100 * factor * point.removed / point.weights for point in points]
    rates = [getattr(point, measure) for point in points]
    axes.errorbar(
        shares,
        [100 * rate.rate for rate in rates],
        yerr=[
            [100 * (rate.rate - rate.low) for rate in rates],
            [100 * (rate.high - rate.rate) for rate in rates],
        ],
        color=colour,
        marker=marker,
        ls=line,
        elinewidth=0.9,
        label=name,
    )
    for point, share, rate in zip(points, shares, rates, strict=True):
        if point.chosen:
            axes.plot(share, 100 * rate.rate, "o", ms=12, mfc="none", mec=INK, mew=1.2)
