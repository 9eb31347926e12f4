"""Training curves as an SVG element that follows the page's colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

# The drawing's colours stand for the page's, so that it follows light, dark and print.
_MUTED, _RULE = "#020202", "#030303"
_ACCENT, _WARM = "#040404", "#050505"
_VARIABLES = {
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    _ACCENT: "var(--accent)",
    _WARM: "var(--warm)",
}
# What the trainer keeps of every step, with each line's colour and dash.
LOSSES = {"alignment": (_ACCENT, "-"), "retention": (_WARM, "--")}


def loss_curves(lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the curves of both losses in `lines` over `step`; None where there is none.

    The logarithmic axis is used only while every value is positive. Bytes depend on the values
    alone: no date, a fixed salt for identifiers.
    """
    series = _series(lines)
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
            colour, dash = LOSSES[name]
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, dash, color=colour, linewidth=1.4, marker=_marker(points))
            axes.annotate(
                name,
                (steps[-1], values[-1]),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        if all(value > 0 for points in series.values() for _, value in points):
            axes.set_yscale("log")
        _style(axes)
        target = io.StringIO()
        figure.savefig(
            target,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return _element(target.getvalue())


def _series(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return the (step, value) pairs of each loss that was kept."""
    series = {
        name: [(line["step"], line[name]) for line in lines if name in line] for name in LOSSES
    }
    return {name: points for name, points in series.items() if points}


def _marker(points: Sequence[tuple[float, float]]) -> str:
    return "o" if len(points) == 1 else ""


def _style(axes: Any) -> None:
    axes.set_xlabel("optimiser step", color=_MUTED)
    axes.set_ylabel("loss", color=_MUTED)
    axes.tick_params(colors=_MUTED, which="both", length=3)
    axes.grid(axis="y", color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_RULE)


def _element(document: str) -> str:
    """Return the svg element of a document, sized by the page and in its colours."""
    svg = document[document.index("<svg") :]
    for sentinel, variable in _VARIABLES.items():
        svg = svg.replace(sentinel, variable)
    return svg.replace("<svg ", '<svg role="img" aria-label="Losses over the training steps" ', 1)
