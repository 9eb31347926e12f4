"""Suites of which training held prompts, and the mark on their figures where people read them.

What leaked is dropped before anything is trained, and the gate refuses what is left. Yet a figure
of such a suite is not one of a suite that training never met, so it says so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from components.prepare.result import LeakFigure

MARK = "†"


def repeats(leaks: Iterable[LeakFigure]) -> dict[str, str]:
    """Return what was found of a suite in training and what was done, in a sentence, by suite in
    their order; a suite of which nothing was found is not there."""
    by_suite: dict[str, list[LeakFigure]] = {}
    for leak in leaks:
        by_suite.setdefault(leak.suite, []).append(leak)
    told = {suite: "; ".join(_told(figures)) for suite, figures in by_suite.items()}
    return {suite: f"{suite}: {words}." for suite, words in told.items() if words}


def mark(metric: str, marked: Collection[str]) -> str:
    """Return the mark of a metric, or of its suite; empty unless the suite is one of `marked`."""
    return MARK if metric.partition(".")[0] in marked else ""


def footnotes(marked: Mapping[str, str], metrics: Iterable[str]) -> list[str]:
    """Return what the mark means, a sentence for each marked suite of the `metrics`."""
    suites = {metric.partition(".")[0] for metric in metrics}
    return [f"{MARK} {told}" for suite, told in marked.items() if suite in suites]


def _told(figures: Sequence[LeakFigure]) -> Iterator[str]:
    """Yield what was found of one suite: repetition by the worse measure first, then wording."""
    repeated = [figure for figure in figures if figure.measure != "share"]
    worst = max(repeated, key=lambda one: (one.after.count, one.before.count), default=None)
    if worst and worst.before.count + worst.after.count + worst.dropped:
        before, after = worst.before, worst.after
        yield f"training as it came repeated {before.count} of {before.n} prompts"
        yield f"{worst.dropped} training rows were dropped for it"
        left = f"{after.count} of {after.n} prompts are" if after.count else "none is"
        yield f"{left} repeated in what was trained on"
    for figure in figures:
        if figure.measure == "share" and figure.before.count + figure.after.count:
            yield (
                f"{figure.before.count} of {figure.before.n} prompts shared much of their wording "
                f"with training as it came, {figure.after.count} with what was trained on"
            )
