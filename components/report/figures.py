"""The evidence as the page's tables: key figures, metrics, comparisons, attacks and judges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from components.core.metric_names import Metric, in_order, is_compared
from components.core.result import RateFigure
from components.core.vocabulary import AnyArm, Arm, Form, Outcome, View
from components.evaluate.result import CutFigure, Difference, Evidence
from components.gate.result import Decision, RuleOutcome
from components.judges.result import Calibration
from components.report.wording import KEY_FIGURES, form_name

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Panel:
    """One key figure: its rate in every arm that has it, and the gate's thresholds for it."""

    metric: str
    title: str
    aim: int  # 1: higher is better, -1: lower is
    rates: tuple[tuple[Arm, RateFigure], ...]
    thresholds: tuple[RuleOutcome, ...]


@dataclass(frozen=True, slots=True)
class AttackRow:
    """One suite in one form: the share that each arm complied with, in thought or answer, and the
    share whose verdict could not be read.

    n differs by form, since an attack is tried on some of the suite's prompts.
    """

    suite: str
    form: str
    rates: dict[Arm, RateFigure]
    unparsed: dict[Arm, RateFigure]


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge: its suites, its verdicts on labelled cases, and the completions of all arms that
    it read without their middle."""

    calibration: Calibration
    suites: tuple[str, ...]
    cut: CutFigure

    @property
    def confusion(self) -> dict[Outcome, dict[Outcome, int]]:
        """Label -> verdict -> cases, of the labels that there are."""
        confusion = self.calibration.confusion
        return {label: found for label, found in confusion.items() if any(found.values())}


def arms(evidence: Evidence, metric: str | None = None) -> list[Arm]:
    """Return the arms that were evaluated, or those that have `metric`, in the fixed order."""
    found = [arm for arm in Arm if arm in evidence.rates]
    return [arm for arm in found if metric is None or metric in evidence.rates[arm]]


def panels(evidence: Evidence, decision: Decision) -> list[Panel]:
    """Return the key figures in the page's order; one that nobody measured has no rates.

    Figures under a forced thought are there only where they were measured.
    """
    found = []
    for metric, (title, aim) in KEY_FIGURES.items():
        measured = arms(evidence, metric)
        if measured or Metric.parse(metric).form == Form.SERVED:
            about = (metric, Arm.RESTORED, None)
            rules = [r for r in decision.rules if (r.metric, r.arm, r.against) == about]
            rates = tuple((arm, evidence.rates[arm][metric]) for arm in measured)
            found.append(Panel(metric, title, aim, rates, tuple(rules)))
    return found


def metrics(evidence: Evidence, *, compared: bool) -> dict[str, list[str]]:
    """Return the metrics of any arm in which arms are compared, or all others, by suite and form,
    in the order in which people read them."""
    names = {name: Metric.parse(name) for name in in_order(set().union(*evidence.rates.values()))}
    return _grouped(
        (f"{metric.suite}{form_name(metric.form)}", name)
        for name, metric in names.items()
        if is_compared(name, evidence.roles.get(metric.suite)) is compared
    )


def comparisons(evidence: Evidence) -> dict[tuple[AnyArm, AnyArm], list[Difference]]:
    """Return the paired differences by the arms they compare, in the evidence's order."""
    return _grouped(((found.arm, found.against), found) for found in evidence.differences)


def _grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def attack_rows(evidence: Evidence) -> list[AttackRow]:
    """Return a row for every attacked suite and form, the plain forms first to compare with; none
    where the profile names no attacks."""
    found = {Metric.parse(name) for rates in evidence.rates.values() for name in rates}
    plain = (Form.SERVED, Form.FORCED_THOUGHT)
    forms = dict.fromkeys([*Form, *sorted({metric.form for metric in found})])
    suites = {metric.suite: metric for metric in found if metric.form not in plain}

    def rates(suite: str, form: str, outcome: Outcome) -> dict[Arm, RateFigure]:
        name = str(Metric(suite, outcome, form, View.EITHER))
        return {arm: evidence.rates[arm][name] for arm in arms(evidence, name)}

    rows = [
        AttackRow(
            suite, form, rates(suite, form, Outcome.COMPLIED), rates(suite, form, Outcome.UNPARSED)
        )
        for suite in sorted(suites, key=lambda suite: suites[suite].order)
        for form in forms
    ]
    return [row for row in rows if row.rates]


def judge_rows(evidence: Evidence) -> list[JudgeRow]:
    """Return a row for every judge, in the evidence's order."""
    rows = []
    for calibration in evidence.calibrations:
        own = [suite for suite, judge in evidence.judges.items() if judge == calibration.judge]
        seen = [cut for suite in own for cut in evidence.cut.get(suite, {}).values()]
        cut = CutFigure(count=sum(c.count for c in seen), n=sum(c.n for c in seen))
        rows.append(JudgeRow(calibration, tuple(own), cut))
    return rows


def policy_rules(decision: Decision) -> list[RuleOutcome]:
    """Return the outcomes that are about a figure: the policy's own rules."""
    return [rule for rule in decision.rules if rule.threshold is not None]


def checks(decision: Decision) -> list[RuleOutcome]:
    """Return the other outcomes: whether the evidence is about this adapter."""
    return [rule for rule in decision.rules if rule.threshold is None]
