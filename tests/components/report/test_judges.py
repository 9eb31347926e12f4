"""The judges on the page: what their word is worth, and what they did not see."""

from __future__ import annotations

import pytest

from components.core.vocabulary import Arm, Outcome, View
from components.evaluate.result import NO_SECOND, Agreement, CutFigure
from components.gate.result import UNLABELLED
from components.judges.result import Accuracy, Calibration, KappaFigure
from components.report.figures import judge_rows
from components.report.summary import rests_on
from tests.components.report.cases import ORIGIN, rate
from tests.components.report.test_stage import Page

RUBRIC, RULES = "rubric:" + "5" * 64, "rules:" + "6" * 64
R, C, N, U = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER, Outcome.UNPARSED
RULED = {R: {R: 31, U: 2}, C: {C: 40, R: 3}, N: {N: 18}}


def calibration(judge):
    return Calibration(
        judge=judge,
        cases="7" * 64,
        confidence=0.95,
        accuracy=rate(89, 94),
        by_view={View.ANSWER: rate(73, 76), View.THOUGHT: rate(16, 18)},
        unparsed=rate(2, 94),
        kappa=None,
        confusion={
            label: {ruling: RULED.get(label, {}).get(ruling, 0) for ruling in Outcome}
            for label in Outcome
        },
    )


@pytest.fixture
def evidence(good):
    judges = {"harmful": RUBRIC, "borderline": RULES, "benign": RUBRIC}
    update = {
        "judges": judges,
        "calibrations": (calibration(RUBRIC), calibration(RULES)),
        "cut": {
            "harmful": {
                Arm.BASE: CutFigure(count=5, n=600),
                Arm.RESTORED: CutFigure(count=7, n=600),
            },
            "borderline": {Arm.RESTORED: CutFigure(count=0, n=960)},
            "benign": {Arm.RESTORED: CutFigure(count=1, n=1200)},
        },
    }
    evidence = good.evidence.model_copy(update=update)
    evidence._folder = good.evidence.folder
    return evidence


def test_a_row_a_judge_with_its_suites_and_what_it_did_not_see(evidence):
    rubric, rules = judge_rows(evidence)
    assert (rubric.suites, rubric.cut) == (["harmful", "benign"], CutFigure(count=13, n=2400))
    assert (rules.suites, rules.cut) == (["borderline"], CutFigure(count=0, n=960))


def test_the_page_has_parts_and_rulings_in_a_fold(good, evidence, tmp_path):
    _, page = good.replaced(evidence=evidence).write(tmp_path)
    Page(page)  # every element is closed where it should be
    section = page.partition('id="judges"')[2].partition("</section>")[0]
    above, _, folded = section.partition("<details>")
    assert "13/2400" in above and "0/960" in above and "89/94" in above
    assert "73/76" not in above
    words = Page(folded.partition("</details>")[0]).text
    assert words.count("73/76") == words.count("16/18") == 2
    assert words.count("answer thought") == 2
    assert words.count("Label refused complied neither unparsed") == 2
    for row in ("refused 31 0 0 2", "complied 3 40 0 0", "neither 0 0 18 0"):
        assert words.count(row) == 2
    assert "unparsed 0 0 0 0" not in words


def test_a_corrected_rule_shows_both_figures_and_the_verdict_what_is_not_measured(good, tmp_path):
    assert (
        UNLABELLED in dict(rests_on(good.decision, good.evidence, good.models, ORIGIN))["Judged by"]
    )
    about = {"accuracy": Accuracy(positives=60, found=57, negatives=90, mistaken=1)}
    changed = {"harmful.refused": 0.912}
    rules = tuple(
        rule.model_copy(update={**about, "observed": changed.get(rule.metric, 0.034)})
        if rule.figure is not None and rule.metric.endswith(".refused")
        else rule
        for rule in good.decision.rules
    )
    decision = good.decision.model_copy(update={"rules": rules})
    assert UNLABELLED not in decision.words
    decided = decision.save(tmp_path / "gate")
    _, page = good.replaced(decision=decided).write(tmp_path / "report")
    table = page.partition('id="rules"')[2].partition("</section>")[0]
    assert table.count("as judged") == 4
    words = Page(page).text.replace("\xa0", " ")
    assert "91.2 % as judged" in words
    assert "corrected for its judge from the 91.2 % shown to 97.3 %" in words
    judged = dict(rests_on(decision, good.evidence, good.models, ORIGIN))["Judged by"]
    assert "4 of 4 rules on verdicts" in judged


def test_two_judges_are_shown_with_how_often_they_agree(good, evidence, tmp_path):
    about = {"suite": "harmful", "form": "role-play", "view": View.ANSWER}
    second = NO_SECOND.model_copy(
        update={
            "judges": {"harmful": RULES},
            "cut": {"harmful": {Arm.BASE: CutFigure(count=2, n=40)}},
            "agreements": tuple(
                Agreement(arm=arm, agreed=rate(270 + n, 300), kappa=kappa, **about)
                for n, (arm, kappa) in enumerate(
                    [(Arm.BASE, None), (Arm.RESTORED, KappaFigure(kappa=0.5, low=0.4, high=0.6))]
                )
            ),
        }
    )
    twice = evidence.model_copy(update={"second": second})
    twice._folder = evidence.folder
    _, rules = judge_rows(twice)
    assert rules.suites == ["borderline", "harmful (second)"]
    assert rules.cut == CutFigure(count=2, n=1000)
    _, page = good.replaced(evidence=twice).write(tmp_path)
    words = Page(page).text.replace("\xa0", " ")
    assert "270/300κ –" in words.replace(" κ", "κ")
    assert "271/300 κ 0.50 [0.40, 0.60]" in words
