"""The picture of what of the base's safety is still there: six panels."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.probe.canvas import BLUE, FAINT, INK, ORANGE, Look, legend
from components.probe.result import Intervention, Masking, TransferFigure

# What is refused -> label, colour, marker, line
LINES = {
    "harmful": ("harmful", ORANGE, "s", "-"),
    "control": ("harmful, control of the same size", FAINT, "^", ":"),
    "benign": ("benign", BLUE, "o", "--"),
}


def draw_masking(figure: Figure, masking: Masking) -> None:
    """Draw how the post-trained model is read, and what it refuses with each intervention."""
    panels = figure.subplots(2, 3)
    _transfer(panels[0, 0], masking.transfer)
    _axis(panels[0, 1], masking.transfer)
    every = masking.interventions
    for axes, title, label, own in (
        (panels[0, 2], "refusal begun", "tokens", [i for i in every if i.kind == "begin"]),
        (panels[1, 0], "last token patched", "layer", [i for i in every if i.tokens == "last"]),
        (panels[1, 1], "prompt patched", "layer", [i for i in every if i.tokens == "all"]),
        (panels[1, 2], "direction added", "times", [i for i in every if i.kind == "add"]),
    ):
        axes.set_title(title)
        axes.set_xlabel(label)
        _refused(axes, own, masking)
    for axes in (panels[0, 2], panels[1, 0]):
        axes.set_ylabel("refused, %")
    legend(figure, panels[1, 0], columns=2)


def _transfer(axes: Axes, transfer: Sequence[TransferFigure]) -> None:
    layers = [t.layer for t in transfer]
    lows, highs = [t.auc.low for t in transfer], [t.auc.high for t in transfer]
    axes.fill_between(layers, lows, highs, color=ORANGE, alpha=0.14, linewidth=0)
    axes.plot(layers, [t.auc.auc for t in transfer], color=ORANGE, marker="s")
    axes.plot(layers, [t.chance for t in transfer], color=FAINT, marker="^", ls=":")
    axes.set_ylim(min(0.45, *lows), 1.02)
    axes.set_title("AUC of the base's probe")
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _axis(axes: Axes, transfer: Sequence[TransferFigure]) -> None:
    layers = [t.layer for t in transfer]
    for name in ("harmful", "benign"):
        _, colour, marker, line = LINES[name]
        means = [getattr(t, name) for t in transfer]
        band: Look = {"color": colour, "alpha": 0.14, "lw": 0}
        axes.fill_between(layers, [m.low for m in means], [m.high for m in means], **band)
        axes.plot(layers, [m.mean for m in means], color=colour, marker=marker, ls=line)
    for value in (0, 1):
        axes.axhline(value, color=FAINT, lw=1, ls=":")
    axes.set_title("on the base's axis")
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _refused(axes: Axes, points: Sequence[Intervention], masking: Masking) -> None:
    """Draw the shares refused, in per cent, at even steps; the line is the model as it is."""
    axes.axhline(100 * masking.alone.rate, color=INK, lw=1, label="as it is")
    places = range(len(points))
    for shift, (name, (label, colour, marker, line)) in enumerate(LINES.items(), start=-1):
        rates = [getattr(point, name) for point in points]
        errors = [
            [100 * (rate.rate - rate.low) for rate in rates],
            [100 * (rate.high - rate.rate) for rate in rates],
        ]
        look: Look = {"color": colour, "marker": marker, "ls": line, "elinewidth": 0.9}
        shares, shifted = [100 * rate.rate for rate in rates], [k + shift / 10 for k in places]
        axes.errorbar(shifted, shares, yerr=errors, label=label, **look)
    amounts = [point.layer if point.kind == "patch" else point.amount for point in points]
    axes.set_xticks(places, [f"{amount:g}" for amount in amounts])
    axes.set_ylim(-7, 107)
