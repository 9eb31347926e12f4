"""What the leak figures of the prepared prompts mean for the gate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from components.prepare.result import LeakFigure, SuiteSet

_DECIDE = ("run", "copy")  # `share` is told: prompts from one template flag each other


@dataclass(frozen=True, slots=True)
class LeakOutcome:
    """Whether training repeats prompts of one suite; unknown counts as repeated."""

    suite: str
    clean: bool
    why: str  # with the share that is repeated, of the worse measure


def leak_outcomes(prompts: SuiteSet, suites: Iterable[str]) -> tuple[LeakOutcome, ...]:
    """Return the outcome of each of the `suites`, in their order.

    Clean is a suite none of whose prompts training repeats by a run of words or as a copy. One that
    nobody looked at is not.
    """
    return tuple(
        _outcome(suite, [figure for figure in prompts.leaks if figure.suite == suite])
        for suite in suites
    )


def _outcome(suite: str, figures: list[LeakFigure]) -> LeakOutcome:
    deciding = [figure for figure in figures if figure.measure in _DECIDE]
    if {figure.measure for figure in deciding} != set(_DECIDE):
        why = f"no evidence: nobody compared {suite} with training; run the stage prepare again"
        return LeakOutcome(suite, clean=False, why=why)
    worst = max(deciding, key=lambda figure: figure.after.rate)
    rate = worst.after
    told = (
        f"training repeats {rate.count} of {rate.n} prompts of {suite} "
        f"({100 * rate.rate:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}])"
    )
    if rate.count:
        return LeakOutcome(suite, clean=False, why=f"{told}: {', '.join(worst.prompts)}")
    why = f"{told}; {worst.dropped} training rows were dropped for it"
    return LeakOutcome(suite, clean=True, why=f"{why}{_shared(figures)}")


def _shared(figures: list[LeakFigure]) -> str:
    shared = [figure.after for figure in figures if figure.measure == "share"]
    return f"; {shared[0].count} of {shared[0].n} share much of their wording" if shared else ""
