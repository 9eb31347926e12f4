"""A decision as the page that Prefect's interface shows of a run."""

from __future__ import annotations

from collections.abc import Iterator

from components.core.paths import REPORT, Workspace
from components.core.result import RateFigure
from components.core.untrusted_text import for_markdown
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.gate.result import Decision, RuleOutcome
from components.prepare.result import SuiteSet, leak_footnotes, leak_mark, leak_notes
from components.report.figures import rates_of
from components.report.studies import StudyTable
from components.report.wording import ATTACKED, KEY_FIGURES, counted, interval, listed, under_attack

_ARMS = (Arm.RESTORED, Arm.BASE, Arm.POST_TRAINED, Arm.BASELINE)  # wide: what is decided on first


def decision_page(workspace: Workspace, decision: Decision) -> str:
    """Return the verdict, the key figures and the rules in Markdown; what does not hold comes
    first, and of the evidence's own checks only that."""
    marked = leak_notes(SuiteSet.load(workspace.stage("prepare")).leaks)
    checks = [rule for rule in decision.rules if rule.threshold is None]
    shown = [rule for rule in decision.rules if rule not in checks or not rule.passed]
    shown.sort(key=lambda rule: rule.passed)
    held = sum(rule.passed for rule in checks)
    rules = [[_rule(rule, marked), _conclusion(rule), for_markdown(rule.why)] for rule in shown]
    evidence = Evidence.load(workspace.stage("evaluate"))
    attacked = [under_attack(evidence, *about) for about in ATTACKED.items()]
    notes = leak_footnotes(marked, (rule.metric for rule in decision.rules))
    page = (workspace.stage("report") / REPORT).relative_to(workspace.root).as_posix()
    return "\n\n".join(
        (
            f"## {summary(decision)}",
            StudyTable(("", *_ARMS), list(_figures(evidence))).markdown(),
            *(for_markdown(one) for one in attacked if one),
            StudyTable(("rule", "", "what decided it"), rules).markdown(),
            f"{held} of {len(checks)} checks hold that the evidence is about this adapter.",
            *map(for_markdown, notes),
            f"The report: `{page}`, where the run took place.",
        )
    )


def summary(decision: Decision) -> str:
    """Return the decision in a sentence."""
    held: dict[str, list[bool]] = {"rule": [], "check of the evidence": []}
    for rule in decision.rules:
        held["rule" if rule.threshold is not None else "check of the evidence"].append(rule.passed)
    counts = (f"{sum(each)} of {counted(len(each), kind)}" for kind, each in held.items() if each)
    return f"adapter {decision.adapter[:12]} {decision.words}: {listed(counts)} passed"


def _figures(evidence: Evidence) -> Iterator[list[str]]:
    for metric, (title, _) in KEY_FIGURES.items():
        if rates := rates_of(evidence, metric):
            sizes = {rate.size for rate in rates.values()}
            alike = f", n={sizes.pop()}" if len(sizes) == 1 else ""
            cells = (rates.get(arm) for arm in _ARMS)
            yield [title + alike, *(_rate(rate, named=not alike) if rate else "" for rate in cells)]


def _rate(rate: RateFigure, *, named: bool) -> str:
    size = f", n={rate.size}" if named else ""
    return f"{rate.share} {interval(rate.low, rate.high)}{size}"


def _rule(rule: RuleOutcome, marked: dict[str, str]) -> str:
    return f"{for_markdown(rule.rule)} {leak_mark(rule.metric, marked)}".strip()


def _conclusion(rule: RuleOutcome) -> str:
    word = rule.conclusion.value if rule.passed else f"**{rule.conclusion.value}**"
    return f"{word}, overridden: {for_markdown(str(rule.override))}" if rule.override else word
