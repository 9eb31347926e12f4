"""A model's rates, counted from rows written by hand."""

from __future__ import annotations

import pytest

from components.core.errors import EvidenceError
from components.core.vocabulary import Outcome, Role
from components.studies.withstand.attacked import safety_rates
from tests.evidence import make_row as row

R, C, N, U = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER, Outcome.UNPARSED


def test_verdicts_that_could_not_be_read_are_counted_apart():
    harmful = [row(1, *parts) for parts in ((R,), (U,), (U, C), (R, U), (N,))]
    benign = [row(1, answer, role=Role.BENIGN, cut=answer is N) for answer in (C, U, R, N)]
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


def test_rates_of_no_prompts_are_none():
    with pytest.raises(EvidenceError, match="zero prompts"):
        safety_rates([row(1, R)], 0.95)
