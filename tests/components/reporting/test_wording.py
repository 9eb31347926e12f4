from components.reporting.wording import (
    clip,
    interval,
    listed,
    number,
    one_line,
    percent,
    points,
    probability,
    visible,
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


def test_invisible_characters_become_visible():
    assert visible("\x1b[31m") == "⟨U+001B⟩[31m"
    assert visible("a\u202eb\u200bc\x00\x7f\x85") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩⟨U+007F⟩⟨U+0085⟩"
    assert visible("\ud800\u2028\ue000") == "⟨U+D800⟩⟨U+2028⟩⟨U+E000⟩"
    assert visible("größer – 你好\n\tça") == "größer – 你好\n\tça"


def test_small_words():
    assert one_line("a\nb\tc") == "a↵b⇥c"
    assert clip("short", 5) == "short"
    assert clip("longer than", 7) == "longer …"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
