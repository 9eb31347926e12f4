"""What may be asked, and what a sample's numbers hang on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.errors import ConfigError
from components.lm.engines.protocol import Request

ASKED = Request((5, 6), 8, samples=2, temperature=0.7, top_p=0.9, seed=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ()}, "at least one token"),
        ({"max_new_tokens": 0}, "1 or more, not 0"),
        ({"samples": 0}, "1 or more, not 0"),
        ({"temperature": -0.1}, "0 or more, not -0.1"),
        ({"top_p": 0.0}, "above 0 and at most 1"),
        ({"top_k": -1}, "0 or more, not -1"),
        ({"temperature": 0.0}, "1 at temperature 0, not 2"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(ASKED, **change)


def test_every_field_is_part_of_the_key():
    changes = [
        {"prompt": (5, 7)}, {"max_new_tokens": 9}, {"samples": 3}, {"temperature": 0.8},
        {"top_p": 1.0}, {"top_k": 20}, {"seed": 4},
    ]  # fmt: skip
    keys = {ASKED.key, *(replace(ASKED, **change).key for change in changes)}
    assert len(keys) == 8
    assert replace(ASKED, prompt=(5, 6)).key == ASKED.key


def test_a_samples_seed_hangs_on_seed_prompt_and_number_alone():
    seed = ASKED.sample_seed(1)
    assert replace(ASKED, max_new_tokens=99, samples=5, temperature=1.0).sample_seed(1) == seed
    others = [
        ASKED.sample_seed(0), replace(ASKED, seed=4).sample_seed(1),
        replace(ASKED, prompt=(56,)).sample_seed(1),
    ]  # fmt: skip
    assert seed not in others
    assert 0 <= seed < 2**63
