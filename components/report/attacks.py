"""What attacks on a prompt's form achieve, by arm."""

from __future__ import annotations

from dataclasses import dataclass

from components.core.metric_names import Metric
from components.core.result import RateFigure
from components.core.vocabulary import ATTACKS, Arm, Form, Outcome, View
from components.evaluate.result import Evidence


@dataclass(frozen=True, slots=True)
class AttackRow:
    """One suite in one form: the share that each arm complied with, in thought or answer, and the
    share whose verdict could not be read.

    n differs by form, since an attack is tried on some of the suite's prompts.
    """

    suite: str
    form: Form
    rates: dict[Arm, RateFigure]
    unparsed: dict[Arm, RateFigure]


def attack_rows(evidence: Evidence) -> list[AttackRow]:
    """Return a row for every attacked suite and form, the plain forms first to compare with; none
    where the profile names no attacks."""
    found = {Metric.parse(name) for rates in evidence.rates.values() for name in rates}
    suites = sorted(
        {metric.suite: metric for metric in found if metric.form in ATTACKS}.values(),
        key=lambda metric: metric.order,
    )
    rows = [
        AttackRow(
            metric.suite,
            form,
            _rates(evidence, metric.suite, form, Outcome.COMPLIED),
            _rates(evidence, metric.suite, form, Outcome.UNPARSED),
        )
        for metric in suites
        for form in Form
    ]
    return [row for row in rows if row.rates]


def _rates(evidence: Evidence, suite: str, form: Form, outcome: Outcome) -> dict[Arm, RateFigure]:
    name = str(Metric(suite, outcome, form, View.EITHER))
    return {arm: evidence.rates[arm][name] for arm in Arm if name in evidence.rates.get(arm, {})}
