"""The diagnosis as pictures: layers, positions, masks, pruning and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from components.core.vocabulary import Role
from components.lm.masks import PROJECTIONS
from components.probe.canvas import BLUE, FAINT, GREEN, INK, ORANGE, Look, draw, legend
from components.probe.masking_plot import draw_masking
from components.probe.positions import READ, PositionFigure
from components.probe.result import MaskSize, Probe, PruningPoint, TeacherFigures
from components.probe.set_difference import MatrixSize

# Role -> colour, marker, line
ROLES = {
    Role.HARMFUL: (ORANGE, "s", "-"),
    Role.BENIGN: (BLUE, "o", "--"),
    Role.REASONING: (GREEN, "D", "-."),
}
# By, scope -> name, colour, marker, line, and a factor on the share, so that intervals at the same
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
MODELS = {"base": "--", "post-trained": "-"}  # model -> line
MEASURES = {  # -> title of its panel, name and colour of its bar
    "harmful_refused": ("harmful refused", "refuses harmful", ORANGE),
    "benign_refused": ("benign refused", "refuses benign", BLUE),
    "coherent": ("coherent answers", "coherent answers", GREEN),
}
SEGMENTS = {"prompt": "end of the prompt", "thought-end": "end of the thought"}
FEWEST = 3  # prompts below which a mean is not drawn


def draw_plots(
    folder: Path, probe: Probe, sizes: Sequence[MatrixSize], positions: Sequence[PositionFigure]
) -> None:
    """Write `auc`, `drift`, `positions`, `masks`, `pruning`, `masking` and `teachers` as SVG.

    `drift.svg` and `masking.svg` are left out where they were not measured, as for a pair of
    different lineage.
    """
    harmful, benign = (f"{probe.prompts[role]} {role}" for role in (Role.HARMFUL, Role.BENIGN))
    title = f"A linear probe tells {harmful} from {benign} prompts"
    draw(folder / "auc.svg", title, 320, partial(_auc, probe=probe))
    if all(layer.drift for layer in probe.layers):
        title = "What post-training did to the last prompt token's state"
        draw(folder / "drift.svg", title, 320, partial(_drift, probe=probe))
    layers = max(figure.layer for figure in positions if figure.model == "post-trained")
    layer = drawn_layer(probe.target_layers, layers)
    title = f"Where refusal falls off: layer {layer} of {layers}, token by token"
    drawn = [figure for figure in positions if figure.layer == layer and figure.n >= FEWEST]
    draw(folder / "positions.svg", title, 400, partial(_positions, figures=drawn))
    removed, top = (sum(getattr(mask, name) for mask in probe.masks) for name in ("removed", "top"))
    title = f"Removed by the chosen masks: {removed:,} of the {top:,} top reasoning weights"
    height = 160 + max(110, 10 * max(size.layer for size in sizes))
    draw(folder / "masks.svg", title, height, partial(_masks, sizes=sizes, totals=probe.masks))
    whole = probe.pruning[0]
    title = (
        "Removing weights from the post-trained model "
        f"(n = {whole.harmful_refused.n} harmful, {whole.benign_refused.n} benign)"
    )
    draw(folder / "pruning.svg", title, 340, partial(_pruning, points=probe.pruning))
    if probe.masking:
        title = f"What of the base's safety is there (n = {probe.masking.asked.count} harmful)"
        draw(folder / "masking.svg", title, 520, partial(draw_masking, masking=probe.masking))
    title = "What each candidate teacher does on validation prompts"
    draw(folder / "teachers.svg", title, 360, partial(_teachers, probe=probe))


# --- layers ---------------------------------------------------------------------------------------


def layer_ticks(layers: int, most: int = 14) -> list[int]:
    """Return about `most` layers at even steps, with the first and the last and none too near."""
    step = max(1, round(layers / most))
    between = range(step, layers - step // 2, step)
    return sorted({1, *(layer for layer in between if layer > 1 + step / 2), layers})


def _by_layer(axes: Axes, layers: int, *, ticks: int = 14) -> None:
    """Make the horizontal axis that of the decoder layers, first and last among its ticks."""
    axes.set_xlabel("decoder layer")
    axes.set_xticks(layer_ticks(layers, ticks))
    axes.set_xlim(0.5, layers + 0.5)
    axes.grid(visible=False, axis="x")


def _auc(figure: Figure, probe: Probe) -> None:
    axes, lowest = figure.add_subplot(), []
    # Where the models agree, the base's hollow circle shows around the other's square.
    hollow: Look = {"marker": "o", "markersize": 8, "markerfacecolor": "none"}
    post_trained: Look = {"color": ORANGE, "ls": "--", "marker": "s"}
    for name, label, look in (
        ("auc_base", "base", {"color": BLUE, "ls": "-", **hollow}),
        ("auc_post_trained", "post-trained", post_trained),
    ):
        found = {layer.layer: f for layer in probe.layers if (f := getattr(layer, name))}
        lows, highs = [f.low for f in found.values()], [f.high for f in found.values()]
        axes.fill_between(list(found), lows, highs, color=look["color"], alpha=0.14, linewidth=0)
        axes.plot(list(found), [f.auc for f in found.values()], label=label, **look)
        lowest += lows
    axes.set_ylim(min(0.45, min(lowest) - 0.02), 1.02)
    axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=":", label="chance")
    floor = [axes.get_ylim()[0]] * len(probe.target_layers)
    mark: Look = {"color": INK, "clip_on": False, "zorder": 3}
    axes.plot(probe.target_layers, floor, "^", label="target layer", **mark)
    axes.set_ylabel(f"AUC, 95 % interval\nfolds by {probe.folded_by}")
    _by_layer(axes, len(probe.layers))
    legend(figure, axes)


def _drift(figure: Figure, probe: Probe) -> None:
    left, right = figure.subplots(1, 2)
    for role, (colour, marker, line) in ROLES.items():
        drifts = {layer.layer: layer.drift[role] for layer in probe.layers if layer.drift}
        look: Look = {"color": colour, "marker": marker, "ls": line}
        label = f"{probe.prompts[role]} {role} prompts"
        left.plot(list(drifts), [drift.cosine for drift in drifts.values()], **look, label=label)
        known = {layer: drift.cka for layer, drift in drifts.items() if drift.cka is not None}
        right.plot(list(known), list(known.values()), **look)
    left.set_title("turned: 1 − mean cosine (0 = unmoved)")
    right.set_title("rearranged: linear CKA (1 = unmoved)")
    left.set_ylim(bottom=0)
    right.set_ylim(min(0, right.get_ylim()[0]), 1.03)
    for axes in (left, right):
        _by_layer(axes, len(probe.layers), ticks=7)
    legend(figure, left)


# --- positions of one layer; the table has all layers ---------------------------------------------


def drawn_layer(targets: Sequence[int], layers: int) -> int:
    """Return the target layer nearest to two thirds of the depth, the lower of equals."""
    return min(targets, key=lambda layer: (abs(layer - 2 * layers / 3), layer))


def _positions(figure: Figure, figures: Sequence[PositionFigure]) -> None:
    """Draw the mean projections over prompt, thought and answer, with n below."""
    by_segment = {segment: [f for f in figures if f.segment == segment] for segment in READ}
    drawn = {segment: own for segment, own in by_segment.items() if own}
    places: Look = {
        "sharex": "col",
        "sharey": "row",
        "squeeze": False,
        "height_ratios": (4, 1),
    }
    widths = [len({f.position for f in own}) + 1 for own in drawn.values()]
    panels = figure.subplots(2, len(drawn), width_ratios=widths, **places)
    for column, (segment, own) in enumerate(drawn.items()):
        _segment(panels[0, column], panels[1, column], own)
        panels[0, column].set_title(SEGMENTS.get(segment, segment))
    panels[0, 0].set_ylabel("on the refusal direction\n0 = benign, 1 = harmful")
    panels[1, 0].set_ylabel("n")
    panels[1, 0].set_ylim(bottom=0)
    legend(figure, panels[0, 0], columns=2)


def _segment(above: Axes, below: Axes, figures: Sequence[PositionFigure]) -> None:
    for value in (0, 1):
        above.axhline(value, color=FAINT, lw=1, ls=":")
    for role in (Role.HARMFUL, Role.BENIGN):
        for model, line in MODELS.items():
            own = [f for f in figures if (f.model, f.role) == (model, role)]
            look: Look = {"color": ROLES[role][0], "ls": line}
            places, means = [f.position for f in own], np.array([f.mean for f in own])
            errors = 1.96 * np.array([f.error or 0 for f in own])
            above.plot(places, means, marker=".", label=f"{model}, {role}", **look)
            band: Look = {"color": look["color"], "alpha": 0.13, "lw": 0}
            above.fill_between(places, means - errors, means + errors, **band)
            below.plot(places, [f.n for f in own], lw=1, alpha=0.5, **look)
    positions = sorted({f.position for f in figures})
    above.set_xlim(positions[0] - 0.5, positions[-1] + 0.5)
    below.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    below.set_xlabel("token")
    for axes in (above, below):
        axes.grid(visible=False, axis="x")


# --- masks and pruning ----------------------------------------------------------------------------


def _masks(figure: Figure, sizes: Sequence[MatrixSize], totals: Sequence[MaskSize]) -> None:
    """Draw which share of the top reasoning weights serves safety too, by layer and projection."""
    axes, layers = figure.add_subplot(), max(size.layer for size in sizes)
    shares = np.full((layers, len(PROJECTIONS)), np.nan)
    for size in sizes:
        if size.top:
            place = size.layer - 1, PROJECTIONS.index(size.projection)
            shares[place] = 100 * size.removed / size.top
    edges = np.arange(len(PROJECTIONS) + 1) - 0.5, np.arange(layers + 1) + 0.5
    axes.set_facecolor("#EFEFEF")  # where not a weight is in the top share
    mesh = axes.pcolormesh(*edges, shares, cmap="Blues", vmin=0, vmax=100)
    removed = ["–" if t.overlap is None else f"{100 * (1 - t.overlap):.0f} %" for t in totals]
    labels = [f"{t.projection}\n{share}" for t, share in zip(totals, removed, strict=True)]
    axes.set_xticks(range(len(PROJECTIONS)), labels)
    axes.set_yticks(layer_ticks(layers))
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("decoder layer")
    axes.grid(visible=False)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label("removed: % of the top\nreasoning weights")
    bar.outline.set_visible(False)


def _pruning(figure: Figure, points: Sequence[PruningPoint]) -> None:
    """Draw what the model does against the share of weights removed, each way of choosing them."""
    panels = figure.subplots(1, 3, sharey=True)
    ticks = share_ticks([100 * point.removed / point.weights for point in points if point.removed])
    for axes, (measure, (title, *_)) in zip(panels, MEASURES.items(), strict=True):
        whole = getattr(points[0], measure)
        axes.axhline(100 * whole.rate, color=INK, lw=1, label="nothing removed")
        axes.axhspan(100 * whole.low, 100 * whole.high, color=INK, alpha=0.07, lw=0)
        for key in SERIES:
            own = [point for point in points if (point.by, point.scope) == key]
            if own:
                _series(axes, sorted(own, key=lambda point: point.removed), measure)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(ticks[0], ticks[-1])
        axes.set_title(title)
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


def _series(axes: Axes, points: Sequence[PruningPoint], measure: str) -> None:
    label, colour, marker, line, factor = SERIES[points[0].by, points[0].scope or ""]
    shares = [100 * factor * point.removed / point.weights for point in points]
    rates = [getattr(point, measure) for point in points]
    errors = [
        [100 * (rate.rate - rate.low) for rate in rates],
        [100 * (rate.high - rate.rate) for rate in rates],
    ]
    look: Look = {
        "color": colour,
        "marker": marker,
        "ls": line,
        "elinewidth": 0.9,
        "label": label,
    }
    axes.errorbar(shares, [100 * rate.rate for rate in rates], yerr=errors, **look)
    for point, share, rate in zip(points, shares, rates, strict=True):
        if point.chosen:
            axes.plot(share, 100 * rate.rate, "o", ms=12, mfc="none", mec=INK, mew=1.2)


# --- teachers -------------------------------------------------------------------------------------


def _teachers(figure: Figure, probe: Probe) -> None:
    axes, teachers, width = figure.add_subplot(), probe.teachers, 0.26
    for offset, (measure, (_, label, colour)) in enumerate(MEASURES.items(), start=-1):
        places = [k + offset * width for k in range(len(teachers))]
        shares = [100 * getattr(teacher, measure).rate for teacher in teachers]
        bars = axes.bar(places, shares, width * 0.92, color=colour, label=label)
        axes.bar_label(bars, fmt="{:.0f}", fontsize=8, padding=2)
    axes.set_xticks(range(len(teachers)), [_name(t, probe.teacher) for t in teachers])
    axes.set_xlim(-0.6, max(len(teachers), 2) - 0.4)
    axes.set_ylim(0, 109)
    axes.set_yticks(range(0, 101, 25))
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("% of prompts")
    axes.grid(visible=False, axis="x")
    legend(figure, axes)


def _name(teacher: TeacherFigures, chosen: str) -> str:
    verdict = "chosen" if teacher.teacher == chosen else "passes" if teacher.passed else "fails"
    name = teacher.teacher.replace("-", "-\n")
    harmful, benign = teacher.harmful_refused.n, teacher.benign_refused.n
    return f"{name}\n{verdict}\n{harmful} harmful\n{benign} benign"
