"""The figures of leaks, against rows whose overlaps are known."""

from __future__ import annotations

import pytest

from components.core.result import RateFigure
from components.prepare.leaks import drop_leaks, leak_figures
from tests.components.prepare.rows import rows_of

RIVERS = "name five rivers of the old world and their mouths"
LOAF = "bake a dark loaf of bread with seeds in it"
TRAINS = "at what hour does the train to the coast leave today"


def rows(source, split, role, *texts, **parts):
    cells = [{"text": text, **parts} for text in texts]
    return rows_of(*cells, name=source, split=split, role=role)


CANDIDATES = [
    *rows("sums", "test", "reasoning", RIVERS, LOAF, "1 + 1", "count to ten"),
    *rows("asks", "test", "harmful", TRAINS, "do the harmful thing number 3"),
    *rows("own", "train", "harmful", TRAINS.upper().replace(" ", "  ") + "!", "an odd thing"),
    *rows("own", "validation", "benign", f"my friend, {RIVERS} please", "what is the time"),
    *rows("own", "train", "reasoning", "2 + 2", thought=f"first {TRAINS} then"),
    # Four of LOAF's six runs of five words, in two rows that share no run of eight with it.
    *rows("own", "train", "benign", "we like a dark loaf of bread with seeds and salt"),
    *rows("own", "train", "benign", "they bake bread with seeds in it and sell it"),
]


@pytest.fixture(scope="module")
def figures():
    kept, dropped = drop_leaks(CANDIDATES, ngram=8)
    made = leak_figures(kept, dropped, suites={"sums"}, ngram=8)
    return {(figure.suite, figure.measure): figure for figure in made}


def counts(rate: RateFigure) -> tuple[int, int]:
    return rate.count, rate.n


def test_every_suite_is_measured_in_every_way_the_roles_first(figures):
    assert list(figures) == [
        (suite, measure) for suite in ("harmful", "sums") for measure in ("run", "copy", "share")
    ]
    assert {figure.words for figure in figures.values()} == {8, None, 5}


def test_what_leaked_before_and_what_is_left(figures):
    run = figures["harmful", "run"]
    assert (counts(run.before), counts(run.after), run.dropped) == ((1, 2), (0, 2), 2)
    run = figures["sums", "run"]
    assert (counts(run.before), counts(run.after), run.dropped) == ((1, 4), (0, 4), 1)
    assert counts(figures["harmful", "copy"].before) == (1, 2)
    assert counts(figures["sums", "copy"].before) == (0, 4)
    assert run.after == RateFigure.of(0, 4, 0.95)


def test_runs_are_gathered_from_all_rows_and_short_prompts_left_out(figures):
    share = figures["sums", "share"]
    assert (counts(share.before), counts(share.after)) == ((2, 2), (1, 2))
    assert share.prompts == (next(c.id for c in CANDIDATES if c.text == LOAF),)
    assert counts(figures["harmful", "share"].after) == (0, 2)


def test_a_measure_without_a_prompt_that_is_long_enough_has_no_figure():
    made = leak_figures(rows("s", "test", "benign", "one two"), [], suites=set(), ngram=8)
    assert [(figure.suite, figure.measure) for figure in made] == [
        ("benign", "run"),
        ("benign", "copy"),
    ]


def test_at_most_five_prompts_are_named():
    test = rows("s", "test", "benign", *(f"take the {i}th boat to the isle" for i in range(9)))
    train = rows("t", "train", "benign", "a boat to the isle of the gulls")
    run = leak_figures([*test, *train], [], suites=set(), ngram=4)[0]
    assert counts(run.after) == (9, 9)
    assert list(run.prompts) == sorted(row.id for row in test)[:5]
