from components.report.wording import (
    interval,
    listed,
    number,
    percent,
    points,
    probability,
    upper_first,
)


def test_shares_are_per_cent_with_one_decimal():
    assert percent(292 / 300) == "97.3\u00a0%"
    assert percent(0) == "0.0\u00a0%"
    assert interval(0.94789, 0.98645) == "[94.8, 98.6]"
    assert interval(-0.0571, 0.003) == "[−5.7, 0.3]"


def test_differences_are_signed_unless_they_round_to_zero():
    assert points(0.9733) == "+97.3"
    assert points(-0.0033) == "−0.3"
    assert points(0.0002) == points(-0.0002) == "0.0"


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
