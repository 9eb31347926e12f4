"""What a judge is worth, on cases whose outcome is known."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import pytest

from components.core.errors import DataError, EvidenceError
from components.core.vocabulary import Outcome, Role, View
from components.judges.calibration import LabelledCase, calibrate, kappa, read_cases
from components.judges.protocol import Case, Verdict
from components.judges.rules.judge import RulesJudge
from tests.root import ROOT

CASES = ROOT / "data" / "calibration" / "cases.jsonl"
R, C, N, U = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER, Outcome.UNPARSED


def labelled(outcome, text="x", role=Role.HARMFUL, view=View.ANSWER):
    return LabelledCase(Case("do the harmful thing", text, view, role), outcome, "test")


@dataclass
class Recorded:
    """A judge that says what its text says."""

    roles: frozenset[Role] = frozenset(Role)
    name: str = "recorded:0"
    usage: None = None

    def judge(self, cases):
        yield {case: Verdict(Outcome(case.text), case.text) for case in cases}


def pairs(counts):
    return [pair for pair, count in counts.items() for _ in range(count)]


def test_kappa_by_hand():
    # Cohen 1960, of two outcomes: 20 + 15 of 50 agree; by chance (25*30 + 25*20) / 50^2 = 0.5.
    found = kappa(pairs({(R, R): 20, (R, C): 5, (C, R): 10, (C, C): 15}), 0.95)
    assert found.kappa == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    # Fleiss, Cohen and Everitt 1969, equation 13, term by term.
    p = {(R, R): 0.4, (R, C): 0.1, (C, R): 0.2, (C, C): 0.3}
    row, column = {R: 0.5, C: 0.5}, {R: 0.6, C: 0.4}
    k = 0.4
    terms = sum(p[i, i] * (1 - (row[i] + column[i]) * (1 - k)) ** 2 for i in (R, C))
    terms += (1 - k) ** 2 * sum(
        p[i, j] * (column[i] + row[j]) ** 2 for i in (R, C) for j in (R, C) if i is not j
    )
    terms -= (k - 0.5 * (1 - k)) ** 2
    error = (terms / (0.5**2 * 50)) ** 0.5
    assert found.low == pytest.approx(k - 1.959964 * error)
    assert found.high == pytest.approx(k + 1.959964 * error)


def test_kappa_at_its_ends():
    perfect = kappa(pairs({(R, R): 5, (C, C): 5}), 0.95)
    assert (perfect.kappa, perfect.high) == (1, 1) and perfect.low == pytest.approx(1)
    assert kappa(pairs({(R, R): 5}), 0.95) is None
    chance = kappa(pairs({(R, R): 4, (R, C): 4, (C, R): 4, (C, C): 4}), 0.95)
    assert chance.kappa == pytest.approx(0) and chance.low < 0 < chance.high
    wider = kappa(pairs({(R, R): 4, (R, C): 4, (C, R): 4, (C, C): 4}), 0.99)
    assert wider.low < chance.low and wider.high > chance.high


def test_a_calibration_counts_by_label_ruling_and_view():
    cases = [
        labelled(R, "refused"),
        labelled(R, "unparsed"),
        labelled(C, "complied", view=View.THOUGHT),
        labelled(C, "refused", view=View.THOUGHT),
        labelled(C, "complied", view=View.THOUGHT),
    ]
    found = calibrate(Recorded(), cases, confidence=0.9)
    assert (found.accuracy.count, found.accuracy.n) == (3, 5)
    assert {view: (rate.count, rate.n) for view, rate in found.by_view.items()} == {
        View.ANSWER: (1, 2),
        View.THOUGHT: (2, 3),
    }
    assert (found.unparsed.count, found.unparsed.n) == (1, 5)
    assert found.confusion[R] == {R: 1, C: 0, N: 0, U: 1}
    assert found.confusion[C] == {R: 1, C: 2, N: 0, U: 0}
    assert (found.judge, found.confidence) == ("recorded:0", 0.9)
    assert found == type(found).model_validate_json(found.model_dump_json())
    assert found.cases != calibrate(Recorded(), cases[1:], confidence=0.9).cases


def test_only_roles_that_the_judge_knows_count():
    cases = [labelled(R, "refused"), labelled(C, "complied", role=Role.BENIGN)]
    harm_only = Recorded(roles=frozenset({Role.HARMFUL}))
    assert calibrate(harm_only, cases, confidence=0.95).accuracy.n == 1
    with pytest.raises(EvidenceError, match=r"no labelled case .* recorded judges \(harmful\)"):
        calibrate(harm_only, cases[1:], confidence=0.95)


def test_the_labelled_cases_of_this_repository():
    cases = read_cases(CASES)
    assert len(cases) >= 60
    assert len({known.case for known in cases}) >= len(cases) - 3, "cases repeat"
    outcomes = Counter(known.outcome for known in cases)
    assert all(outcomes[outcome] >= 15 for outcome in (R, C, N))
    assert Counter(known.case.view for known in cases)[View.THOUGHT] >= 10
    assert {known.case.role for known in cases} == {Role.HARMFUL, Role.BORDERLINE, Role.BENIGN}
    assert all(known.outcome is N for known in cases if not known.case.text.strip())


def test_the_rules_agree_with_most_labels_and_not_with_all():
    """They know neither the request nor the subject, and some cases turn on these."""
    found = calibrate(RulesJudge(), read_cases(CASES), confidence=0.95)
    assert found.unparsed.count == 0
    assert 0.8 < found.accuracy.rate < 1


GOOD = {
    "request": "x",
    "text": "y",
    "view": "answer",
    "role": "harmful",
    "outcome": "refused",
    "kind": "z",
}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (json.dumps(GOOD | {"view": "both"}), "case 2: 'both' is not a valid View"),
        (json.dumps(GOOD | {"view": "either"}), "case 2: view either"),
        (json.dumps(GOOD | {"outcome": "unparsed"}), "case 2: view either and outcome unparsed"),
        (json.dumps(GOOD | {"more": "x"}), "case 2: a labelled case has"),
        (json.dumps(GOOD | {"text": None}), "case 2: a labelled case has"),
        ("[]", "line 2, is no JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_row_that_is_no_labelled_case_is_named(tmp_path, line, told):
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_cases(path)


def test_no_cases_are_an_error(tmp_path):
    (tmp_path / "cases.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no labelled cases"):
        read_cases(tmp_path / "cases.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_cases(tmp_path / "nothing.jsonl")
