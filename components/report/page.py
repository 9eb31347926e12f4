"""The page's template, and the pictures in it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from components.core import untrusted_text
from components.core.vocabulary import Arm, Outcome, Role, Split
from components.lm.references import ModelRef
from components.prepare.result import leak_mark
from components.report import wording

FOLDER = Path(__file__).parent
SCRIPT = "tables.js"
# The drawing's colours stand for the page's, so that it follows light, dark and print.
COLOURS = {"muted": "#020202", "rule": "#030303", "accent": "#040404", "warm": "#050505"}
# Colour and dash of a method's losses, in its order.
LINES = (("accent", "-"), ("warm", "--"), ("muted", ":"))


def page_template(name: str = "report.html") -> Template:
    """Return a page's template: autoescaping, undefined names are errors, and every string that
    reaches the page has its invisible characters made visible."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_made_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=wording.percent,
        rate=wording.rate,
        size=wording.size,
        points_of=wording.points_of,
        interval=wording.interval,
        points=wording.points,
        probability=wording.probability,
        number=wording.number,
        arm=lambda arm: wording.ARM_NAMES.get(arm, arm),
        upper_first=wording.upper_first,
        one_line=untrusted_text.one_line,
        side=wording.side,
        mark=leak_mark,
        form=wording.form_name,
        clip=untrusted_text.clip,
        commands=_commands,
        place=_place,
        share=lambda value: wording.number(100 * value),
    )
    script = (FOLDER / SCRIPT).read_text(encoding="utf-8")
    environment.globals.update(
        Role=Role,
        Split=Split,
        Arm=Arm,
        Outcome=Outcome,
        counted=wording.counted,
        describe_usage=wording.describe_usage,
        script=Markup(script),
        script_digest=digest_of_script(script),
    )
    return environment.get_template(name)


def digest_of_script(script: str) -> str:
    """Return a script as a page's security policy names it: the only one that the page runs."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _made_visible(value: Any) -> Any:
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return untrusted_text.visible(str(value)) if plain else value


def _commands(text: str) -> Markup:
    """Return a text as the page shows it, with what stands between backticks as code."""
    parts = [escape(_made_visible(part)) for part in text.split("`")]
    whole = len(parts) % 2 == 1  # else one is not closed
    return (
        Markup("").join(
            Markup("<code>{}</code>").format(part) if i % 2 else part
            for i, part in enumerate(parts)
        )
        if whole
        else Markup("`").join(parts)
    )


def _place(model: ModelRef) -> str:
    """Return where a checkpoint lies; of a path on this machine only the last part."""
    return PurePath(model.location).name if model.where == "local" else model.location


def loss_curves(lines: Sequence[Mapping[str, Any]], losses: Iterable[str]) -> Markup | None:
    """Return the curves of the `losses` in `lines` over `step` as an SVG element that follows the
    page's colours; None where there is no loss.

    The logarithmic axis is used only while every value is positive. Bytes depend on the values
    alone: no date, a fixed salt for identifiers. Names of losses are escaped.
    """
    every = {
        name: [(line["step"], line[name]) for line in lines if name in line] for name in losses
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
        _draw(figure.add_subplot(), series)
        target = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(target, format="svg", transparent=True, metadata=nothing)
    document = target.getvalue()
    svg = document[document.index("<svg") :]
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    seen = "; ".join(
        f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in series.items()
    )
    labelled = f'<svg role="img" aria-label="Losses over the training steps: {escape(seen)}" '
    return Markup(svg.replace("<svg ", labelled, 1))


def _draw(axes: Any, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    muted, rule = COLOURS["muted"], COLOURS["rule"]
    for (name, points), (colour_name, dash) in zip(series.items(), cycle(LINES), strict=False):
        colour = COLOURS[colour_name]
        steps, values = zip(*points, strict=True)
        marker = "o" if len(points) == 1 else ""
        axes.plot(steps, values, dash, color=colour, linewidth=1.4, marker=marker)
        place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(name, (steps[-1], values[-1]), color=colour, **place)
    if all(value > 0 for points in series.values() for _, value in points):
        axes.set_yscale("log")
    axes.set_xlabel("optimiser step", color=muted)
    axes.set_ylabel("loss", color=muted)
    axes.tick_params(colors=muted, which="both", length=3)
    axes.grid(axis="y", color=rule, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(rule)
