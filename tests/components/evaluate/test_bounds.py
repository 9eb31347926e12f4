"""What was cut off may count or not: every way in which it may is tried out."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.vocabulary import Arm, Outcome, Role, View
from components.evaluate.bounds import difference_within, rate_within
from components.evaluate.rates import counts_of, rates
from components.evaluate.rows import Row, read_outcomes, write_judged
from components.evaluate.statistics import compare_pairs, rate_of
from tests.evidence import make_row

REFUSED, COMPLIED, NEITHER, UNPARSED = Outcome
CUT = {"finished": False, "answer": "", "closed": False, "thought": "so far"}


def cut(thought: Outcome | None, prompt: int = 0, **changes) -> Row:
    """A completion that the token limit cut off in its thought, or before it wrote anything."""
    written = "so far" if thought else None
    return make_row(prompt, NEITHER, thought, **CUT | {"thought": written} | changes)


@pytest.mark.parametrize(
    ("thought", "refused", "complied"),
    [
        (REFUSED, None, None),  # the answer may comply after all
        (COMPLIED, False, True),  # whatever the answer says
        (NEITHER, None, None),
        (UNPARSED, False, None),  # an answer that refuses leaves the thought unread
        (None, None, None),
    ],
)
def test_a_missing_answer_is_open_unless_the_thought_settles_it(thought, refused, complied):
    row = cut(thought)
    assert row.did(View.ANSWER, REFUSED) is row.did(View.ANSWER, COMPLIED) is None
    assert row.did(View.EITHER, REFUSED) is refused
    assert row.did(View.EITHER, COMPLIED) is complied
    for view in (View.THOUGHT, View.UNCLOSED):
        assert row.did(view, COMPLIED) is (thought is COMPLIED)


@pytest.mark.parametrize("changes", [{"finished": True}, {"answer": "I will not"}])
def test_what_was_begun_or_ended_is_read_as_it_stands(changes):
    row = make_row(0, REFUSED, None, **CUT | changes)
    assert row.did(View.ANSWER, REFUSED) is True
    assert row.did(View.EITHER, COMPLIED) is False


def test_what_was_written_is_no_bound():
    """Neither, unparsed and how a completion ended are about what is there."""
    found = rates(counts_of([cut(NEITHER, 0), make_row(1, REFUSED, COMPLIED)]), 0.95)
    openly = {name for name, figure in found.items() if figure.highest}
    views = ("", "either.")
    assert openly == {f"harmful.{view}{did}" for view in views for did in (REFUSED, COMPLIED)}
    assert found["harmful.neither"].rate == found["harmful.finished"].rate == 0.5


def test_a_grade_is_open_until_the_answer_has_ended():
    asked = {"role": Role.REASONING, "correct": True, "correct_strict": False}
    rows = [
        make_row(0, COMPLIED, **asked),
        make_row(1, COMPLIED, finished=False, answer="is it 5", **asked),
        cut(COMPLIED, 2, **asked | {"correct": False}),
    ]
    found = rates(counts_of(rows), 0.95)
    correct, strict = found["reasoning.correct"], found["reasoning.correct_strict"]
    assert (correct.rate, correct.most, correct.open) == (pytest.approx(1 / 3), 1.0, 2)
    assert (strict.rate, strict.most, strict.open) == (0.0, pytest.approx(2 / 3), 2)


def ways(row: Row) -> list[Row]:
    """The row with every answer that it might have had; one whose answer is there, as it is."""
    if row.finished or row.answer:
        return [row]
    ended = {"finished": True, "answer": "and so", "closed": True}
    return [replace(row, outcome_answer=o, **ended) for o in (REFUSED, COMPLIED, NEITHER)]


thoughts = st.sampled_from([None, *Outcome])
whole = st.builds(lambda p, answer, thought: make_row(p, answer, thought), st.integers(0, 3),
                  st.sampled_from(list(Outcome)), thoughts)  # fmt: skip
broken = st.builds(lambda p, thought: cut(thought, p), st.integers(0, 3), thoughts)


@given(st.lists(whole, max_size=5), st.lists(broken, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_rate_runs_over_every_answer_that_may_have_come(there, missing):
    """Prompts have one completion or several."""
    bounds = rates(counts_of([*there, *missing]), 0.95)
    every = [
        rates(counts_of([*there, *filled]), 0.95) for filled in product(*map(ways, missing))
    ]  # fmt: skip
    for metric in (f"harmful.{v}{o}" for v in ("", "either.") for o in (REFUSED, COMPLIED)):
        found = [one[metric] for one in every]
        bound = bounds[metric]
        assert bound.rate == pytest.approx(min(one.rate for one in found))
        assert bound.most == pytest.approx(max(one.rate for one in found))
        if bound.samples is None:
            assert bound.low == pytest.approx(min(one.low for one in found))
            assert bound.high == pytest.approx(max(one.high for one in found))
        assert {one.n for one in found} == {bound.n}


def settled(samples):
    return product(*((False, True) if one is None else (one,) for one in samples))


either = st.sampled_from([True, False, None])
one_each = st.lists(st.tuples(either, either), min_size=1, max_size=7).filter(
    lambda pairs: 0 < sum(pair.count(None) for pair in pairs) <= 7
)


@given(one_each)
@settings(max_examples=80, deadline=None)
def test_a_difference_runs_over_every_pairing(pairs):
    bound = difference_within(
        Arm.RESTORED, Arm.BASE, "harmful.refused", [((a,), (b,)) for a, b in pairs], 0.95
    )
    flat = [one for pair in pairs for one in pair]
    found = [
        compare_pairs(
            Arm.RESTORED, Arm.BASE, "harmful.refused",
            [((way[i],), (way[i + 1],)) for i in range(0, len(way), 2)], 0.95,
        )
        for way in settled(flat)
    ]  # fmt: skip
    assert bound.difference == pytest.approx(min(one.difference for one in found))
    assert bound.most == pytest.approx(max(one.difference for one in found))
    assert bound.low == pytest.approx(min(one.low for one in found), abs=1e-9)
    assert bound.high == pytest.approx(max(one.high for one in found), abs=1e-9)
    assert bound.p_value >= max(one.p_value for one in found) - 1e-12
    if bound.p_value < 1:
        assert bound.p_value == pytest.approx(max(one.p_value for one in found))


@given(st.lists(st.lists(either, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_of_several_samples_each_may_count(prompts):
    bound = rate_within(prompts, 0.9)
    found = [rate_of(way, 0.9) for way in product(*map(list, map(settled, prompts)))]
    assert bound.rate == pytest.approx(min(one.rate for one in found))
    assert bound.most == pytest.approx(max(one.rate for one in found))
    at_ends = (one for one in found if one.rate in (bound.rate, bound.most))
    assert all(bound.low <= one.low and one.high <= bound.high for one in at_ends)
    assert bound.open == sum(samples.count(None) for samples in prompts)


def test_without_anything_cut_off_nothing_changes():
    prompts = [(True, False), (True,), (False, False, True)]
    assert rate_within(prompts, 0.95) == rate_of(prompts, 0.95)
    pairs = [(one, other) for one in prompts for other in prompts]
    assert difference_within("A", "B", "m", pairs, 0.95) == compare_pairs(
        "A", "B", "m", pairs, 0.95
    )


def test_by_hand():
    """Of 10 pairs 6 are gained, and of one each arm's answer is missing."""
    sure, none = ((True,), (False,)), ((False,), (False,))
    pairs = [sure] * 6 + [none] * 2 + [((None,), (False,)), ((False,), (None,))]
    found = difference_within("A", "B", "m", pairs, 0.95)
    assert (found.difference, found.most) == (pytest.approx(0.5), pytest.approx(0.7))
    assert (found.gained, found.lost) == (6, 1)
    assert (found.highest.gained, found.highest.lost) == (7, 0)
    assert found.p_value == pytest.approx(16 / 2**7)  # 2 (C(7,0) + C(7,1)) / 2^7
    assert found.highest.p_value == pytest.approx(2 / 2**7)
    tossed = difference_within("A", "B", "m", [none] * 3 + [((None,), (None,))], 0.95)
    assert (tossed.difference, tossed.most, tossed.p_value) == (-0.25, 0.25, 1.0)


def test_rows_read_without_their_texts_are_counted_alike(tmp_path):
    rows = [cut(REFUSED, 0), make_row(1, REFUSED, None, finished=False, answer="no")]
    write_judged(tmp_path / "rows.parquet", rows)
    (read,) = read_outcomes(tmp_path / "rows.parquet").values()
    assert counts_of(read) == counts_of(rows)
    assert all(row.answer in ("", "…") for row in read)
