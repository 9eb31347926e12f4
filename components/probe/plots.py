"""The diagnosis in pictures: layers and teachers here, masks and positions beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.core.vocabulary import Role
from components.probe.canvas import BLUE, FAINT, GREEN, INK, ORANGE, by_layer, draw, legend
from components.probe.mask_plots import draw_masks, draw_pruning
from components.probe.position_plot import draw_positions
from components.probe.positions import PositionFigure
from components.probe.result import AucFigure, LayerProbe, Probe, TeacherFigures
from components.probe.set_difference import MatrixSize

ROLES = (
    (Role.HARMFUL, ORANGE, "s", "-"),
    (Role.BENIGN, BLUE, "o", "--"),
    (Role.REASONING, GREEN, "D", "-."),
)


def draw_plots(
    folder: Path,
    probe: Probe,
    sizes: Sequence[MatrixSize],
    positions: Sequence[PositionFigure],
) -> None:
    """Write `auc`, `drift`, `positions`, `masks`, `pruning` and `teachers` as SVG into `folder`.

    `drift.svg` is left out for a pair of different lineage, which has no drift.
    """
    counts = {role: f"{n} {role}" for role, n in probe.prompts.items()}
    title = f"A linear probe tells {counts[Role.HARMFUL]} from {counts[Role.BENIGN]} prompts"
    draw(folder / "auc.svg", title, 320, lambda figure: _auc(figure, probe))
    if all(layer.drift for layer in probe.layers):
        title = "What post-training did to the last prompt token's state"
        draw(folder / "drift.svg", title, 320, lambda figure: _drift(figure, probe))
    draw_positions(folder / "positions.svg", positions, targets=probe.target_layers)
    draw_masks(folder / "masks.svg", sizes, probe.masks)
    draw_pruning(folder / "pruning.svg", probe.pruning)
    title = "What each candidate teacher does on validation prompts"
    draw(folder / "teachers.svg", title, 320, lambda figure: _teachers(figure, probe))


def _auc(figure: Figure, probe: Probe) -> None:
    axes = figure.add_subplot()
    lowest = min(
        _interval_line(axes, probe.layers, "auc_base", BLUE, "o", "-", "base"),
        _interval_line(axes, probe.layers, "auc_post_trained", ORANGE, "s", "--", "post-trained"),
    )
    axes.set_ylim(min(0.45, lowest - 0.02), 1.02)
    axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=":", label="chance")
    floor = [axes.get_ylim()[0]] * len(probe.target_layers)
    axes.plot(
        probe.target_layers, floor, "^", color=INK, clip_on=False, zorder=3, label="target layer"
    )
    axes.set_ylabel(f"AUC, 95 % interval\nfolds by {probe.folded_by}")
    by_layer(axes, len(probe.layers))
    legend(figure, axes)


def _interval_line(
    axes: Axes,
    layers: Sequence[LayerProbe],
    name: str,
    colour: str,
    marker: str,
    line: str,
    label: str,
) -> float:
    """Draw one model's AUCs with their intervals and return the lowest end."""
    found: list[tuple[int, AucFigure]] = [
        (layer.layer, figure) for layer in layers if (figure := getattr(layer, name)) is not None
    ]
    numbers = [number for number, _ in found]
    lows, highs = [f.low for _, f in found], [f.high for _, f in found]
    axes.fill_between(numbers, lows, highs, color=colour, alpha=0.14, linewidth=0)
    values = [f.auc for _, f in found]
    # Where the models agree, the base's hollow circle shows around the other's square.
    (drawn,) = axes.plot(numbers, values, color=colour, marker=marker, ls=line, label=label)
    if marker == "o":
        drawn.set(markersize=8, markerfacecolor="none")
    return min(lows)


def _drift(figure: Figure, probe: Probe) -> None:
    left, right = figure.subplots(1, 2)
    numbers = [layer.layer for layer in probe.layers]
    for role, colour, marker, line in ROLES:
        drifts = [layer.drift[role] for layer in probe.layers if layer.drift]
        look = {"color": colour, "marker": marker, "ls": line}
        label = f"{probe.prompts[role]} {role} prompts"
        left.plot(numbers, [drift.cosine for drift in drifts], **look, label=label)
        known = [(n, d.cka) for n, d in zip(numbers, drifts, strict=True) if d.cka is not None]
        right.plot([n for n, _ in known], [cka for _, cka in known], **look)
    left.set_title("turned: 1 − mean cosine (0 = unmoved)")
    right.set_title("rearranged: linear CKA (1 = unmoved)")
    left.set_ylim(bottom=0)
    right.set_ylim(min(0, right.get_ylim()[0]), 1.03)
    for axes in (left, right):
        by_layer(axes, len(numbers), ticks=7)
    legend(figure, left)


def _teachers(figure: Figure, probe: Probe) -> None:
    axes, teachers, width = figure.add_subplot(), probe.teachers, 0.26
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
    return (
        f"{teacher.teacher}: {verdict}\nn = {teacher.harmful_n} harmful, {teacher.benign_n} benign"
    )
