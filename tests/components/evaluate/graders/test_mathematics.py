"""Golden answers to problems: what counts as the reference and what does not, in both readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluate.grading import Grade, grade

STATED = [  # right and stated: the strict reading, and so the flexible one, too
    ("The answer is 7, not 6.", "7"),
    ("The answer is 7 because 3 + 4 = 7.", "7"),
    ("so the answer is 7 .", "7"),
    ("The answer is 12. I checked it in 3 ways.", "12"),
    ("The answer is 12, which is 3 more than 9.", "12"),
    ("The answer is: $18 per day.", "18"),
    ("the final answer is 5 km", "5"),
    ("The answer is **42**.", "42"),
    ("**Answer:** 42", "42"),
    ("**Final Answer**:\n\n70,000.00", "70000"),
    ("ANSWER: −3", "-3"),
    ("#### 1,234", "1234"),
    ("5 * 3 = 15\n#### 15\n", "15"),
    ("The answer is 3/4", "0.75"),
    ("The answer is $\\frac{3}{4}$.", "0.75"),
    ("The answer is x = 5", "5"),
    ("The answer is \\boxed{5} (see step 2)", "5"),
    ("Answer: \\boxed{7}", "7"),
    ("\\boxed{3} is wrong. The answer is 7.", "7"),
    ("The answer is 3, no: \\boxed{7}", "7"),
    ("\\boxed{\\frac{3}{4}}", "0.75"),
    ("\\boxed{5 \\text{ km}}", "5"),
    ("\\boxed{1{,}234}", "1234"),
    ("\\boxed{\\text{first} 1} or rather \\boxed{8}", "8"),
    ("\\boxed{x^2+1}", "1+x^2"),
    ("\\boxed{2^{10}}", "2^{10}"),
    ("The answer is ７", "7"),  # a full-width digit
    ("The answer is ٧.", "7"),  # an Arabic one
    ("The answer is –5.", "-5"),
    ("The answer is 12 + 25 = 37.", "37"),
    ("The answer is:\n\n$$42$$", "42"),
    ("The final answer is \\boxed{42}. Let me double check: the answer is correct.", "42"),
]
MEANT = [  # right, but not stated in one of the forms: the flexible reading alone
    ("7", "7"),
    ("07", "7"),
    ("7.0", "7"),
    ("3 + 4 = 7", "7"),
    ("$3 + 4 = 7$", "7"),
    ("x=5", "5"),
    ("5km", "5"),
    ("5 km", "5"),
    ("**42**", "42"),
    ("It costs $70,000.00.", "70000"),
    ("$1,234", "1234.0"),
    ("-3", "−3"),
    ("50%", "50"),
    ("1/2", "0.5"),
    ("0.5", "1/2"),
    ("$\\frac{1}{2}$", "0.5"),
    ("so \\( x = \\frac{3}{4} \\)", "3/4"),
    ("x + 1", "x + 1"),
    ("With $\\sum_{k=1}^5 k = 15$ of 20245, wow!! it is $\\frac{3}{4}$", "3/4"),
    ("The answer is therefore 7", "7"),
    ("<answer> 7 </answer>", "7"),
    ("The vertex is (1, 2).", "(1,2)"),
    ("It is negative 7.", "-7"),
    ("It is .7 after all", "0.7"),
    ("It is 1/2 or 50%", "0.5"),
    ("The answer is 8. No, 7", "7"),
    ("The answer is 8? No, 7.", "7"),
    ("It is about 7.", "7"),
    ("7, and then it was cut off: \\boxed{", "7"),
]
WRONG = [
    ("The answer is not 7", "7"),
    ("The answer isn't $7$.", "7"),
    ("The answer is not \\boxed{7}", "7"),
    ("The answer is 7? No, 8.", "7"),
    ("$x \\approx 7$", "7"),
    ("It is 8, not 7", "7"),
    ("It is 8 rather than 7.", "7"),
    ("7 is wrong", "7"),
    ("Hence 7 cannot be the answer.", "7"),
    ("It is neither 6 nor 7.", "7"),
    ("It is less than 7", "7"),
    ("So x != 7", "7"),
    ("The answer is 6 or 7", "7"),
    ("It is between 6 cm and 7", "7"),
    ("The point is (6, 7).", "7"),
    ("It is negative 7.", "7"),
    ("It is .7", "7"),
    ("It is 14/2", "7"),
    ("so the answer is 8 .", "7"),
    ("", "7"),
    ("   ", "7"),
    ("none", "7"),
    ("70", "7"),
    ("1,2", "12"),
    ("1/2", "2"),
    ("10^2", "2"),
    ("-3", "3"),
    ("1/0", "1"),
    ("version 1.2.3", "3"),
    ("$\\frac{1}{2}$", "2"),
    ("\\boxed{5} in 7 steps", "7"),
    ("\\boxed{7", "8"),
    ("either 7 or 8", "7"),
    ("3 + 4", "7"),  # the problem echoed
    ("3+4", "7"),
    ("6 - 3", "3"),
    ("\\boxed{3 + 4}", "7"),
    ("The answer is 3 + 4", "7"),
    ("The answer is", "7"),
    ("\\boxed{}", ""),
    ("", ""),
    ("The answer is 10²", "102"),
]


@pytest.mark.parametrize(("answer", "reference"), STATED)
def test_stated(answer, reference):
    assert grade(answer, reference, "mathematics") == Grade(flexible=True, strict=True)


@pytest.mark.parametrize(("answer", "reference"), MEANT)
def test_right_without_being_stated(answer, reference):
    assert grade(answer, reference, "mathematics") == Grade(flexible=True, strict=False)


@pytest.mark.parametrize(("answer", "reference"), WRONG)
def test_wrong(answer, reference):
    assert grade(answer, reference, "mathematics") == Grade(flexible=False, strict=False)


PROSE = [  # answer, reference, whether it ends on the reference
    ("\\fbox{42}", "42", True),
    ("\\boxed{2} \\text{ and } \\boxed{-3}", "2,-3", True),
    ("One is \\boxed{2}. After a while we find that the other is \\boxed{-3}.", "2,-3", True),
    ("\\boxed{3} and \\boxed{7}", "7", False),
    ("\\boxed{7", "7", False),
    ("答案是42。", "42", True),
    ("因此，总共有42个苹果。", "42", True),
    ("उत्तर ४२ है।", "42", True),
    ("Die Antwort ist 3,5.", "3.5", True),
    ("The area is 50 cm².", "50", True),
    ("The songs fit on his mp3 player, all 20 of them on one mp3", "20", True),
    ("That is $4 million.", "4000000", True),
    ("So he makes $9 x 7 = $63 on each workday.", "63", True),
    ("There are 92 - 35 = 57 more seats", "57", True),
    ("He pays $5 and gets $12 back", "12", True),
    ("It is 1 1/2 hours.", "1.5", True),
    ("It is 5 × 10^3 m.", "5000", True),
    # The last number is a part of what is said.
    ("The area is 4π.", "4", False),
    ("The area is 4π.", "4\\pi", True),
    ("It is 2π/3.", "3", False),
    ("It is 2π/3.", "\\frac{2\\pi}{3}", True),
    ("It is log 6.", "6", False),
    ("It is 3 + x.", "3", False),
    ("The answer is $5$ or $6$.", "6", False),
    ("$x = 5$ or $x = 6$", "6", False),
    ("5, 6, or 7", "7", False),
    ("The solution set is {5, 6}.", "6", False),
    ("The solution set is {5, 6}.", "5,6", True),
    ("The roots are 5 and 6.", "5,6", True),
    ("The roots are 5 and 6.", "5,7", False),
    ("So x is in (3, ∞).", "3", False),
    ("So x is in (3, ∞).", "(3,\\infty)", True),
    ("It is 6 ± 1", "1", False),
    ("It takes 2 hours and 30 minutes.", "30", False),
    ("He is 5 feet 6 inches tall.", "6", False),
    ("After 2 hours and 30 laps he stops.", "30", True),
    ("The ratio is 3 to 2.", "2", False),
    ("It rose from 3 to 12.", "12", True),
    ("It rose from $3 to $12.", "12", True),
    ("That is 3 out of 4.", "4", False),
    ("It is 5 x 10^6 m.", "5000000", True),
    ("It is 5e6.", "5000000", True),
    ("It's 6!", "6", True),
    ("It's 6!", "720", True),  # which of them is meant, only the question tells
    ("minus 6", "-6", True),
    ("It is 5 per cent.", "0.05", True),
    ("I get 2 + 3", "5", False),
    ("It is 5 and a half", "5", False),
]


@pytest.mark.parametrize(("answer", "reference", "same"), PROSE)
def test_what_an_answer_ends_on(answer, reference, same):
    assert grade(answer, reference, "mathematics").flexible is same


@given(st.lists(st.integers(1, 99), min_size=2, max_size=4), st.sampled_from([" + ", "+", " - "]))
def test_the_problem_echoed_is_no_answer(numbers, sign):
    total = sum(numbers) if "+" in sign else numbers[0] - sum(numbers[1:])
    problem = sign.join(map(str, numbers))
    for echo in (problem, f"\\boxed{{{problem}}}", f"What is {problem}?"):
        assert not grade(echo, str(total), "mathematics").flexible


@given(st.lists(st.sampled_from("ABCDEFabcxyz"), min_size=3, max_size=6), st.data())
def test_an_order_is_not_another_order(letters, data):
    """As products of letters all orders are equal."""
    wanted, other = "".join(letters), "".join(data.draw(st.permutations(letters)))
    assert grade(f"The answer is \\boxed{{{wanted}}}.", wanted, "mathematics").strict
    given = grade(f"The answer is \\boxed{{{other}}}.", wanted, "mathematics")
    # The case of words of four letters or more does not matter.
    same = other == wanted or (len(letters) > 3 and other.casefold() == wanted.casefold())
    assert given == Grade(flexible=same, strict=same)
