"""The tables that a person reads after a run."""

from __future__ import annotations

import re

from components.core.result import RateFigure
from components.evaluate.bounds import rate_within
from components.gate.checks import check_outcome
from components.gate.result import Decision, GateOutcome, RuleOutcome
from flows.cli.tables import metric_cell, rate_cell, rules_table, verdict
from tests.evidence import leak, no_leaks
from tests.root import ROOT


def rate(count: int, n: int, **more) -> RateFigure:
    return RateFigure.of(count, n, 0.95).model_copy(update=more)


def check(rule: str, *, warns: bool) -> RuleOutcome:
    return check_outcome(rule, True, f"the words of {rule}", warns=warns)


def test_a_cell_tells_verdicts_that_could_not_be_read_only_where_there_are_some():
    assert rate_cell(None) == "not measured"
    assert rate_cell(rate(12, 100), rate(0, 100)) == "12.0 % [7.0, 19.8], n=100"
    assert rate_cell(rate(12, 100), rate(3, 100)).endswith("n=100; 3 of 100 unparsed")
    # Where prompts have several completions, the count is of these.
    assert rate_cell(rate(12, 100), rate(9, 100, samples=400)).endswith("; 9 of 400 unparsed")


def test_a_cell_says_how_many_completions_and_how_far_they_are_open():
    assert rate_cell(rate(12, 100, samples=400)).endswith("n=100 (400 completions)")
    near = rate(12, 100, clusters=80, samples=400)
    assert near.size == "100 (80 independent, 400 completions)"
    openly = rate_within([(True,)] * 60 + [(None,)] * 20 + [(False,)] * 20, 0.95)
    assert rate_cell(openly) == "60.0 to 80.0 % [50.2, 86.7], n=100"


def test_the_unread_verdicts_of_a_metric_are_found_by_its_name():
    rates = {
        "harmful.either.complied": rate(1, 50),
        "harmful.either.unparsed": rate(2, 50),
        "harmful.unparsed": rate(7, 50),
        "reasoning.correct": rate(40, 50),
        "reasoning.unparsed": rate(5, 50),
    }
    assert metric_cell(rates, "harmful.either.complied").endswith("; 2 of 50 unparsed")
    assert "unparsed" not in metric_cell(rates, "reasoning.correct")
    assert metric_cell(rates, "benign.refused") == "not measured"


def test_a_check_that_passed_is_shown_where_its_words_are_to_be_read():
    decision = Decision.model_construct(
        rules=(check("plain", warns=False), check("reported", warns=True)), refused=()
    )
    rules, marks, whys = rules_table(decision).columns
    assert list(rules.cells) == ["reported", "evidence is about this adapter"]
    assert str(next(iter(marks.cells))) == "pass, read why"
    assert next(iter(whys.cells)) == "the words of reported"


def test_a_check_that_failed_is_shown_as_failed_although_its_words_are_to_be_read():
    failed = check_outcome("reported", False, "why", warns=True)
    _, marks, _ = rules_table(Decision.model_construct(rules=(failed,), refused=())).columns
    assert [str(mark) for mark in marks.cells] == ["FAIL"]


def test_the_rates_of_a_suite_that_training_held_are_marked():
    rates = {"harmful.refused": rate(12, 100), "benign.refused": rate(12, 100)}
    marked = {"harmful": "what was found"}
    assert metric_cell(rates, "harmful.refused", marked) == "12.0 %† [7.0, 19.8], n=100"
    assert metric_cell(rates, "benign.refused", marked) == "12.0 % [7.0, 19.8], n=100"


def test_rules_about_a_suite_that_training_held_are_marked_and_explained():
    about = check("safety", warns=False).model_copy(
        update={"metric": "harmful.refused", "threshold": 0.85}
    )
    decision = Decision.model_construct(rules=(about,), refused=())
    assert rules_table(decision).caption is None
    assert rules_table(decision, no_leaks(["harmful"])).caption is None
    leaks = (leak("harmful", "run", 3, dropped=5), leak("mine", "run", 3, dropped=5))
    table = rules_table(decision, leaks)
    assert list(table.columns[0].cells) == ["safety †"]
    assert str(table.caption) == (
        "† harmful: training as it came repeated 3 of 300 prompts; 5 training rows were dropped "
        "for it; none is repeated in what was trained on."
    )


def test_an_inconclusive_word_warns_of_looking_again():
    reported = verdict(Decision.model_construct(outcome=GateOutcome.INCONCLUSIVE))
    assert reported.startswith("The gate said no: inconclusive; nothing was registered.")
    section = re.search(r'see "(.+)" in (\S+)\.$', reported)
    page = ROOT / section[2]
    assert f"\n## {section[1]}\n" in page.read_text(encoding="utf-8")
    assert "look" not in verdict(Decision.model_construct(outcome=GateOutcome.REJECTED))
