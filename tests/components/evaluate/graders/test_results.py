"""What an answer states as its result, and the last number in it."""

from __future__ import annotations

from components.evaluate.graders.results import Text, last_run


def stated(answer: str) -> tuple[str, ...]:
    return Text.of(answer).stated(bool)


def test_what_is_stated_last_counts():
    assert stated("Answer: 3\nAnswer: 4 \nthat is all") == ("4",)
    assert stated("The answer is 1.5. Done.") == ("1.5",)
    assert stated("\\boxed{a{b}c} #### 2") == ("2",)
    assert stated("#### 2 \\boxed{a{b}c}") == ("a{b}c",)
    assert stated("\\boxed{2} or \\boxed{3}") == ("2", "3")
    assert stated("\\boxed{2}. The answer is verified.") == ("2",)
    assert stated("The answer is 2: \\boxed{2") == ()
    assert stated("no result") == ()


def test_the_last_number_with_what_belongs_to_it():
    runs = {
        "first 3 then 4 apples": "4",
        "so 6 - 3": "6 - 3",
        "(see step 2)": "2",
        "x = 3/4, as said": "3/4",
        "no number": "",
    }
    assert {text: last_run(text)[0] for text in runs} == runs
