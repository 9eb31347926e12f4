"""A run's decision and state as tables, and the cells that tables of rates share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.padding import Padding
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
from components.report.studies import RateCell
from components.report.wording import KEY_FIGURES, describe_usage, side

if TYPE_CHECKING:
    from components.registry.status import AliasStatus
    from flows.cli.status import StageState

STYLES = {"up to date": "green", "running": "cyan"}  # of how a stage stands; else it wants a run


_MARK, _RULE = 6, 54  # columns of a rule's line: pass or fail, its name; then what decided it


def rules_lines(decision: Decision, leaks: Iterable[LeakFigure] = ()) -> Iterator[Text | Padding]:
    """Yield the gate's decision, a line a rule, what does not hold last and with its reason.

    Of the evidence's own checks those that passed are one line. Rules about suites of which
    training held prompts are marked, with what was found below them.
    """
    marked = leak_notes(leaks)
    checks = [rule for rule in decision.rules if rule.threshold is None]
    yield Text("The gate's decision: the end of each interval that decides, and its bound", "bold")
    if held := sum(rule.passed for rule in checks):
        words = f"{held} of {len(checks)} checks: the evidence is about this adapter"
        yield _line("pass", "green", words)
    named = (f"{rule.rule} {leak_mark(rule.metric, marked)}".strip() for rule in decision.rules)
    for rule, name in sorted(zip(decision.rules, named, strict=True), key=_urgency):
        if rule not in checks or not rule.passed or rule.warns:
            yield _line(*_mark(rule), name, _decided(rule))
        if rule.warns or not rule.passed:
            yield Padding(Text(_reason(rule)), (0, 0, 0, _MARK), expand=False)
    for refusal in decision.refused:
        yield _line("", "", f"an override is refused: {refusal}")
    for note in leak_footnotes(marked, (rule.metric for rule in decision.rules)):
        yield Text(note)


def _line(mark: str, style: str, name: str, decided: str = "") -> Text:
    text = Text(mark.ljust(_MARK), style)
    if decided and len(name) > _RULE - 2:  # a long name has a line to itself
        name = f"{name}\n{' ' * (_MARK + _RULE)}"
    return text.append(f"{name:<{_RULE}}{decided}".rstrip(), "default not bold")


def _urgency(one: tuple[RuleOutcome, str]) -> int:
    rule, _ = one
    return 0 if rule.passed and not rule.warns else 1 if rule.passed else 2


def _reason(rule: RuleOutcome) -> str:
    unsure = "inconclusive: " * (rule.conclusion is Conclusion.INCONCLUSIVE)
    return f"{unsure}{rule.why}\n{rule.override or ''}".strip()


def _decided(rule: RuleOutcome) -> str:
    """Return the bound and what it is held to: "96.1 ≥ 85.0 %", or "< 85.0 %" where it is not."""
    if rule.threshold is None or rule.bound is None:
        return ""
    wanted = side(rule)
    sign = wanted if rule.passed else {"≥": "<", "≤": ">"}.get(wanted, "against")
    if rule.against is None:
        return f"{100 * rule.bound:.1f} {sign} {100 * rule.threshold:.1f} %"
    return f"{100 * rule.bound:+.1f} {sign} {100 * rule.threshold:+.1f} pts"


def _mark(rule: RuleOutcome) -> tuple[str, str]:
    if rule.passed:
        return ("note", "yellow") if rule.warns else ("pass", "green")
    if rule.override:
        return "over", "bold yellow"
    return (
        ("open", "bold yellow")
        if rule.conclusion is Conclusion.INCONCLUSIVE
        else ("FAIL", "bold red")
    )


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
) -> str | RateCell:
    """Return a rate as a cell of a table: per cent with its `sign`, interval and n, and how many of
    the verdicts behind it could not be read, where there are some."""
    if figure is None:
        return "not measured"
    low, high = 100 * figure.low, 100 * figure.high
    cell = RateCell(f"{figure.share}{sign}", f"[{low:.1f}, {high:.1f}]", figure.size)
    if unparsed is None or not unparsed.count:
        return cell
    misread = f"; {unparsed.count} of {unparsed.samples or unparsed.n} unparsed"
    return cell._replace(more=(misread,))


def metric_cell(
    rates: Mapping[str, RateFigure], name: str, marked: Collection[str] = ()
) -> str | RateCell:
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


def last_decision(workspace: Workspace, gate: str) -> str:
    """Return the gate's last decision in words, with the rules that failed; `gate` is how that
    stage stands, and where it is not up to date the decision may not be on what is here now."""
    if not (workspace.stage("gate") / Decision.FILE).is_file():
        return "the gate has not decided yet"
    decision = Decision.load(workspace.stage("gate"))
    adapter = decision.adapter[:12]
    if decision.accepted:
        words = ", ".join((f"the gate accepted adapter {adapter}", *decision.unknown))
    else:
        against = ", ".join(rule.rule for rule in decision.rules if not rule.stands)
        words = f"the gate said no to adapter {adapter} ({decision.outcome}): {against}"
    if gate == "never run":  # dvc.lock is gone, or of another run
        return f"none that dvc.lock has; a file that lies here says: {words}"
    return words if gate == "up to date" else f"of an earlier run (gate: {gate}): {words}"


def status_table(
    workspace: Workspace, states: Iterable[StageState], standings: Iterable[AliasStatus]
) -> Table:
    """Return how the stages of a profile stand, the gate's last decision, and what champion and
    candidate are, with the restored model's figures."""
    # Of two columns the second holds a figure with its interval in a terminal of 80 columns.
    table = Table("", "state", title=for_terminal(workspace.profile))
    gate = "never run"
    for state in states:
        gate = state.state if state.stage == "gate" else gate
        shown_state = Text(state.state, STYLES.get(state.state, "yellow"))
        joint = " " if state.state == "waits" else ", "
        why = f"{joint}{for_terminal(state.why)}" if state.why else ""
        table.add_row(state.stage, shown_state.append(why, "default"))
    table.add_section()
    table.add_row("decision", for_terminal(last_decision(workspace, gate)))
    shown = set()
    for standing in standings:
        if standing.version and standing.version in shown:
            table.add_row(standing.alias, f"version {standing.version}, the same")
            continue
        shown.add(standing.version)
        adapter = f"version {standing.version}, adapter {standing.adapter[:12]}"
        lines = [adapter if standing.version else "none"]
        lines += _figures(standing.figures)
        if change := standing.change:
            said = f"{change.event} by {change.who}: {change.why}"
            lines.append(f"{change.when[:16]}: version {change.version} {said}")
        if watched := standing.watched:
            lines.append(f"{watched.when[:16]}: watch found {watched.words}")
        table.add_section()
        table.add_row(standing.alias, "\n".join(map(for_terminal, lines)))
    if not shown:
        table.add_section()
        table.add_row("champion", "none, and no candidate")
    return table


def _figures(figures: dict[str, float]) -> Iterator[str]:
    """Yield the restored model's key figures, and its refusals under each attack."""
    for key in sorted(figures):
        arm, _, metric = key.partition("/")
        refused = metric.startswith("harmful.") and metric.endswith(".refused")
        shown = arm == "restored" and (refused or metric in KEY_FIGURES)
        if shown and f"{key}.n" in figures:
            low, high, n = (figures[f"{key}.{end}"] for end in ("low", "high", "n"))
            span = f"[{100 * low:.1f}, {100 * high:.1f}]"
            yield f"{metric} {100 * figures[key]:.1f} % {span}, n={n:.0f}"
