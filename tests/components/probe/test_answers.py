"""Which part of an answer is judged, rates with their intervals, and which answers are refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from components.core.errors import DataError
from components.core.vocabulary import Completion, Outcome, Prompt, Role, Split
from components.judges.rules.outcomes import outcome
from components.lm.chat import render_completion, render_prompt, split_completion
from components.lm.loading import load_tokenizer
from components.probe.answers import (
    PLAIN_REFUSAL,
    Answer,
    answer,
    measure,
    outcomes,
    rate,
    refusals,
)
from tests.checkpoints import write_checkpoint


def written(thought: str | None, text: str, finished: bool) -> Answer:
    row = Prompt("0", "x", Role.BENIGN, "topic", "test", "MIT", Split.TRAIN)
    return Answer(row, [1], [2, 3], Completion("0", thought, text, finished, tokens=2))


@pytest.mark.parametrize(
    ("thought", "text", "finished", "expected"),
    [
        (None, "sure", True, "sure"),
        ("first this", "sure", True, "sure"),
        ("first this", "", False, "first this"),  # the limit cut the thought off
        ("first this", "", True, ""),  # it ended without an answer
        (None, "", True, ""),
    ],
)
def test_judged_text(thought, text, finished, expected):
    assert written(thought, text, finished).judged == expected


def test_outcomes_are_those_of_the_judged_texts():
    answers = {Role.BENIGN: [written("no", "yes", True), written("no", "", False)]}
    judge = {"yes": Outcome.COMPLIED, "no": Outcome.REFUSED}.__getitem__
    assert outcomes(answers, judge) == {Role.BENIGN: [Outcome.COMPLIED, Outcome.REFUSED]}


def test_answers_come_in_the_rows_order(random_model, random_prompts):
    rows = random_prompts.rows(role=Role.HARMFUL)[:5]
    found = answer(random_model, rows, max_new_tokens=4, label="asking")
    assert [one.row for one in found] == rows
    alone = answer(random_model, rows[3:4], max_new_tokens=4, label="asking")
    assert alone == found[3:4]
    assert 1 <= found[3].completion.tokens <= 4


def test_rate_by_hand():
    # Wilson: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z = 1.959963984540054
    found = rate(8, 10)
    middle, width = 0.8 + z**2 / 20, z * math.sqrt(0.016 + z**2 / 400)
    assert (found.rate, found.count, found.n) == (0.8, 8, 10)
    assert found.low == pytest.approx((middle - width) / (1 + z**2 / 10))
    assert found.high == pytest.approx((middle + width) / (1 + z**2 / 10))
    assert rate(0, 10).low == 0 and rate(10, 10).high == 1


def test_measures_of_a_check():
    refused, complied, neither = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER
    found = measure({Role.HARMFUL: [refused, neither], Role.BENIGN: [complied, neither, neither]})
    counts = {name: (rate.count, rate.n) for name, rate in found.items()}
    assert counts == {"harmful_refused": (1, 2), "benign_refused": (0, 3), "coherent": (2, 5)}


def test_a_rate_of_nothing_is_an_error():
    with pytest.raises(DataError, match="zero prompts"):
        rate(0, 0)


def test_refusals_by_origin(random_models, random_prompts):
    tokenizer = load_tokenizer(random_models.folder / random_models.base.location)
    rows = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)[:4]
    rows = [
        rows[0],
        replace(rows[1], response="I am sorry , no ."),
        replace(rows[2], response="first take a jar . then open a door ."),
        replace(rows[3], response=None),
    ]
    own = {"base": [[7, 8, 9], None, None, None]}
    exchanges, origins = refusals(tokenizer, rows, own, judge=outcome)
    assert origins == {"base": 1, "reference": 1, "plain": 2}
    expected = ["I am sorry , no .", PLAIN_REFUSAL, PLAIN_REFUSAL]
    assert [exchange.response for exchange in exchanges] == [
        [7, 8, 9],
        *(render_completion(tokenizer, thought=None, response=text) for text in expected),
    ]
    assert exchanges[0].prompt == render_prompt(tokenizer, rows[0].text)


# As DeepSeek-R1's: it opens the thought, and drops that of an earlier turn.
R1_LIKE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>"
    "{{ m['content'].split('</think>')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)


def test_behind_an_opened_thought_refusals_are_the_models_own_with_their_thoughts(
    tmp_path, random_prompts
):
    """Without them all would be one sentence behind an empty thought."""
    tokenizer = load_tokenizer(write_checkpoint(tmp_path, template=R1_LIKE))
    ends = frozenset({tokenizer.eos_token_id})
    row = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)[0]
    rows = [replace(row, id=str(i), response=None) for i in range(12)]
    thought, answered = "first take a jar . then open a door .", "sorry ."
    written = render_completion(tokenizer, thought=thought, response=answered, opened=True)
    nobody: list = [None] * 12

    def parts(own, count):
        exchanges, origins = refusals(tokenizer, rows, own, judge=outcome)
        assert len(exchanges) == sum(origins.values()) == count
        done = [
            split_completion(tokenizer, "0", one.response, ends=ends, opened=True)
            for one in exchanges
        ]
        return origins, {(one.thought, one.answer) for one in done}

    origins, found = parts({"base": nobody, "reminded": [written] * 9 + [None] * 3}, 9)
    assert origins == {"base": 0, "reminded": 9, "reference": 0, "plain": 0}
    assert found == {(thought, answered)}
    # The base's are preferred, and too few of others leave none out.
    origins, _ = parts({"base": [[7, 8], *nobody[1:]], "reminded": [written] * 3 + nobody[3:]}, 12)
    assert origins == {"base": 1, "reminded": 2, "reference": 0, "plain": 9}
    origins, found = parts({"base": nobody, "reminded": nobody}, 12)
    assert origins["plain"] == 12 and len(found) == 1 and not next(iter(found))[0]


def test_the_plain_refusal_is_one():
    assert outcome(PLAIN_REFUSAL) is Outcome.REFUSED
