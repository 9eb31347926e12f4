"""Which answers stand for safety."""

from __future__ import annotations

from dataclasses import replace

from components.core.vocabulary import Outcome, Role, Split
from components.judges.rules.outcomes import outcome
from components.lm.chat import render_completion, render_prompt
from components.lm.loading import load_tokenizer
from components.probe.calibration import PLAIN_REFUSAL, refusals


def test_refusals_by_origin(random_models, random_prompts):
    tokenizer = load_tokenizer(random_models.folder / random_models.base.location)
    rows = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)[:4]
    rows = [
        rows[0],
        replace(rows[1], response="I am sorry , no ."),
        replace(rows[2], response="first take a jar . then open a door ."),
        replace(rows[3], response=None),
    ]
    exchanges, origins = refusals(tokenizer, rows, [[7, 8, 9], None, None, None], judge=outcome)
    assert origins == {"base": 1, "reference": 1, "plain": 2}
    expected = ["I am sorry , no .", PLAIN_REFUSAL, PLAIN_REFUSAL]
    assert [exchange.response for exchange in exchanges] == [
        [7, 8, 9],
        *(render_completion(tokenizer, thought=None, response=text) for text in expected),
    ]
    assert exchanges[0].prompt == render_prompt(tokenizer, rows[0].text)


def test_the_plain_refusal_is_one():
    assert outcome(PLAIN_REFUSAL) is Outcome.REFUSED
