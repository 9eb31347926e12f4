"""Tables of studies on a terminal: nothing is lost, and no line is longer than it is wide."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.report.studies import RateCell, StudyTable
from flows.cli.sheets import sheets
from flows.cli.terminal import Terminal
from tests.evidence import rate

WORDS = st.text("abc d", min_size=1, max_size=40).map(str.strip).filter(bool)
RATES = st.builds(
    RateCell,
    st.just("99.9 %"),
    st.just("[96.2, 100.0]"),
    st.sampled_from(["300", "100 (79 independent, 300 completions)"]),
    st.lists(st.sampled_from(["; 3 of 100 unparsed", ", seeds 0.0 to 8.7"])).map(tuple),
)


@st.composite
def tables(draw: st.DrawFn) -> StudyTable:
    width, keys = draw(st.integers(2, 12)), draw(st.integers(1, 2))
    row = st.tuples(*[WORDS] * keys, *[WORDS | RATES] * width)
    return StudyTable(draw(st.tuples(*[WORDS] * (keys + width))), draw(st.lists(row)), keys=keys)


def printed(table: StudyTable, width: int) -> list[list[str]]:
    """Return the lines of each sheet."""
    texts = []
    for sheet in sheets(table, width):
        out = io.StringIO()
        Terminal(file=out, width=width, force_terminal=True, color_system=None).print(sheet)
        texts.append(out.getvalue().splitlines())
    return texts


@given(tables(), st.integers(80, 240))
def test_no_word_is_lost_and_no_line_is_too_long(table: StudyTable, width: int):
    found = printed(table, width)
    assert max(len(line) for lines in found for line in lines) <= width
    text = [line for lines in found for line in lines if line[0] in "┃│"]
    seen = {word for line in text for word in line.replace("┃", "│").replace("│", " ").split()}
    for cell in (*table.heads, *(cell for row in table.rows for cell in row)):
        assert {word.strip(",;()") for word in str(cell).split()} <= {w.strip(",;()") for w in seen}
    assert len(text) >= len(found) * (1 + len(table.rows))


def test_each_sheet_begins_with_the_columns_that_name_a_row_and_n_stands_once():
    cell = RateCell("99.9 %", "[96.2, 100.0]", rate(1, 300).size)
    table = StudyTable(["arm", *"abcdefgh"], [["base", *[cell] * 8], ["tuned", *[cell] * 8]])
    found = printed(table, 80)
    assert len(found) > 1
    for lines in found:
        assert [line.split("│")[1].strip() for line in lines if line.startswith("│")] == [
            "base", "", "tuned", "",
        ]  # fmt: skip
        assert sum("n=300" in line for line in lines) == 1, "in the heads"


@pytest.mark.parametrize("width", [1, 40])
def test_a_terminal_that_is_too_narrow_gets_a_column_a_sheet(width: int):
    table = StudyTable(["arm", "a", "b"], [["base" * 5, "0" * 30, "1" * 30]])
    found = list(sheets(table, width))
    assert len(found) == 2
    for one, other in pairwise(found):
        assert one.columns[0].header == other.columns[0].header == "arm"
