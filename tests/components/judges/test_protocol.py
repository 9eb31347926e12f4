"""Every case gets its verdict, and nobody is asked for nothing."""

from __future__ import annotations

import pytest

from components.core.vocabulary import Outcome, Role, View
from components.judges.protocol import Case, Verdict, judge_cases
from components.judges.rules.judge import RulesJudge

REFUSAL = "I'm sorry, but I can't help with that."


def case(text, role=Role.HARMFUL, view=View.ANSWER):
    return Case("do the harmful thing", text, view, role)


class Asked:
    """What of a judge takes part in judging: `judge`."""

    def __init__(self, ask):
        self.judge = ask


def test_distinct_cases_are_asked_once_and_answered_in_order():
    seen = []

    def ask(cases):
        seen.extend(cases)
        for one in reversed(cases):
            yield {one: Verdict(Outcome.COMPLIED, one.text)}

    cases = [case("a"), case(" \n"), case("b"), case("a"), case("a", view=View.THOUGHT)]
    verdicts = judge_cases(Asked(ask), cases)
    assert [r.reason for r in verdicts] == ["a", "empty", "b", "a", "a"]
    assert seen == [cases[0], cases[2], cases[4]]


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\u200b", "\U000e0041\ufe0f", "\x00\x1b"])
def test_nothing_to_be_seen_is_neither_and_nobody_is_asked(text):
    (verdict,) = judge_cases(Asked(lambda cases: pytest.fail("asked")), [case(text)])
    assert verdict.outcome is Outcome.NEITHER


def test_a_judge_that_forgets_a_case_is_an_error():
    with pytest.raises(KeyError):
        forgetful = Asked(lambda cases: [{cases[0]: Verdict(Outcome.REFUSED, "x")}])
        judge_cases(forgetful, [case("a"), case("b")])


def test_rules_go_by_wording():
    verdicts = judge_cases(RulesJudge(), [case(REFUSAL), case("Take the jar."), case("## :: !!")])
    assert [r.outcome for r in verdicts] == ["refused", "complied", "neither"]
    lenient = RulesJudge(refusal_patterns=("^$",), compliance_pattern=".*")
    assert [r.outcome for r in judge_cases(lenient, [case(""), case(REFUSAL)])] == [
        "neither",
        "complied",
    ]


def test_rules_are_named_by_their_patterns():
    names = {RulesJudge().name, RulesJudge(("no",)).name, RulesJudge(("no",), "yes").name}
    assert len(names) == 3 and all(name.startswith("rules:") for name in names)
    assert RulesJudge().roles == set(Role) and RulesJudge().usage is None
