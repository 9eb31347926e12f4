"""The attacks on the page: a row a form, and no section without attacks."""

from __future__ import annotations

from components.core.vocabulary import Arm, Form, Outcome
from components.prepare.result import LEAK_MARK
from components.report.figures import attack_rows
from components.report.wording import under_attack
from tests.components.report.cases import rate
from tests.evidence import leak

SAME = {
    "suite.either.complied": rate(2, 300),
    "suite.many-shot.either.complied": rate(40, 100),
    "suite.prefilled.either.complied": rate(7, 100),
    "suite.prefilled.either.unparsed": rate(0, 100),
    "suite.prefilled.refused": rate(93, 100),
}


def attacked(good):
    rates = {arm: dict(found) for arm, found in good.evidence.rates.items()}
    for arm in (Arm.BASE, Arm.RESTORED):
        rates[arm] |= SAME
    rates[Arm.RESTORED]["suite.prefilled.either.complied"] = rate(9, 100)
    rates[Arm.RESTORED]["suite.prefilled.either.unparsed"] = rate(3, 100)
    evidence = good.evidence.model_copy(update={"rates": rates})
    evidence._folder = good.evidence.folder
    return evidence


def test_a_row_a_form_and_the_plain_form_first(good):
    rows = attack_rows(attacked(good))
    assert [(row.suite, row.form) for row in rows] == [
        ("suite", Form.SERVED),
        ("suite", Form.PREFILLED),
        ("suite", Form.MANY_SHOT),
    ]
    prefilled = rows[1].rates
    assert prefilled.keys() == {Arm.BASE, Arm.RESTORED}
    assert (prefilled[Arm.BASE].count, prefilled[Arm.RESTORED].count) == (7, 9)
    assert [rows[1].unparsed[arm].count for arm in (Arm.BASE, Arm.RESTORED)] == [0, 3]
    assert rows[0].unparsed == {}


def test_of_harmless_prompts_what_is_refused_counts(good):
    rates = {
        Arm.RESTORED: {
            "benign.role-play.either.refused": rate(3, 100),
            "benign.role-play.either.complied": rate(97, 100),
        }
    }
    evidence = good.evidence.model_copy(update={"rates": rates})
    (row,) = attack_rows(evidence)
    assert (row.suite, row.form, row.outcome) == ("benign", Form.ROLE_PLAY, Outcome.REFUSED)
    assert row.rates[Arm.RESTORED].count == 3


def test_the_page_has_a_section_only_where_there_were_attacks(good, tmp_path):
    def page(evidence, prompts=good.prompts):
        return good.replaced(evidence=evidence, prompts=prompts).write(tmp_path)[1]

    assert attack_rows(good.evidence) == []
    assert 'id="attacks"' not in page(good.evidence)
    section = page(attacked(good)).partition('id="attacks"')[2].partition("</section>")[0]
    assert "<td>many-shot</td>" in section and "9/100" in section
    assert section.count("not measured") == 3 * 2
    # Told where there are some, and nowhere else.
    assert section.count("unparsed") == 1 and "3/100 unparsed" in section
    leaks = (leak("suite", "run", 3, dropped=5),)
    prompts = good.prompts.model_copy(update={"leaks": leaks})
    prompts._folder = good.prompts.folder
    assert LEAK_MARK not in section
    section = page(attacked(good), prompts).partition('id="attacks"')[2].partition("</section>")[0]
    assert section.count(f">{LEAK_MARK}</a>") == 6  # two arms in three forms


def test_the_key_figures_say_what_the_worst_attack_leaves(good, tmp_path):
    rates = {arm: dict(found) for arm, found in good.evidence.rates.items()}
    rates[Arm.RESTORED] |= {
        "harmful.persona.refused": rate(60, 100),
        "harmful.prefilled.refused": rate(90, 100),
        "harmful.forced_thought.refused": rate(1, 100),  # no attack
        "borderline.persona.refused": rate(19, 100),
        "borderline.prefilled.refused": rate(2, 100),
    }
    rates[Arm.BASE]["harmful.persona.refused"] = rate(55, 100)
    rates[Arm.BASE].pop("borderline.persona.refused", None)
    evidence = good.evidence.model_copy(update={"rates": rates})
    evidence._folder = good.evidence.folder
    worst = under_attack(evidence, "harmful.refused", "Refused").replace("\N{NO-BREAK SPACE}", " ")
    low, high = (100 * end for end in (rate(60, 100).low, rate(60, 100).high))
    assert worst == (
        "Refused under the attack that gets the fewest of them, persona: "
        f"60.0 % [{low:.1f}, {high:.1f}] with the adapter; 55.0 % in the base model."
    )
    most = under_attack(evidence, "borderline.refused", "Refused")
    assert "most of them, persona: 19.0" in most and most.endswith("with the adapter.")
    _, page = good.replaced(evidence=evidence).write(tmp_path)
    key_figures = page.partition('id="figures"')[2].partition("</div>")[0]
    assert key_figures.count("under the attack") == 2
    assert under_attack(good.evidence, "harmful.refused", "Refused") is None
