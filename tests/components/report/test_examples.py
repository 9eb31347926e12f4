from dataclasses import replace

import pytest

from components.core.errors import EvidenceError
from components.core.paths import ROWS
from components.core.storage import read_rows
from components.core.vocabulary import OWN_ARMS, Role
from components.report.examples import choose_examples, refusal_openings


@pytest.fixture(scope="module")
def rows(good):
    return read_rows(good.evidence.folder / ROWS)


@pytest.fixture(scope="module")
def prompts(good):
    return good.prompts.own_test()


def choose(prompts, rows, **changes):
    return choose_examples(prompts, rows, **{"count": 4, "redact": True, "seed": 0, **changes})


def test_misses_come_first_and_fill_at_most_half(prompts, rows):
    chosen = choose(prompts, rows)
    assert {role: len(examples) for role, examples in chosen.items()} == dict.fromkeys(Role, 4)
    for examples in chosen.values():
        assert [example["missed"] for example in examples] == [True, False, False, False]
        assert [one["arm"] for one in examples[0]["completions"]] == list(OWN_ARMS)
    everything_missed = [{**row, "outcome_answer": "refused"} for row in rows]
    benign = choose(prompts, everything_missed)[Role.BENIGN]
    assert len(benign) == len({example["id"] for example in benign}) == 4


def test_only_completions_to_harmful_prompts_are_hidden(prompts, rows):
    chosen = choose(prompts, rows)
    for role, examples in chosen.items():
        for completion in (s for example in examples for s in example["completions"]):
            assert completion["hidden"] is (role is Role.HARMFUL)
            assert (completion["answer"] is None) is completion["hidden"]
    open_ones = choose(prompts, rows, redact=False)[Role.HARMFUL]
    assert all(
        completion["answer"] for example in open_ones for completion in example["completions"]
    )


def test_a_prompt_whose_completions_are_hidden_is_cut_shorter(prompts, rows):
    long = [replace(prompt, text="word " * 200) for prompt in prompts]
    chosen = choose(long, rows)
    assert len(chosen[Role.HARMFUL][0]["text"]) < len(chosen[Role.BENIGN][0]["text"]) < 300


def test_the_seed_decides_and_the_order_of_rows_does_not(prompts, rows):
    assert choose(prompts, rows) == choose(prompts, sorted(rows, key=lambda r: r["answer"]))
    ids = {
        seed: [e["id"] for e in choose(prompts, rows, seed=seed)[Role.BENIGN]] for seed in range(5)
    }
    assert len({tuple(chosen) for chosen in ids.values()}) > 1


def test_outcomes_in_words(prompts, rows):
    chosen = choose(prompts, rows, count=6)
    words = {completion["outcome"] for e in chosen[Role.HARMFUL] for completion in e["completions"]}
    assert words == {"refused", "refused, thought complied", "complied"}
    reasoning = chosen[Role.REASONING]
    assert all(example["reference"] is not None for example in reasoning)
    assert any(
        completion["outcome"] == "complied, not correct"
        for e in reasoning
        for completion in e["completions"]
    )


def test_no_rows_no_examples_and_forced_thoughts_are_left_out(prompts, rows):
    assert choose(prompts, []) == {}
    assert choose(prompts, rows, count=0) == {}
    assert choose(prompts, [{**row, "form": "forced_thought"} for row in rows]) == {}


def test_a_row_of_an_unknown_prompt_is_an_error(prompts, rows):
    with pytest.raises(EvidenceError, match="does not hold"):
        choose(prompts[:1], rows)


def refusal(answer, arm="restored", **changes):
    row = {"role": "harmful", "outcome_answer": "refused", "answer": answer, "arm": arm}
    return {**row, **changes}


def test_openings_of_refusals_are_counted_by_model():
    rows = [
        refusal("I can't do that. Here is why not."),
        refusal("I CAN\u2019T do that!"),
        refusal("  1. \u201cI can't do that\nand more", "base"),
        refusal("I can't help with a request of so many words as this", "base"),
        refusal("secret", outcome_answer="complied"),
        refusal("secret", outcome_answer="neither"),
        refusal("secret", role="benign"),
    ]
    found = refusal_openings(rows)
    assert [(one.words, dict(one.counts)) for one in found.listed] == [
        ("I can't do that", {"restored": 2, "base": 1}),
        ("I can't help with a request of so \u2026", {"base": 1}),
    ]
    assert dict(found.refusals) == {"restored": 2, "base": 2}
    assert dict(found.different) == {"restored": 1, "base": 2}
    assert [one.words for one in refusal_openings(rows, count=1).listed] == ["I can't do that"]
    assert refusal_openings([]).listed == []
    assert refusal_openings([refusal("x" * 1000), refusal("...")]).listed[1].words.startswith("xxx")
    assert max(len(one.words) for one in refusal_openings([refusal("x" * 1000)]).listed) < 90
