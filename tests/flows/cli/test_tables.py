"""The tables that a person reads after a run."""

from __future__ import annotations

import re
from io import StringIO

from components.core.paths import Workspace
from components.core.result import RateFigure
from components.evaluate.bounds import rate_within
from components.gate.checks import check_outcome
from components.gate.result import Conclusion, Decision, GateOutcome, RuleOutcome
from flows.cli.tables import metric_cell, rate_cell, rules_lines, status_table, verdict
from flows.cli.terminal import Terminal
from tests.evidence import leak, no_leaks
from tests.root import ROOT


def rate(count: int, n: int, **more) -> RateFigure:
    return RateFigure.of(count, n, 0.95).model_copy(update=more)


def check(rule: str, *, warns: bool) -> RuleOutcome:
    return check_outcome(rule, True, f"the words of {rule}", warns=warns)


def test_status_says_that_there_is_no_champion(tmp_path):
    target = StringIO()
    Terminal(file=target, width=80).print(status_table(Workspace(tmp_path, "demo"), [], []))
    assert re.search(r"champion +none, and no candidate", target.getvalue())


def test_a_cell_tells_verdicts_that_could_not_be_read_only_where_there_are_some():
    assert str(rate_cell(None)) == "not measured"
    assert str(rate_cell(rate(12, 100), rate(0, 100))) == "12.0 % [7.0, 19.8], n=100"
    assert str(rate_cell(rate(12, 100), rate(3, 100))).endswith("n=100; 3 of 100 unparsed")
    # Where prompts have several completions, the count is of these.
    assert str(rate_cell(rate(12, 100), rate(9, 100, samples=400))).endswith("; 9 of 400 unparsed")


def test_a_cell_says_how_many_completions_and_how_far_they_are_open():
    assert str(rate_cell(rate(12, 100, samples=400))).endswith("n=100 (400 completions)")
    near = rate(12, 100, clusters=80, samples=400)
    assert near.size == "100 (80 independent, 400 completions)"
    openly = rate_within([(True,)] * 60 + [(None,)] * 20 + [(False,)] * 20, 0.95)
    assert str(rate_cell(openly)) == "60.0 to 80.0 % [50.2, 86.7], n=100"


def test_the_unread_verdicts_of_a_metric_are_found_by_its_name():
    rates = {
        "harmful.either.complied": rate(1, 50),
        "harmful.either.unparsed": rate(2, 50),
        "harmful.unparsed": rate(7, 50),
        "reasoning.correct": rate(40, 50),
        "reasoning.unparsed": rate(5, 50),
    }
    assert str(metric_cell(rates, "harmful.either.complied")).endswith("; 2 of 50 unparsed")
    assert "unparsed" not in str(metric_cell(rates, "reasoning.correct"))
    assert str(metric_cell(rates, "benign.refused")) == "not measured"


def shown(decision: Decision, leaks=(), width: int = 80) -> list[str]:
    """Return the lines of the gate's decision on a terminal, without the heading."""
    console = Terminal(width=width, file=StringIO())
    for line in rules_lines(decision, leaks):
        console.print(line, highlight=False)
    return [line.rstrip() for line in console.file.getvalue().splitlines()][1:]


def decided(rule: str, conclusion: Conclusion, bound: float, **more) -> RuleOutcome:
    given = {"threshold": 0.85, "figure": 0.9, "bound": bound, "conclusion": conclusion}
    return check(rule, warns=False).model_copy(update={"metric": "m", **given, **more})


def test_a_check_that_passed_is_shown_where_its_words_are_to_be_read():
    decision = Decision.model_construct(
        rules=(check("plain", warns=False), check("reported", warns=True)), refused=()
    )
    first, rule, words = shown(decision)
    assert first.startswith("pass  2 of 2 checks")
    assert (rule, words) == ("note  reported", "      the words of reported")


def test_a_check_that_failed_is_shown_as_failed_although_its_words_are_to_be_read():
    failed = check_outcome("reported", False, "why", warns=True)
    assert shown(Decision.model_construct(rules=(failed,), refused=())) == [
        "FAIL  reported",
        "      why",
    ]


def test_a_line_a_rule_and_what_does_not_hold_comes_last():
    """The sign between bound and threshold is what is true of the two numbers."""
    rules = (
        decided("fails", Conclusion.FAIL, 0.805),
        decided("is open", Conclusion.INCONCLUSIVE, 0.84, needed=300),
        decided("holds", Conclusion.PASS, 0.87),
        decided("holds below", Conclusion.PASS, -0.02, figure=-0.1, threshold=0.1, against="base"),
        decided("exceeds", Conclusion.FAIL, 0.2, figure=0.1, threshold=0.1, against="base"),
    )
    lines = shown(Decision.model_construct(rules=rules, refused=("it has ended",)))
    words = [line.split() for line in lines if line[:4].strip()]
    assert [line[0] for line in words] == ["pass", "pass", "FAIL", "open", "FAIL"]
    ends = [line.split("  ")[-1].strip() for line in lines if line[:4].strip()]
    assert ends == [
        "87.0 ≥ 85.0 %",
        "-2.0 ≤ +10.0 pts",
        "80.5 < 85.0 %",
        "84.0 < 85.0 %",
        "+20.0 > +10.0 pts",
    ]
    assert lines[-1].endswith("an override is refused: it has ended")
    assert all(len(line) <= 80 for line in lines)


def test_a_name_that_reaches_the_figure_has_a_line_to_itself():
    for length in range(40, 70):
        rule = decided("n" * length, Conclusion.PASS, 0.87)
        name, *rest = shown(Decision.model_construct(rules=(rule,), refused=()))
        assert name.endswith("n") == (length > 52) == bool(rest)
        end = rest[0] if rest else name
        assert end[58:] == "  87.0 ≥ 85.0 %" and "n" * length in name


def test_the_rates_of_a_suite_that_training_held_are_marked():
    rates = {"harmful.refused": rate(12, 100), "benign.refused": rate(12, 100)}
    marked = {"harmful": "what was found"}
    assert str(metric_cell(rates, "harmful.refused", marked)) == "12.0 %† [7.0, 19.8], n=100"
    assert str(metric_cell(rates, "benign.refused", marked)) == "12.0 % [7.0, 19.8], n=100"


def test_rules_about_a_suite_that_training_held_are_marked_and_explained():
    about = check("safety", warns=False).model_copy(
        update={"metric": "harmful.refused", "threshold": 0.85}
    )
    decision = Decision.model_construct(rules=(about,), refused=())
    assert shown(decision)[0].split("  ")[1] == "safety"
    assert shown(decision, no_leaks(["harmful"])) == shown(decision)
    leaks = (leak("harmful", "run", 3, dropped=5), leak("mine", "run", 3, dropped=5))
    rule, *_, note = shown(decision, leaks, width=200)
    assert rule.split("  ")[1] == "safety †"
    assert note == (
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
