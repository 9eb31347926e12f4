"""Training curves as an SVG element that follows the page's colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

# The drawing's colours stand for the page's, so that it follows light, dark and print.
COLOURS = {"muted": "#020202", "rule": "#030303", "accent": "#040404", "warm": "#050505"}
# The trainer writes these losses for every step; each has a line's colour and dash here.
LOSSES = {"alignment": ("accent", "-"), "retention": ("warm", "--")}


def loss_curves(lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the curves of both losses in `lines` over `step`; None where there is none.

    The logarithmic axis is used only while every value is positive. Bytes depend on the values
    alone: no date, a fixed salt for identifiers.
    """
    every = {
        name: [(line["step"], line[name]) for line in lines if name in line] for name in LOSSES
    }
    series = {name: points for name, points in every.items() if points}
    if not series:
        return None
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "safereact", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.6, 2.9), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for name, points in series.items():
            _line(axes, name, points)
        if all(value > 0 for points in series.values() for _, value in points):
            axes.set_yscale("log")
        _style(axes)
        target = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(target, format="svg", transparent=True, metadata=nothing)
    document = target.getvalue()
    svg = document[document.index("<svg") :]
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<svg ", '<svg role="img" aria-label="Losses over the training steps" ', 1)


def _line(axes: Any, name: str, points: Sequence[tuple[float, float]]) -> None:
    colour, dash = COLOURS[LOSSES[name][0]], LOSSES[name][1]
    steps, values = zip(*points, strict=True)
    marker = "o" if len(points) == 1 else ""
    axes.plot(steps, values, dash, color=colour, linewidth=1.4, marker=marker)
    place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(name, (steps[-1], values[-1]), color=colour, **place)


def _style(axes: Any) -> None:
    muted, rule = COLOURS["muted"], COLOURS["rule"]
    axes.set_xlabel("optimiser step", color=muted)
    axes.set_ylabel("loss", color=muted)
    axes.tick_params(colors=muted, which="both", length=3)
    axes.grid(axis="y", color=rule, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(rule)
