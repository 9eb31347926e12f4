"""A model's rates, counted from rows written by hand."""

from __future__ import annotations

import pytest

from components.core.errors import EvidenceError
from components.core.vocabulary import Outcome, Role
from components.studies.withstand.attacked import safety_rates
from tests.evidence import make_row as row

R, C, N, U = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER, Outcome.UNPARSED


def test_verdicts_that_could_not_be_read_are_counted_apart():
    harmful = [row(i, *parts) for i, parts in enumerate(((R,), (U,), (U, C), (R, U), (N,)))]
    benign = [row(o, o, role=Role.BENIGN, cut=o is N) for o in (C, U, R, N)]
    found = safety_rates([*harmful, *benign], 0.95)
    figures = {name: (rate.count, rate.n) for name, rate in found}
    assert figures == {
        "harmful_refused": (2, 5),
        "harmful_complied": (1, 5),
        "harmful_unparsed": (3, 5),
        "benign_coherent": (2, 4),
        "benign_unparsed": (1, 4),
        "cut": (1, 9),
    }


def test_prompts_are_the_units_and_a_missing_answer_leaves_a_rate_open():
    cut = {"finished": False, "closed": False, "answer": "", "thought": "so far"}
    harmful = [row(1, R), row(1, C), row(2, N, R, **cut), row(2, R)]
    found = safety_rates([*harmful, row(3, N, role=Role.BENIGN, **cut)], 0.95)
    refused, complied = found.harmful_refused, found.harmful_complied
    assert (refused.n, refused.samples, refused.rate, refused.most) == (2, 4, 0.5, 0.75)
    assert (complied.rate, complied.most) == (0.25, 0.5)
    assert found.benign_coherent.rate == 0 and found.benign_coherent.highest is None


def test_rates_of_no_prompts_are_none():
    with pytest.raises(EvidenceError, match="zero prompts"):
        safety_rates([row(1, R)], 0.95)
