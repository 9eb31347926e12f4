"""A run's decision and state as tables, and the cells that tables of rates share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from components.core.metric_names import Metric
from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.untrusted_text import for_terminal
from components.evaluate.result import CutFigure
from components.gate.result import Conclusion, Decision, GateOutcome, RuleOutcome
from components.judges.result import Usage
from components.prepare.result import LeakFigure, leak_footnotes, leak_mark, leak_notes
from components.report.studies import StudyTable
from components.report.wording import describe_usage

if TYPE_CHECKING:
    from components.registry.status import AliasStatus
    from flows.cli.status import StageState

STYLES = {"up to date": "green", "running": "cyan"}  # of how a stage stands; else it wants a run


def rules_table(decision: Decision, leaks: Iterable[LeakFigure] = ()) -> Table:
    """Return the policy's rules with what decided each; of the evidence's own checks, failures.

    Rules about suites of which training held prompts are marked, with what was found below.
    """
    marked = leak_notes(leaks)
    table = Table("rule", "", "what decided it", title="The gate's decision")
    checks = [rule for rule in decision.rules if rule.threshold is None]
    # What only has words to read stands below the rules.
    for rule in sorted(decision.rules, key=lambda rule: rule in checks and rule.passed):
        if rule not in checks or not rule.passed or rule.warns:
            why = f"{rule.why}\n{rule.override}" if rule.override else rule.why
            table.add_row(f"{rule.rule} {leak_mark(rule.metric, marked)}".strip(), _mark(rule), why)
    if passed := sum(rule.passed for rule in checks):
        held = f"{passed} of {len(checks)}: adapter, models, prompts, prompt form, judges; no leaks"
        table.add_row("evidence is about this adapter", Text("pass", "green"), held)
    for refusal in decision.refused:
        table.add_row("override", Text("refused", "bold yellow"), refusal)
    notes = leak_footnotes(marked, (rule.metric for rule in decision.rules))
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table


def _mark(rule: RuleOutcome) -> Text:
    if rule.warns and rule.passed:
        return Text("pass, read why", "bold yellow")
    if rule.override:
        return Text("overridden", "bold yellow")
    if rule.conclusion is Conclusion.INCONCLUSIVE:
        return Text("inconclusive", "bold yellow")
    return Text("pass", "green") if rule.passed else Text("FAIL", "bold red")


def verdict(decision: Decision) -> str:
    """Return what a decision that is not an acceptance means."""
    if decision.outcome is GateOutcome.INCONCLUSIVE:
        return (
            "The gate said no: inconclusive; nothing was registered. More prompts or labels may "
            'decide, but each look adds to the chance of error: see "Looking again" in '
            "docs/policy.md."
        )
    return "The gate said no: rejected; nothing was registered."


def rate_cell(
    figure: RateFigure | None, unparsed: RateFigure | None = None, *, sign: str = ""
) -> str:
    """Return a rate as a cell of a table: per cent with its `sign`, interval and n, and how many of
    the verdicts behind it could not be read, where there are some."""
    if figure is None:
        return "not measured"
    low, high = 100 * figure.low, 100 * figure.high
    cell = f"{figure.share}{sign} [{low:.1f}, {high:.1f}], n={figure.size}"
    if unparsed is None or not unparsed.count:
        return cell
    return f"{cell}; {unparsed.count} of {unparsed.samples or unparsed.n} unparsed"


def metric_cell(rates: Mapping[str, RateFigure], name: str, marked: Collection[str] = ()) -> str:
    """Return the rate of the metric `name` as `rate_cell` does, with the mark of its suite."""
    unparsed = Metric.parse(name).unparsed
    misread = rates.get(str(unparsed)) if unparsed else None
    return rate_cell(rates.get(name), misread, sign=leak_mark(name, marked))


def judges_lines(usage: Mapping[str, Usage], cut: Iterable[CutFigure]) -> list[str]:
    """Return, a line each, what a table of verdicts does not show: what paid judges were asked for,
    and how many completions were judged without their middle."""
    lines, figures = [describe_usage(name, use) for name, use in usage.items()], list(cut)
    if count := sum(figure.count for figure in figures):
        n = sum(figure.n for figure in figures)
        lines.append(f"{count:,} of {n:,} completions were judged without their middle")
    return lines


def markdown_table(table: StudyTable) -> str:
    """Return a table in Markdown with its notes below it."""
    first, *others = ("| " + " | ".join(cells) + " |" for cells in (table.heads, *table.rows))
    below = (f"\n{note}" for note in table.notes)
    return "\n".join([first, "|---" * len(table.heads) + "|", *others, *below])


def last_decision(workspace: Workspace) -> str:
    """Return the gate's last decision in words, with the rules that failed."""
    if not (workspace.stage("gate") / Decision.FILE).is_file():
        return "the gate has not decided yet"
    decision = Decision.load(workspace.stage("gate"))
    if decision.accepted:
        return ", ".join((f"the gate accepted adapter {decision.adapter[:12]}", *decision.unknown))
    against = ", ".join(rule.rule for rule in decision.rules if not rule.stands)
    return f"the gate said no to adapter {decision.adapter[:12]} ({decision.outcome}): {against}"


def status_table(
    workspace: Workspace, states: Iterable[StageState], standings: Iterable[AliasStatus]
) -> Table:
    """Return how the stages of a profile stand, the gate's last decision, and what champion and
    candidate are, with the restored model's figures."""
    table = Table("", "state", "", title=for_terminal(workspace.profile))
    for state in states:
        style = STYLES.get(state.state, "yellow")
        table.add_row(state.stage, Text(state.state, style), for_terminal(state.why))
    table.add_section()
    table.add_row("decision", "", for_terminal(last_decision(workspace)))
    for standing in standings:
        lines = [f"adapter {standing.adapter[:12]}"] if standing.version else []
        lines += _figures(standing.figures)
        if change := standing.change:
            said = f"{change.event} by {change.by}: {change.why}"
            lines.append(f"{change.when[:16]}: version {change.version} {said}")
        version = f"version {standing.version}" if standing.version else "none"
        table.add_section()
        table.add_row(standing.alias, version, "\n".join(map(for_terminal, lines)))
    return table


def _figures(figures: dict[str, float]) -> Iterator[str]:
    for key in sorted(figures):
        arm, _, metric = key.partition("/")
        if arm == "restored" and f"{key}.n" in figures:
            low, high, n = (figures[f"{key}.{end}"] for end in ("low", "high", "n"))
            span = f"[{100 * low:.1f}, {100 * high:.1f}]"
            yield f"{metric} {100 * figures[key]:.1f} % {span}, n = {n:.0f}"
