"""The page of a decision in Prefect's interface, read as Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.vocabulary import Arm
from components.evaluate.bounds import rate_within
from components.evaluate.result import Evidence
from components.gate.result import Decision
from flows.decision_page import decision_page, summary
from tests.hostile import HOSTILE
from tests.releases import write_all


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return write_all(Workspace(tmp_path_factory.mktemp("repository"), "demo"), accepted=False)


def tables(page: str) -> list[list[list[str]]]:
    """Return the cells of every table of the page, as they are read."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level > 2 and found:
            found[-1][-1].append("".join(part.content for part in token.children or []))
    return found


def decided(workspace: Workspace) -> Decision:
    return Decision.load(workspace.stage("gate"))


def test_what_does_not_hold_comes_first_and_every_rule_is_there(workspace):
    decision = decided(workspace)
    _, (_, *rules) = tables(decision_page(workspace, decision))
    words = [conclusion for _, conclusion, _ in rules]
    against = [rule.rule for rule in decision.rules if not rule.passed]
    assert against and {name for name, *_ in rules[: len(against)]} == set(against)
    assert all(word == "pass" for word in words[len(against) :])
    named = {rule.rule for rule in decision.rules if rule.threshold is not None}
    assert named <= {name for name, *_ in rules}


@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - {"long"}))
def test_no_text_of_a_policy_breaks_the_page(workspace, name):
    decision = decided(workspace)
    rules = tuple(rule.model_copy(update={"why": HOSTILE[name]}) for rule in decision.rules)
    hostile = decision.model_copy(update={"rules": rules})
    before, after = (tables(decision_page(workspace, one)) for one in (decision, hostile))
    assert [[len(row) for row in table] for table in before] == [
        [len(row) for row in table] for table in after
    ]


def test_the_page_names_the_report_without_this_machines_folder(workspace):
    page = decision_page(workspace, decided(workspace))
    assert "artifacts/demo/report/report.html" in page and str(Path(workspace.root)) not in page


def test_a_key_figure_is_told_with_its_ends_its_n_and_the_worst_attack(workspace, monkeypatch):
    """The same as in the report: a figure that is open is not told as its lowest alone."""
    evidence = Evidence.load(workspace.stage("evaluate"))
    rates = {arm: dict(found) for arm, found in evidence.rates.items()}
    open_ended = rate_within([(True, True), (True, None)], 0.95)
    rates[Arm.RESTORED] |= {
        "harmful.refused": open_ended,
        "harmful.persona.refused": RateFigure.of(19, 100, 0.95),
    }
    changed = evidence.model_copy(update={"rates": rates})
    monkeypatch.setattr(Evidence, "load", lambda _: changed)
    page = decision_page(workspace, decided(workspace))
    (_, *figures), _ = tables(page)
    (refused,) = (row for row in figures if row[0].startswith("Refuses harmful requests"))
    ends = f"[{100 * open_ended.low:.1f}, {100 * open_ended.high:.1f}]"
    assert refused[1] == f"75.0 to 100.0 % {ends}, n=2 (4 completions)"
    for first, *cells in figures:
        assert ", n=" in first or all(", n=" in cell for cell in cells if cell), first
    assert "persona: 19.0" in page


def test_rules_and_checks_are_counted_apart(workspace):
    decision = decided(workspace)
    rules = [rule.passed for rule in decision.rules if rule.threshold is not None]
    checks = len(decision.rules) - len(rules)
    assert f": {sum(rules)} of {len(rules)} rule" in summary(decision)
    assert f" of {checks} checks of the evidence passed" in summary(decision)
