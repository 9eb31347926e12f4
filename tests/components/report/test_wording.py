import pytest

from components.evaluate.bounds import difference_within, rate_within
from components.report.wording import (
    interval,
    listed,
    masking,
    number,
    percent,
    points,
    points_of,
    probability,
    rate,
    size,
    upper_first,
)
from tests.masking import masking as made_up
from tests.masking import put_in, transfer


def test_shares_are_per_cent_with_one_decimal():
    assert percent(292 / 300) == "97.3\u00a0%"
    assert percent(0) == "0.0\u00a0%"
    assert interval(0.94789, 0.98645) == "[94.8, 98.6]"
    assert interval(-0.0571, 0.003) == "[−5.7, 0.3]"


def test_differences_are_signed_unless_they_round_to_zero():
    assert points(0.9733) == "+97.3"
    assert points(-0.0033) == "−0.3"
    assert points(0.0002) == points(-0.0002) == "0.0"


def test_figures_that_are_open_are_told_by_both_ends():
    found = rate_within([(True, True), (True, None)], 0.95)
    assert rate(found) == "75.0\u00a0to\u00a0100.0\u00a0%"
    assert size(found) == "2\u00a0(4\u00a0completions)"
    pairs = [((True,), (None,))] * 2 + [((False,), (False,))] * 2
    paired = difference_within("A", "B", "m", pairs, 0.95)
    assert points_of(paired) == "0.0\u00a0to\u00a0+50.0"
    assert points_of(paired.highest) == "+50.0"


def test_p_values_and_numbers():
    assert probability(0.0004) == "<\u00a00.001"
    assert probability(0.0321) == "0.032"
    assert number(-0.126) == "−0.13"
    assert number(-0.0001) == "0.00"
    assert number(None) == "–"


def test_small_words():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert upper_first("the words of Ann") == "The words of Ann"
    assert upper_first("") == ""


MEANINGS = ("nothing is lost", "is masked", "is unlearnt", "not perceived")


@pytest.mark.parametrize(
    ("found", "meaning", "said"),
    [
        (made_up(alone=40), 0, ""),
        (made_up(put_in(harmful=36)), 1, "with the base’s states of the prompt at its last token"),
        (made_up(put_in("add", harmful=30, benign=9)), 1, "1 times the base’s refusal direction"),
        (made_up(put_in("begin", harmful=30)), 1, "the first 1 token of the base’s refusal"),
        (made_up(put_in(harmful=3)), 2, "The most is 3 of 40"),
        (made_up(seen=transfer(0.6, 0.5)), 3, ""),
    ],
)
def test_what_masking_means_in_words(found, meaning, said):
    text = masking(found)
    assert [words for words in MEANINGS if words in text] == [MEANINGS[meaning]]
    assert said in text and f"refuses {found.alone.count} of 40" in text


def test_the_figures_stand_in_the_words():
    text = masking(made_up(put_in("add", harmful=30, control=1, benign=9)))
    assert "The base refuses 40 of 40" in text and "AUC of 1.00 [0.94, 1.00] at layer 2" in text
    assert "refuses 30 of 40" in text and "control 1 of 40" in text and "benign 9 of 40" in text
