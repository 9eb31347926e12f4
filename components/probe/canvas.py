"""How every plot of the diagnosis looks: SVG, 640 px wide, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from components.core.storage import atomic_path

# Okabe and Ito's palette, told apart by colour-blind readers; markers differ as well.
BLUE, ORANGE, GREEN, INK, FAINT = "#0072B2", "#D55E00", "#009E73", "#222222", "#767676"
PIXEL = 1 / 96  # inches
WIDTH = 640
Look = dict[str, Any]  # settings of one of matplotlib's artists
STYLE = Path(__file__).with_name("plots.mplstyle")


def draw(path: Path, title: str, height: int, fill: Callable[[Figure], None]) -> None:
    """Write the figure that `fill` fills as SVG, `height` pixels high, without a date."""
    # From matplotlib's own defaults, whatever the machine's matplotlibrc says.
    with style.context(["default", STYLE]):
        layout = ConstrainedLayoutEngine(w_pad=8 * PIXEL, h_pad=6 * PIXEL)
        figure = Figure(figsize=(WIDTH * PIXEL, height * PIXEL), layout=layout)
        figure.suptitle(title, x=0.012, ha="left")
        fill(figure)
        with atomic_path(path) as scratch:
            figure.savefig(scratch, format="svg", metadata={"Date": None, "Creator": None})


def legend(figure: Figure, axes: Axes, *, columns: int | None = None) -> None:
    """Put the names of what `axes` shows below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    look: Look = {"ncols": columns or len(labels), "fontsize": 9, "handlelength": 2.6}
    figure.legend(handles, labels, loc="outside lower left", **look)
