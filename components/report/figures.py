"""The evidence as the page's tables: key figures, metrics, comparisons, attacks and judges."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

from components.core.metric_names import Metric, in_order, is_compared
from components.core.result import RateFigure
from components.core.vocabulary import PLAIN_FORMS, AnyArm, Arm, Form, Outcome, Role, View
from components.evaluate.result import Agreement, CutFigure, Difference, Evidence
from components.gate.result import Decision, RuleOutcome
from components.judges.result import Calibration
from components.report.wording import KEY_FIGURES, form_name, side


class Panel(NamedTuple):
    """One key figure: its rate in every arm that has it, and the gate's thresholds for it."""

    metric: str
    title: str
    aim: int  # 1: higher is better, -1: lower is
    rates: dict[Arm, RateFigure]
    thresholds: list[RuleOutcome]


class AttackRow(NamedTuple):
    """One suite in one form: the share that each arm complied with where it is harmful, else the
    share that it refused, in thought or answer, and the share whose verdict could not be read; n
    differs by form."""

    suite: str
    form: str
    outcome: Outcome
    rates: dict[Arm, RateFigure]
    unparsed: dict[Arm, RateFigure]


class JudgeRow(NamedTuple):
    """One judge, its suites, and the completions of all arms that it read without their middle."""

    calibration: Calibration
    suites: list[str]
    cut: CutFigure


class AgreementRow(NamedTuple):
    """How often both judges of a suite say the same of one part of the completions, by arm."""

    suite: str
    form: str
    view: View
    agreements: dict[AnyArm, Agreement]


def rates_of(evidence: Evidence, metric: str) -> dict[Arm, RateFigure]:
    """Return the rates of a metric by the arms that have it, in the fixed order of arms."""
    arms = [arm for arm in Arm if metric in evidence.rates.get(arm, {})]
    return {arm: evidence.rates[arm][metric] for arm in arms}


def panels(evidence: Evidence, decision: Decision) -> list[Panel]:
    """Return the key figures in the page's order, then those that rules which do not hold are
    about; a key figure that nobody measured has no rates.

    Figures under a forced thought are there only where they were measured.
    """
    found = []
    for metric, (title, aim) in (KEY_FIGURES | _deciding(decision)).items():
        rates = rates_of(evidence, metric)
        key = metric in KEY_FIGURES
        if rates or (key and Metric.parse(metric).form == Form.SERVED):
            about = (metric, Arm.RESTORED, None)
            rules = [r for r in decision.rules if (r.metric, r.arm, r.against) == about]
            found.append(Panel(metric, title, aim, rates, rules))
    return found


def _deciding(decision: Decision) -> dict[str, tuple[str, int]]:
    """Return title and aim of the other figures that rules which do not hold are about, by
    metric."""
    found = {}
    for rule in decision.rules:
        decides = rule.threshold is not None and not rule.stands
        if decides and rule.metric not in KEY_FIGURES and (wanted := side(rule)):
            metric = Metric.parse(rule.metric)
            served = str(replace(metric, form=Form.SERVED))
            title = KEY_FIGURES[served][0] if served in KEY_FIGURES else served
            aim = 1 if wanted == "≥" else -1
            found[rule.metric] = (f"{title}{form_name(metric.form)}", aim)
    return found


def metrics(evidence: Evidence, *, compared: bool) -> dict[str, list[str]]:
    """Return the metrics of any arm in which arms are compared, or all others, by suite and form,
    in the order in which people read them."""
    groups = defaultdict(list)
    for name in in_order(set().union(*evidence.rates.values())):
        metric = Metric.parse(name)
        if is_compared(name, evidence.roles.get(metric.suite)) is compared:
            groups[f"{metric.suite}{form_name(metric.form)}"].append(name)
    return groups


def comparisons(evidence: Evidence) -> dict[tuple[AnyArm, AnyArm], list[Difference]]:
    """Return the paired differences by the arms they compare, in the evidence's order."""
    groups = defaultdict(list)
    for found in evidence.differences:
        groups[found.arm, found.against].append(found)
    return groups


def attack_rows(evidence: Evidence) -> list[AttackRow]:
    """Return a row for every attacked suite and form, the plain forms first to compare with; none
    where the profile names no attacks."""
    found = {Metric.parse(name) for rates in evidence.rates.values() for name in rates}
    forms = dict.fromkeys([*Form, *sorted({metric.form for metric in found})])
    suites = {metric.suite: metric for metric in found if metric.form not in PLAIN_FORMS}
    rows = []
    for suite in sorted(suites, key=lambda suite: suites[suite].order):
        harmful = evidence.roles.get(suite, Role.HARMFUL) is Role.HARMFUL
        outcome = Outcome.COMPLIED if harmful else Outcome.REFUSED
        for form in forms:
            counted, unparsed = (
                rates_of(evidence, str(Metric(suite, one, form, View.EITHER)))
                for one in (outcome, Outcome.UNPARSED)
            )
            if counted:
                rows.append(AttackRow(suite, form, outcome, counted, unparsed))
    return rows


def judge_rows(evidence: Evidence) -> list[JudgeRow]:
    """Return a row for every judge, in the evidence's order."""
    rows = []
    for calibration in evidence.calibrations:
        suites, seen = [], []
        for which, found in (("", evidence), (" (second)", evidence.by_second_judge)):
            own = [suite for suite, judge in found.judges.items() if judge == calibration.judge]
            suites += [f"{suite}{which}" for suite in own]
            seen += [cut for suite in own for cut in found.cut.get(suite, {}).values()]
        cut = CutFigure(count=sum(c.count for c in seen), n=sum(c.n for c in seen))
        rows.append(JudgeRow(calibration, suites, cut))
    return rows


def agreement_rows(evidence: Evidence) -> list[AgreementRow]:
    """Return a row for every suite with two judges, form and part, in the evidence's order."""
    rows: dict[tuple[str, str, View], dict[AnyArm, Agreement]] = defaultdict(dict)
    for one in evidence.second.agreements if evidence.second else ():
        rows[one.suite, one.form, one.view][one.arm] = one
    return [AgreementRow(*about, found) for about, found in rows.items()]
