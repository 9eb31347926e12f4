"""What stands in a box, and how numbers and formulas are written there."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.evaluate.grading import Grade, grade

MATRIX = r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"
BOXED = [  # content of a box, reference, whether they mean the same
    ("a=5\\\\b=6", "6", False),
    ("a=5 \\newline b=6", "6", False),
    ("x = 2+4 \\\\ = 6", "6", True),
    ("x=6\\\\", "6", True),
    ("0,001", "1", False),
    ("0,001", "0.001", True),
    ("5,5", "5", False),
    ("\\frac{10}{2}", "5", False),
    ("x = 10/2", "5", False),
    ("5 = \\frac{15}{3}", "5", True),
    ("\\frac{5}{1}", "5", True),
    ("5...", "5", False),
    ("0.333...", "1/3", True),
    ("1011_{10}", "1011_2", False),
    ("\\text{1011}_2", "1011_2", True),
    ("15_{10}", "15", True),
    ("2\\sqrt{3}\\text{ cm}^2", "2\\sqrt{3}", True),
    ("2\\pi~\\mathrm{cm}", "2\\pi", True),
    ("2\\pi\\text{ squared}", "2\\pi", False),
    ("A = (1, 2)", "(1,2)", True),
    ("(x, y) = (2, 1)", "(1,2)", False),
    ("x=1 \\lor x=2", "1,2", True),
    ("1 或 2", "1,2", True),
    ("1 oder 3", "1,2", False),
    ("\\log_e 2", "\\ln 2", True),
    ("\\operatorname{ln} 3", "\\ln 2", False),
    ("\\begin{aligned} x &= 2+3 \\\\ &= 5 \\end{aligned}", "5", True),
    ("\\begin{aligned} x &= 1 \\\\ x &= 2 \\end{aligned}", "1,2", True),
    ("\\begin{aligned} x &= 1 \\\\ y &= 2 \\end{aligned}", "2", False),
    (
        "\\left(\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right)",
        "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
        True,
    ),
    ("\\{x \\mid 1\\le x\\le 2\\}", "[1,2]", True),
    ("\\{x\\in\\mathbb{R} : 1 < x\\le 2\\}", "[1,2]", False),
    ("\\{x\\in\\mathbb{Z} : 1\\le x\\le 2\\}", "[1,2]", False),
    ("\\mathbb{R}", "(-\\infty,\\infty)", True),
    ("(1,2]\\cup(2,3)", "(1,3)", True),
    ("(1,2)\\cup(2,3)", "(1,3)", False),
    ("(0,2)\\cup(1,3]\\cup(5,6)", "(0,3]\\cup(5,6)", True),
    ("]-\\infty,2[", "(-\\infty,2)", True),
    ("\\textcolor{blue}{\\Large 5}", "5", True),
    ("5 \u2705", "5", True),
    ("\\text{\\$}5", "5", True),
    ("2\\text{ to }3", "2:3", True),
    ("2\\text{ to }3", "3", False),
    ("\\overline{AB} = 5", "5", True),
    # Exact values: nothing is rounded.
    (r"\frac{1}{1998!}", r"\frac{1}{2001!}", False),
    ("0.0000001", "0.0000002", False),
    ("0.333333", "1/3", False),
    (r"0.\overline{3}", "1/3", True),
    ("0.(3)", "1/3", True),
    (r"0.\overline{3}", "0.3", False),
    ("1.4142136", r"\sqrt{2}", False),
    (r"\approx 1.414", r"\sqrt{2}", False),
    (r"\sqrt{2} \approx 1.414", r"\sqrt{2}", True),
    ("6.28", r"2\pi", False),
    (r"\approx 5", "5", False),
    (r"5 \text{ (approximately)}", "5", False),
    (r"\text{about } 5", "5", False),
    ("exactly 5", "5", True),
    (r"\approx 1.41", "1.41", True),
    ("5 cents", r"\$5", False),
    ("5 cents", "5 dollars", False),
    (r"\$5", "5 cents", False),
    (r"5\text{ cents}", "5", True),  # which was asked for, only the question tells
    (r"\sqrt{12}", r"2\sqrt{3}", True),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt2}{2}", True),
    ("5!", "120", True),
    (r"2(3)", "5", False),
    (r"12 \choose 6", "924", True),
    # The content counts, not its last number.
    ("5, 6", "6", False),
    (r"5 \text{ and } 6", "6", False),
    ("x = 5, y = 6", "6", False),
    ("x > 6", "6", False),
    (r"x \neq 6", "6", False),
    (r"\sqrt 6", "6", False),
    (r"\log 6", "6", False),
    ("x 6", "6", False),
    ("5x", "5", False),
    (r"1 \frac{5}{ 6 }", "6", False),
    ("12 mod 6", "6", False),
    ("3 feet 6 inches", "6", False),
    ("5 and a half", "5", False),
    ("5 squared", "5", False),
    (r"6 \text{ cm}", "6", True),
    (r"6 \text{ cm}^2", "6", True),
    (r"5 \text{ cm}", r"5 \text{ m}", False),
    # Bases.
    ("1011_3", "1011_2", False),
    ("25_8", "25_9", False),
    ("25_8", "25_{8}", True),
    ("1011", "1011_2", True),
    (r"1011_\text{two}", "1011_2", True),
    ("11", "1011_2", False),
    ("1011_2", "11", False),
    ("0b1011", "1011_2", True),
    ("0xFF", "255", False),
    ("1011_{two}", "1011_2", True),
    ("1011_{(2)}", "1011_2", True),
    (r"1011\ (\text{base }2)", "1011_2", True),
    (r"\text{1011 (base 3)}", "1011_2", False),
    (r"1\,0110_2", "10110_2", True),
    # Spellings of numbers.
    (r"1\,002", "1002", True),
    ("1,\\!002", "1002", True),
    ("1\u202f002", "1002", True),
    ("1'002", "1002", True),
    ("1,00,000", "100000", True),
    ("1.000.000", "1000000", True),
    ("3{,}14", "3.14", True),
    ("3,5", "3.5", True),
    (r"\$1,002.50", "1002.5", True),
    (r"5\cdot10^3", "5000", True),
    ("5e3", "5000", True),
    ("0.00001", "1e-05", True),
    ("10^{-5}", "1e-05", True),
    ("12000000000000000000", "1.2e+19", True),
    ("1 1/2", "3/2", True),
    ("1½", "3/2", True),
    (r"\tfrac34", "0.75", True),
    ("४२", "42", True),
    ("twenty-one", "21", True),
    ("7^{\\text{th}}", "7", True),
    ("90^\\circ", "90", True),
    (r"5^{\circ}\text{C}", "5", True),
    (r"0.\dot{3}", "1/3", True),
    (r"\mathbf{42}", "42", True),
    ("50\\%", "0.5", True),
    ("50\\%", "50", True),
    ("50\\%", "5", False),
    ("5 million", "5000000", True),
    ("50 per cent", "0.5", True),
    (r"5\,\mathrm{kg\,m^{-3}}", "5", True),
    (r"5.\bar9", "6", True),
    ("8^{1/3}", "2", True),
    (r"\text{The answer is }6", "6", True),
    ("3:45", "3:45", True),
    ("3:45", "3/45", False),
    (r"\dfrac{\sqrt{3}}2", r"\frac{\sqrt3}{2}", True),
    ("10", r"\binom52", True),
    (r"\mathit{x}+1", "x+1", True),
    (r"12 \frac{\text{m}}{\text{s}}", "12", True),
    # Names, equations, sums.
    ("12+25=37", "37", True),
    ("m+n=37", "37", True),
    ("f(x)=x^2", "x^2", True),
    ("y=5", "x=5", False),
    ("2x=10", "x=5", False),
    ("5 = x", "5", True),
    ("5 = 2x", "5", False),
    ("x+1=6", "6", False),
    ("2x-y+1=0", "4x-2y+2=0", True),
    (r"3 \times 4", "12", False),
    (r"\frac{1}{2} + \frac{1}{3}", "5/6", False),
    ("(x+1)^2", "x^2+2x+1", True),
    ("3-4i", "-4i+3", True),
    # Several values, intervals, matrices.
    ("1,2", "2,1", True),
    ("1,2,3", "1,2", False),
    (r"\pm 5", "5,-5", True),
    ("5", r"\pm 5", False),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}", True),
    ("x=1 or x=2", "1,2", True),
    ("x=2, y=3", "x=3, y=2", False),
    ("(1,2)", "(2,1)", False),
    ("[1,2]", "(1,2)", False),
    (r"\{2,1\}", r"\{1,2\}", True),
    (r"\{1,2\}", "(1,2)", False),
    ("-3 < x < 7.5", "(-3, 7.5)", True),
    (r"2\le x\le5", "[2,5]", True),
    ("x>3", r"(3,\infty)", True),
    (r"x\ge3", r"(3,\infty)", False),
    ("(-3, 7.5)", "-3 < x < 7.5", True),
    (r"3 \ge x", r"x \le 3", True),
    (r"x \ne 0", r"(-\infty,0)\cup(0,\infty)", True),
    (r"(-\infty,0)\cup(0,\infty)", r"x \neq 0", True),
    (r"\mathbb{R} \setminus \{0\}", r"(-\infty,0)\cup(0,\infty)", True),
    (r"\mathbb{R} \setminus \{1\}", r"x \neq 0", False),
    (r"2x \ne 0", r"(-\infty,0)\cup(0,\infty)", False),
    (r"\langle 1,2\rangle", "(1,2)", True),
    (r"\langle 2,1\rangle", "(1,2)", False),
    ("y > 3", "x > 3", False),
    (r"x<3 \text{ or } x>5", r"(-\infty, 3) \cup (5, \infty)", True),
    (r"(-\infty,3]\cup(5,\infty)", r"(-\infty, 3) \cup (5, \infty)", False),
    (
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
        True,
    ),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\4&3\end{pmatrix}", False),
    # Words.
    (r"\text{No solution}", "no solution", True),
    (r"\emptyset", "no solution", True),
    ("DNE", "does not exist", True),
    (r"\text{Yes}", "yes", True),
    (r"\text{Tuesday}", "Monday", False),
    (r"\text{Alice and Bob}", "Alice and Bob", True),
    (r"\text{Alice and Bob}", "Alice", False),
    (r"\text{(C)}", "C", True),
]


@pytest.mark.parametrize(("content", "reference", "same"), BOXED)
def test_the_content_of_a_box_is_the_reference_or_it_is_not(content, reference, same):
    for box in ("\\boxed", "\\fbox"):
        found = grade(f"${box}{{{content}}}$", reference, "mathematics")
        assert found == Grade(flexible=same, strict=same)


SPELLINGS = [
    lambda n: f"{n.numerator}/{n.denominator}",
    lambda n: rf"\frac{{{n.numerator}}}{{{n.denominator}}}",
    lambda n: rf"-\dfrac{{{-n.numerator}}}{{{n.denominator}}}",
    lambda n: f"x = {n.numerator} / {n.denominator}",
    lambda n: rf"\text{{{n}}}",
    lambda n: f"{n.numerator:,}/{n.denominator}".replace(",", r"\,"),
    lambda n: f"{n}".replace("-", "−").translate(
        dict(zip(range(48, 58), "٠١٢٣٤٥٦٧٨٩", strict=True))
    ),
    lambda n: f"{n}".translate(dict(zip(range(48, 58), "０１２３４５６７８９", strict=True))),
    lambda n: f"{n} \\text{{ km}}",
]
RATIONALS = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**6)


@given(number=RATIONALS, other=RATIONALS, spelling=st.sampled_from(SPELLINGS))
@settings(max_examples=100)
def test_every_spelling_of_a_number_is_that_number_and_no_other(number, other, spelling):
    answer = rf"\boxed{{{spelling(number)}}}"
    assert grade(answer, str(number), "mathematics") == Grade(flexible=True, strict=True)
    assume(number != other)
    assert grade(answer, str(other), "mathematics") == Grade(flexible=False, strict=False)


@given(st.integers(-(10**15), 10**15), st.integers(0, 12))
def test_decimals_are_exact(digits, places):
    number = Fraction(digits, 10**places)
    answer = f"\\boxed{{{digits * 10 ** (12 - places)}e-12}}"
    assert grade(answer, str(number), "mathematics").strict
    assert not grade(answer, str(number + Fraction(1, 10**13)), "mathematics").flexible


FORMULAS = st.lists(
    st.sampled_from("1230xy+-=,()[]{}^_!<|:/\\&$% ")
    | st.sampled_from(["\\frac", "\\sqrt", "\\text{", "\\pm ", "\\cup ", "\\infty ", "\\{", "0.5"]),
    max_size=12,
).map("".join)


@given(FORMULAS, FORMULAS)
@settings(max_examples=60)
def test_no_formula_breaks_the_grader(answer, reference):
    grade(f"\\boxed{{{answer}}}", reference, "mathematics")
