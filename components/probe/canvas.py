"""How every plot of the diagnosis looks: SVG, 640 px wide, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from components.core.storage import atomic_path

# Okabe and Ito's palette, told apart by colour-blind readers; markers differ as well.
BLUE, ORANGE, GREEN, INK, FAINT = "#0072B2", "#D55E00", "#009E73", "#222222", "#767676"
PIXEL = 1 / 96  # inches
WIDTH = 640

STYLE = {
    "svg.hashsalt": "safereact",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that widths agree everywhere
    "font.size": 9,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.75,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "lines.linewidth": 1.75,
    "lines.markersize": 5,
    "legend.frameon": False,
}


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
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns or len(labels),
        fontsize=9,
        handlelength=2.6,
    )


def layer_ticks(layers: int, most: int = 14) -> list[int]:
    """Return about `most` layers at even steps, with the first and the last and none too near."""
    step = max(1, round(layers / most))
    between = range(step, layers - step // 2, step)
    return sorted({1, *(layer for layer in between if layer > 1 + step / 2), layers})


def by_layer(axes: Axes, layers: int, *, ticks: int = 14) -> None:
    """Make the horizontal axis that of the decoder layers, first and last among its ticks."""
    axes.set_xlabel("decoder layer")
    axes.set_xticks(layer_ticks(layers, ticks))
    axes.set_xlim(0.5, layers + 0.5)
    axes.grid(visible=False, axis="x")
