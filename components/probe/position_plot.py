"""The picture of where refusal falls off, for one layer; the table holds all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.core.vocabulary import Role
from components.probe.canvas import BLUE, FAINT, ORANGE, draw, legend
from components.probe.positions import READ, PositionFigure

TITLES = {"prompt": "end of the prompt", "thought-end": "end of the thought"}
FEWEST = 3  # prompts below which a mean is not drawn

LOOKS = {
    ("base", Role.HARMFUL): (ORANGE, "--", "base, harmful"),
    ("post-trained", Role.HARMFUL): (ORANGE, "-", "post-trained, harmful"),
    ("base", Role.BENIGN): (BLUE, "--", "base, benign"),
    ("post-trained", Role.BENIGN): (BLUE, "-", "post-trained, benign"),
}


def shown_layer(targets: Sequence[int], layers: int) -> int:
    """Return the target layer nearest to two thirds of the depth, the lower of equals."""
    return min(targets, key=lambda layer: (abs(layer - 2 * layers / 3), layer))


def draw_positions(
    path: Path, figures: Sequence[PositionFigure], *, targets: Sequence[int]
) -> None:
    """Write the mean projections of one layer over prompt, thought and answer, with n below."""
    layers = max(figure.layer for figure in figures if figure.model == "post-trained")
    layer = shown_layer(targets, layers)
    own = [figure for figure in figures if figure.layer == layer and figure.n >= FEWEST]
    title = f"Where refusal falls off: layer {layer} of {layers}, token by token"
    draw(path, title, 400, lambda figure: _positions(figure, own))


def _positions(figure: Figure, figures: Sequence[PositionFigure]) -> None:
    by_segment = {segment: [f for f in figures if f.segment == segment] for segment in READ}
    shown = {segment: own for segment, own in by_segment.items() if own}
    panels = figure.subplots(
        2,
        len(shown),
        sharex="col",
        sharey="row",
        squeeze=False,
        height_ratios=(4, 1),
        width_ratios=[len({f.position for f in own}) + 1 for own in shown.values()],
    )
    for column, (segment, own) in enumerate(shown.items()):
        _panel(panels[0, column], panels[1, column], own)
        panels[0, column].set_title(TITLES.get(segment, segment))
    panels[0, 0].set_ylabel("on the refusal direction\n0 = benign, 1 = harmful")
    panels[1, 0].set_ylabel("n")
    panels[1, 0].set_ylim(bottom=0)
    legend(figure, panels[0, 0], columns=2)


def _panel(above: Axes, below: Axes, figures: Sequence[PositionFigure]) -> None:
    for value in (0, 1):
        above.axhline(value, color=FAINT, lw=1, ls=":")
    for (model, role), (colour, line, label) in LOOKS.items():
        own = [f for f in figures if (f.model, f.role) == (model, role)]
        places, means = [f.position for f in own], [f.mean for f in own]
        errors = [1.96 * (f.error or 0) for f in own]
        above.plot(places, means, color=colour, ls=line, marker=".", label=label)
        above.fill_between(
            places,
            [mean - error for mean, error in zip(means, errors, strict=True)],
            [mean + error for mean, error in zip(means, errors, strict=True)],
            color=colour,
            alpha=0.13,
            lw=0,
        )
        below.plot(places, [f.n for f in own], color=colour, ls=line, lw=1, alpha=0.5)
    positions = sorted({f.position for f in figures})
    above.set_xlim(positions[0] - 0.5, positions[-1] + 0.5)
    below.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    below.set_xlabel("token")
    for axes in (above, below):
        axes.grid(visible=False, axis="x")
