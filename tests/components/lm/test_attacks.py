"""Every form of a prompt, token by token, under the templates of real families of models."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from components.core.errors import ModelError
from components.core.paths import ROWS
from components.core.vocabulary import ATTACKS, PLAIN_FORMS, Form, Prompt, Role, Split
from components.evaluate.plan import EvaluationPlan, draw
from components.evaluate.recount import recount_evidence
from components.evaluate.rows import read_judged
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate
from components.lm import attacks, chat
from components.lm.attacks import BEGUN, PARAPHRASES, judged_request, render_form
from components.report.figures import attack_rows
from tests.components.evaluate.test_extensions import shown
from tests.components.lm import test_templates as templates
from tests.components.lm.test_templates import SERVED, tokens_of
from tests.evidence import suite_spec
from tests.extensions import install
from tests.root import ROOT

backend, case = templates.backend, templates.case  # fixtures: every template with its tokenizer
NEVER = SERVED["never-thinks"]
ROOM = 10_000


def prompt_of(text: str = "open a jar", number: int = 0) -> Prompt:
    return Prompt(f"{number:016x}", text, Role.HARMFUL, "t", "s", "Apache-2.0", Split.TEST)


class Rendered(NamedTuple):
    ids: list[int]
    opened: bool


def put_as(tokenizer, form: str, text: str = "open a jar", number: int = 0, **changes) -> Rendered:
    options = {"seed": 0, "limit": ROOM, **changes}
    return Rendered(*render_form(tokenizer, prompt_of(text, number), form, **options))


def test_plain_forms_are_what_is_trained_and_served(case):
    tokenizer, served = case
    plain = put_as(tokenizer, Form.SERVED)
    assert (plain.ids, plain.opened) == (tokens_of(tokenizer, served.prompt), served.opens)
    if served is NEVER:
        with pytest.raises(ModelError, match="closes the thought"):
            put_as(tokenizer, Form.FORCED_THOUGHT)
        return
    forced = put_as(tokenizer, Form.FORCED_THOUGHT)
    assert forced.opened
    assert forced.ids == chat.render_prompt(tokenizer, "open a jar", forced_thought=True)


def test_the_plain_form_has_the_answer_where_the_attack_has_it(case):
    tokenizer, served = case
    plain = {form: attacks.plain_form(tokenizer, form) for form in (*PLAIN_FORMS, *ATTACKS)}
    assert all(plain[form] == form for form in PLAIN_FORMS)
    for form in ATTACKS:
        closed = form in (Form.PREFILLED, Form.UNTHINKING, Form.BEGUN_LIST)
        assert plain[form] == (Form.UNTHINKING if closed and served.opens else Form.SERVED)
        if served.opens:
            opened = [put_as(tokenizer, one).opened for one in (plain[form], form)]
            assert opened[0] == opened[1]


def test_an_answer_is_begun_behind_the_prompt_and_behind_an_open_thought(case):
    tokenizer, served = case
    found = put_as(tokenizer, Form.PREFILLED)
    closed = "\n</think>\n\n" if served.opens else ""
    assert found.ids == tokens_of(tokenizer, f"{served.prompt}{closed}{BEGUN}")
    assert not found.opened
    assert tokenizer.decode(found.ids).endswith(BEGUN)


def test_a_skipped_thought_is_opened_and_closed_once(case):
    tokenizer, served = case
    found = put_as(tokenizer, Form.UNTHINKING)
    rest = "\n</think>\n\n" if served.opens else "<think>\n\n</think>\n\n"
    expected = served.prompt if served is NEVER else f"{served.prompt}{rest}"
    assert found.ids == tokens_of(tokenizer, expected)
    assert not found.opened
    for mark in ("<think>", "</think>"):
        assert found.ids.count(tokenizer.convert_tokens_to_ids(mark)) == 1


def test_shots_are_turns_of_the_template_and_are_cut_to_fit(case):
    tokenizer, served = case
    whole = put_as(tokenizer, Form.MANY_SHOT)
    assert whole.opened == served.opens
    text = tokenizer.decode(whole.ids)
    assert text.count("Tell me about thing number") == attacks.EXCHANGES == 16
    users = whole.ids.count(tokenizer.convert_tokens_to_ids("<|user|>"))
    assert users == attacks.EXCHANGES + 1
    assert text.endswith(served.prompt.rpartition("<|user|>")[2].lstrip())
    # One token less than sixteen exchanges need leaves room for fifteen.
    fewer = put_as(tokenizer, Form.MANY_SHOT, limit=len(whole.ids) - 1)
    assert len(fewer.ids) < len(whole.ids)
    assert tokenizer.decode(fewer.ids).count("Tell me about thing number") == 15


def test_one_exchange_stays_however_little_room_there_is(case):
    tokenizer, _ = case
    text = tokenizer.decode(put_as(tokenizer, Form.MANY_SHOT, limit=12).ids)
    assert text.count("Tell me about thing number") == 1


@pytest.mark.parametrize("form", [Form.ROLE_PLAY, Form.PARAPHRASED])
def test_other_words_stand_in_the_users_turn_alone(case, form):
    tokenizer, served = case
    found = put_as(tokenizer, form)
    before, after = served.prompt.split("open a jar")
    text = tokenizer.decode(found.ids)
    assert text.startswith(before) and text.endswith(after) and "open a jar" in text
    assert len(text) > len(served.prompt) and found.opened == served.opens


def test_a_prompt_keeps_its_braces(case):
    tokenizer, _ = case
    for form in ATTACKS:
        text = tokenizer.decode(put_as(tokenizer, form, text="open {text} and {}").ids)
        assert "open {text} and {}" in text


def test_a_method_has_the_last_word_on_the_users_turn(case):
    tokenizer, _ = case
    for form in (Form.SERVED, *ATTACKS):
        text = tokenizer.decode(put_as(tokenizer, form, reword="Be safe.\n{}\nEnd.".format).ids)
        turn = text.rpartition("<|user|>")[2].strip()
        assert turn.startswith("Be safe.") and text.count("Be safe.") == 1


def test_paraphrases_go_by_seed_and_prompt_and_are_all_used(case):
    tokenizer, _ = case

    def texts(seed):
        found = [put_as(tokenizer, Form.PARAPHRASED, number=n, seed=seed) for n in range(40)]
        return [tokenizer.decode(one.ids) for one in found]

    assert texts(0) == texts(0) != texts(1)
    assert len(set(texts(0))) == len(PARAPHRASES) >= 4


def test_a_judge_reads_the_request_and_is_told_of_words_put_into_a_mouth():
    prompt = prompt_of()
    begun = {Form.PREFILLED: BEGUN, Form.BEGUN_LIST: attacks.BEGUN_LIST}
    for form in set(Form) - set(begun):
        assert judged_request(prompt, form) == "open a jar"
    for form, answer in begun.items():
        quoted = judged_request(prompt, form)
        assert quoted.startswith("open a jar\n") and answer.strip() in quoted


def test_what_is_attacked_does_not_go_by_the_order_of_the_prompts():
    prompts = [prompt_of(number=n) for n in range(30)]
    drawn = draw(prompts, 10, key="3")
    assert drawn == draw(prompts[::-1], 10, key="3") == sorted(drawn, key=lambda p: p.id)
    assert len(drawn) == 10 and drawn != draw(prompts, 10, key="4")
    assert draw(prompts, 99, key="3") == prompts


@pytest.mark.parametrize(
    ("attacks", "told"),
    [
        ([Form.FORCED_THOUGHT], "forced_thought is no attack; there are prefilled"),
        ([Form.PREFILLED, Form.PREFILLED], "named twice"),
    ],
)
def test_a_profile_names_attacks_once_and_nothing_else(attacks, told):
    with pytest.raises(ValueError, match=told):
        EvaluateSettings(attacks=attacks)
    assert EvaluateSettings(attacks=["many-shot"]).attacks == (Form.MANY_SHOT,)


def test_a_suite_is_asked_in_all_attacks_and_in_its_own_beside_them():
    spec = suite_spec(Role.HARMFUL, prompts=5, attacks=(Form.ROLE_PLAY, Form.PREFILLED))
    plan = EvaluationPlan.of(
        EvaluateSettings(attack_prompts=3),
        [prompt_of(number=9)],
        {"mine": (spec, [prompt_of(number=n) for n in range(5)])},
        seed=0,
        attacks=[Form.PREFILLED],
    )
    asked = {
        one.suite: [(form, len(rows)) for form, rows in one.forms(forced_thought=False)]
        for one in plan.suites
    }
    assert asked == {
        "harmful": [(Form.SERVED, 1), (Form.PREFILLED, 1)],
        "mine": [(Form.SERVED, 5), (Form.PREFILLED, 3), (Form.ROLE_PLAY, 3)],
    }


def test_an_attack_of_another_package_is_asked_judged_and_recounted(
    tmp_path, monkeypatch, random_prompts, random_models, random_adapter
):
    monkeypatch.chdir(ROOT)
    install(tmp_path, monkeypatch, kind="attacks", name="polite", code=shown("An attack"))
    limits = dict.fromkeys(Role, 4)
    section = EvaluateSettings(
        prompts=limits, max_new_tokens=limits, attacks=["polite"], attack_prompts=2
    )
    out = tmp_path / "evaluate"
    out.mkdir()
    found = evaluate(section, random_prompts, random_models, random_adapter, seed=3, out=out)
    recount_evidence(found, section, random_prompts, random_models, seed=3, root=Path())
    for arm, rows in read_judged(out / ROWS).items():
        assert sum(row.form == "polite" for row in rows) == 2
        assert found.rates[arm]["harmful.polite.either.complied"].n == 2
    assert [(row.suite, row.form) for row in attack_rows(found)][-1] == ("harmful", "polite")
