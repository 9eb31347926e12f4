"""The page of a diagnosis: one self-contained HTML file, of the same pieces as the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from components.core.metric_names import Metric
from components.core.paths import ROWS
from components.core.result import RateFigure
from components.core.storage import read_rows
from components.core.vocabulary import Arm, Prompt
from components.evaluate.result import Difference
from components.report import wording as figures
from components.report.examples import choose_examples, refusal_openings
from components.report.page import page_template
from components.studies.diagnose import wording
from components.studies.diagnose.result import PairDiagnosis

EXAMPLES = 2  # of each role


class Line(NamedTuple):
    """One measure: its rate in each model, what of its verdicts could not be read, and the paired
    difference where there are two models."""

    title: str
    rates: dict[Arm, RateFigure]
    unparsed: dict[Arm, RateFigure]
    difference: Difference | None


def lines_of(found: PairDiagnosis) -> Iterator[Line]:
    """Yield the lines of the short table, as people read them."""
    for name in found.key_metrics:
        unparsed = Metric.parse(name).unparsed
        rates, misread = (
            {arm: own[key] for arm, own in found.rates.items() if key in own}
            for key in (name, str(unparsed))
        )
        difference = found.by_metric.get(name)
        yield Line(wording.metric_name(name), rates, misread, difference)


def where(found: PairDiagnosis) -> str:
    """Return in a paragraph where safety was lost, or why that is not known."""
    if found.masking is None:
        return f"Not known: {found.not_located}."
    return figures.masking(found.masking, "harmful prompts")


def where_in_short(found: PairDiagnosis) -> str:
    """Return the same without the figures that show that harm is perceived."""
    lost = found.masking is not None and found.masking.finding != "kept"
    return figures.meaning(found.masking) if found.masking and lost else where(found)


def render(found: PairDiagnosis, prompts: Sequence[Prompt], *, redact: bool = True) -> str:
    """Return the page of a diagnosis, which needs no network.

    `prompts` are those that were asked, and `redact` hides completions to harmful ones.
    """
    rows = read_rows(found.folder / ROWS)
    names = [ref.location for ref in reversed(found.models.values())]
    return page_template("diagnosis.html").render(
        found=found,
        heading=" against ".join(names),
        head=wording.HEADS[found.finding],
        conclusion=wording.conclusion(found),
        unsaid=list(wording.unsaid(found)),
        lines=list(lines_of(found)),
        where=where(found),
        count=EXAMPLES,
        redact=redact,
        openings=refusal_openings(rows),
        examples=choose_examples(
            prompts,
            rows,
            count=EXAMPLES,
            redact=redact,
            seed=found.seed,
            arm=Arm.POST_TRAINED,
        ),
        marked={},
    )
