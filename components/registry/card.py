"""The model card of a released adapter, as Markdown."""

from __future__ import annotations

from pathlib import Path

from components.core.result import RateFigure
from components.core.untrusted_text import for_markdown, for_terminal
from components.core.vocabulary import Arm
from components.gate.rules import percent
from components.prepare.result import leak_footnotes, leak_mark, leak_notes
from components.registry.release import Release

HEADLINE = ("harmful.refused", "borderline.refused", "benign.refused", "reasoning.correct")
TEMPLATE = Path("mlflow") / "model_card.md.j2"


def write_card(release: Release, *, name: str, root: Path) -> str:
    """Return the model card of `release`, registered as `name`, from the template in `mlflow/`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    marked = leak_notes(release.prompts.leaks)
    environment.filters |= {
        "mark": lambda metric: leak_mark(metric, marked),
        "cell": lambda value: for_markdown(str(value)),
        "line": for_terminal,
        "percent": percent,
        "figure": figure,
    }
    return environment.get_template(TEMPLATE.as_posix()).render(
        name=name,
        release=release,
        parameters=release.parameters(),
        tags=release.tags(),
        footnotes=leak_footnotes(marked, release.metrics()),
    )


def summarise(release: Release) -> str:
    """Return the restored model's key figures in one paragraph, as a version's description, which
    MLflow shows as Markdown."""
    rates = release.evidence.rates.get(Arm.RESTORED, {})
    checkpoint = for_markdown(release.checkpoint(release.models.post_trained))
    shown = [metric for metric in HEADLINE if metric in rates]
    marked = leak_notes(release.prompts.leaks)
    measured = "; ".join(
        f"{metric} {figure(rates[metric], leak_mark(metric, marked))}" for metric in shown
    )
    notes = [for_markdown(note) for note in leak_footnotes(marked, shown)]
    return " ".join(
        [
            f"Safety adapter for {checkpoint}, accepted by the gate. With it: {measured}.",
            *notes,
            "The model card is in evidence/model_card.md.",
        ]
    )


def figure(rate: RateFigure, sign: str = "") -> str:
    """Return a rate with its `sign`, its interval and the number of prompts behind it."""
    return f"{percent(rate.rate)}{sign} [{100 * rate.low:.1f}, {100 * rate.high:.1f}], n = {rate.n}"
