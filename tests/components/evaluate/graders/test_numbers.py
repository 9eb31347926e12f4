"""Numbers as they are read: exactly, or not at all."""

from __future__ import annotations

from fractions import Fraction

from components.evaluate.graders.numbers import InBase, exact, in_base


def test_numbers_are_exact():
    assert exact("0.1") == Fraction(1, 10)
    assert exact("1,000.50") == Fraction(2001, 2)
    assert exact("3/4") == Fraction(3, 4)
    assert exact("-1 1/2") == Fraction(-3, 2)
    assert exact("1e5") == 100_000
    assert exact(r"0.1\overline{6}") == exact("0.1666...") == Fraction(1, 6)
    for word in (
        "",
        "-",
        ".",
        "1.2.3",
        "x",
        "5km",
        "1/0",
        "/2",
        "²",
        "1,2",
        "1e9999999",
        "9" * 5000,
    ):
        assert exact(word) is None, word
    assert in_base("2a_{16}") == InBase("2A", 16)
    assert in_base("19_8") is None
