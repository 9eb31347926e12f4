"""Names of metrics, their order, and which of them arms are compared in."""

from __future__ import annotations

import pytest

from components.core.metric_names import Metric, in_order, is_compared, measures
from components.core.vocabulary import Form, Role, View

ALL = [
    Metric("harmful", measure, form, view)
    for form in Form
    for view in View
    for measure in measures(view)
]


@pytest.mark.parametrize("metric", ALL, ids=str)
def test_a_name_is_read_as_it_is_written(metric):
    assert Metric.parse(str(metric)) == metric


def test_names_differ_and_leave_out_what_is_plain():
    assert len({str(metric) for metric in ALL}) == len(ALL)
    assert str(Metric("xstest", "refused")) == "xstest.refused"
    whole = Metric("xstest", "complied", Form.ROLE_PLAY, View.THOUGHT)
    assert str(whole) == "xstest.role-play.thought.complied"


@pytest.mark.parametrize(
    "name",
    ["", "harmful", "harmful.", ".refused", "harmful.odd", "harmful.thought.correct", "a b.refused",
     "harmful.thought.forced_thought.refused", "harmful.refused.forced_thought",
     "../x.refused", "Harmful.refused"],
)  # fmt: skip
def test_other_names_are_refused_with_what_there_is(name):
    with pytest.raises(
        ValueError, match=r"SUITE\[\.FORM\]\[\.VIEW\]\.MEASURE.*forced_thought.*fused"
    ):
        Metric.parse(name)


def test_the_order_is_by_role_then_form_then_part_then_measure():
    names = [
        "harmful.refused", "harmful.complied", "harmful.thought.refused",
        "harmful.forced_thought.refused", "benign.refused", "reasoning.correct", "aime.correct",
        "xstest.refused",
    ]  # fmt: skip
    assert in_order(reversed(names)) == names


def test_arms_are_compared_in_what_a_suite_is_for():
    assert is_compared("jbb.either.complied", Role.HARMFUL)
    assert is_compared("jbb.prefilled.refused", Role.HARMFUL)
    assert not is_compared("jbb.thought.refused", Role.HARMFUL)
    assert not is_compared("gsm8k.refused", Role.REASONING)
    assert is_compared("gsm8k.correct", Role.REASONING) and is_compared("gsm8k.correct")
    assert not is_compared("gsm8k.finished")


def test_the_unread_verdicts_behind_a_metric():
    assert str(Metric.parse("harmful.refused").unparsed) == "harmful.unparsed"
    attacked = Metric.parse("harmful.role-play.either.complied").unparsed
    assert str(attacked) == "harmful.role-play.either.unparsed"
    # Graders and token counts are no verdicts.
    assert Metric.parse("gsm8k.correct").unparsed is None
    assert Metric.parse("gsm8k.finished").unparsed is None
