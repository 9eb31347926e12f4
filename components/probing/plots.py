"""The diagnosis in four pictures: SVG, 640 px wide, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from components.records import Role
from components.results import MaskSize, Probe, TeacherFigures
from components.storage import atomic_path

# Okabe and Ito's palette, told apart by colour-blind readers; markers differ as well.
BLUE, ORANGE, GREEN, INK, FAINT = "#0072B2", "#D55E00", "#009E73", "#222222", "#767676"
PIXEL = 1 / 96  # inches
WIDTH = 640

STYLE = {
    "svg.hashsalt": "safereact",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that widths agree everywhere
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
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


def draw_plots(folder: Path, probe: Probe) -> None:
    """Write `auc.svg`, `drift.svg`, `masks.svg` and `teachers.svg` into `folder`.

    `drift.svg` is left out for a pair of different lineage, which has no drift.
    """
    _draw(folder / "auc.svg", 340, lambda axes: _auc(axes, probe))
    if all(layer.drift_harmful is not None for layer in probe.layers):
        _draw(folder / "drift.svg", 320, lambda axes: _drift(axes, probe))
    _draw(folder / "masks.svg", 300, lambda axes: _masks(axes, probe.masks))
    _draw(folder / "teachers.svg", 340, lambda axes: _teachers(axes, probe.teachers, probe.teacher))


def _draw(path: Path, height: int, fill: Callable[[Axes], None]) -> None:
    # From matplotlib's own defaults, whatever the machine's matplotlibrc says.
    with style.context(["default", STYLE]):
        layout = ConstrainedLayoutEngine(w_pad=8 * PIXEL, h_pad=6 * PIXEL)
        figure = Figure(figsize=(WIDTH * PIXEL, height * PIXEL), layout=layout)
        fill(figure.add_subplot())
        with atomic_path(path) as scratch:
            figure.savefig(scratch, format="svg", metadata={"Date": None, "Creator": None})


def _auc(axes: Axes, probe: Probe) -> None:
    layers, targets = probe.layers, probe.target_layers
    base = [(layer.layer, layer.auc_base) for layer in layers if layer.auc_base is not None]
    own = [(layer.layer, layer.auc_post_trained) for layer in layers]
    axes.plot(*zip(*base, strict=True), color=BLUE, marker="o", ms=8, mfc="none", label="base")
    axes.plot(*zip(*own, strict=True), color=ORANGE, marker="s", ls="--", label="post-trained")
    lowest = min(auc for _, auc in (*base, *own))
    axes.set_ylim(min(0.45, lowest - 0.05), 1.03)
    axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=":", label="chance")
    floor = [axes.get_ylim()[0]] * len(targets)
    axes.plot(targets, floor, "^", color=INK, clip_on=False, zorder=3, label="target layer")
    axes.set_title("How well a linear probe tells harmful from benign prompts")
    axes.set_ylabel("cross-validated AUC")
    _by_layer(axes, probe, (Role.HARMFUL, Role.BENIGN))


def _drift(axes: Axes, probe: Probe) -> None:
    layers = probe.layers
    numbers = [layer.layer for layer in layers]
    for role, colour, marker, line in (
        ("harmful", ORANGE, "s", "-"),
        ("benign", BLUE, "o", "--"),
        ("reasoning", GREEN, "D", "-."),
    ):
        values = [getattr(layer, f"drift_{role}") for layer in layers]
        axes.plot(numbers, values, color=colour, marker=marker, ls=line, label=f"{role} prompts")
    axes.set_ylim(bottom=0)
    axes.set_title("How far post-training moved the last prompt token's state")
    axes.set_ylabel("1 − mean cosine")
    _by_layer(axes, probe, (Role.HARMFUL, Role.BENIGN, Role.REASONING))


def _masks(axes: Axes, masks: tuple[MaskSize, ...]) -> None:
    shares = [100 * mask.removed / mask.weights for mask in masks]
    axes.barh(range(len(masks)), shares, height=0.6, color=BLUE)
    axes.set_yticks(range(len(masks)), [mask.projection for mask in masks])
    axes.invert_yaxis()
    for row, (mask, share) in enumerate(zip(masks, shares, strict=True)):
        text = f"{share:.2f} %  ({mask.removed:,} of {mask.weights:,})"
        axes.annotate(
            text, (share, row), (5, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, 1.6 * max(shares) or 1)  # room for the words beside the bars
    axes.set_title("Weights that serve reasoning and not safety")
    axes.set_xlabel("share of the projection's weights, all layers, %")
    axes.grid(visible=False, axis="y")


def _teachers(axes: Axes, teachers: tuple[TeacherFigures, ...], chosen: str) -> None:
    width = 0.26
    for offset, (name, label, colour) in enumerate(
        (
            ("harmful_refused", "refuses harmful", ORANGE),
            ("benign_refused", "refuses benign", BLUE),
            ("coherent", "coherent answers", GREEN),
        ),
        start=-1,
    ):
        places = [k + offset * width for k in range(len(teachers))]
        shares = [100 * getattr(teacher, name) for teacher in teachers]
        bars = axes.bar(places, shares, width * 0.92, color=colour, label=label)
        axes.bar_label(bars, fmt="{:.0f}", fontsize=8, padding=2)
    axes.set_xticks(range(len(teachers)), [_name(t, chosen) for t in teachers])
    axes.set_xlim(-0.6, max(len(teachers), 2) - 0.4)
    axes.set_ylim(0, 109)
    axes.set_yticks(range(0, 101, 25))
    axes.tick_params(axis="x", length=0)
    axes.set_title("What each candidate teacher does on validation prompts")
    axes.set_ylabel("% of prompts")
    axes.grid(visible=False, axis="x")
    _legend(axes)


def _name(teacher: TeacherFigures, chosen: str) -> str:
    verdict = "chosen" if teacher.teacher == chosen else "passes" if teacher.passed else "fails"
    return (
        f"{teacher.teacher}: {verdict}\nn = {teacher.harmful_n} harmful, {teacher.benign_n} benign"
    )


def _by_layer(axes: Axes, probe: Probe, roles: tuple[Role, ...]) -> None:
    layers = len(probe.layers)
    counts = ", ".join(f"{probe.prompts[role]} {role}" for role in roles)
    axes.set_xlabel(f"decoder layer (n = {counts} prompts)")
    step = max(1, round(layers / 14))
    axes.set_xticks(sorted({1, *range(step, layers + 1, step), layers}))
    axes.set_xlim(0.5, layers + 0.5)
    axes.grid(visible=False, axis="x")
    _legend(axes)


def _legend(axes: Axes) -> None:
    columns = len(axes.get_legend_handles_labels()[0])
    axes.figure.legend(loc="outside lower left", ncols=columns, fontsize=9, handlelength=2.6)
