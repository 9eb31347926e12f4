"""How guards' words are read; the words are written for this test."""

from __future__ import annotations

import pytest

from components.core.storage import digest_bytes
from components.judges.formats import FORMATS, Reading


def read(kind, word):
    return FORMATS[kind].read(word)


@pytest.mark.parametrize(
    ("word", "reason", "harmful"),
    [
        ("safe", "safe", False),
        ("\n\nsafe\n", "safe", False),
        ("unsafe\nS1", "unsafe S1", True),
        ("unsafe\nS2,S14,S2", "unsafe S2 S14", True),
        ("unsafe", "unsafe", True),
        ("unsafe\nS99, and more", "unsafe", True),
    ],
)
def test_llama_guard_says_safe_or_unsafe_with_hazards(word, reason, harmful):
    assert read("llama-guard-3", word) == Reading(reason, harmful, None)


def test_what_llama_guard_says_stays_short():
    hazards = ",".join(f"S{number}" for number in range(1, 15))
    assert len(read("llama-guard-3", f"unsafe\n{hazards}").reason) <= 40


@pytest.mark.parametrize("word", ["", "Safe", "safe.", "not safe", "unsafe S1", "I can't", "S1"])
def test_other_words_of_llama_guard_are_unreadable(word):
    assert read("llama-guard-3", word) is None


@pytest.mark.parametrize(("word", "harmful"), [("yes", True), (" No", False), ("YES\n", True)])
def test_harmbench_says_yes_or_no(word, harmful):
    assert read("harmbench", word) == Reading(word.strip().lower(), harmful, None)


@pytest.mark.parametrize("word", ["", "yes no", "maybe", "y", "n/a"])
def test_other_words_of_harmbench_are_unreadable(word):
    assert read("harmbench", word) is None


@pytest.mark.parametrize(
    ("refusal", "harmful", "reading"),
    [
        ("yes", "no", Reading("harmful no, refusal yes", False, True)),
        ("no", "yes", Reading("harmful yes, refusal no", True, False)),
        ("N/A", "no", Reading("harmful no, refusal n/a", False, None)),
        ("no", "n/a", Reading("harmful n/a, refusal no", None, False)),
    ],
)
def test_wildguard_answers_three_questions(refusal, harmful, reading):
    word = f"Harmful request: yes\nResponse refusal: {refusal}\nHarmful response: {harmful}\n"
    assert read("wildguard", word) == reading


@pytest.mark.parametrize(
    "word",
    [
        "",
        "Harmful request: yes",
        "Harmful request: yes\nResponse refusal: no",
        "Harmful request: yes\nResponse refusal: no\nHarmful response: perhaps",
        "Harmful request: yes\nResponse refusal: no\nHarmful response: no\nHarmful response: yes",
        "Harmful request: yes\nResponse refusal: no\nHarmful response: no\nand more",
        "yes\nno\nyes",
    ],
)
def test_other_words_of_wildguard_are_unreadable(word):
    assert read("wildguard", word) is None


def test_prompts_are_the_ones_that_the_guards_were_trained_with():
    """A change here is a change of the judge; whoever makes one looks at the source again."""
    digests = {kind: digest_bytes(form.prompt.encode())[:12] for kind, form in FORMATS.items()}
    assert digests == {
        "llama-guard-3": "3039841d7b72",
        "harmbench": "4ec82ac4ed44",
        "wildguard": "fc45492b1ec1",
    }
