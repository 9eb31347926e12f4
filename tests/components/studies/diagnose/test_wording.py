"""A diagnosis in words: which figures and cautions it names."""

from __future__ import annotations

import pytest

from components.studies.diagnose.wording import conclusion, metric_name, unsaid
from tests.diagnoses import make_diagnosis

SERVED, BEGUN = "harmful.refused", "harmful.prefilled.refused"


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ({SERVED: (100, 0, 100)}, ["100.0\xa0%", "0.0\xa0%", "−100.0 [−100.0, −92.6]"]),
        ({SERVED: (100, 98, 100)}, ["−2.0", "10.0 points is excluded"]),
        ({SERVED: (10, 10, 10)}, ["up to 27.8 points"]),
        ({SERVED: (100, 100, 100), BEGUN: (100, 0, 100)}, ["no loss as served", "answer begun"]),
        ({SERVED: (100, 0, 100), BEGUN: (100, 0, 100)}, ["too", "answer begun (−100.0)"]),
    ],
)
def test_the_conclusion_names_the_figures_that_it_rests_on(counts, named):
    text = conclusion(make_diagnosis(counts))
    assert [words for words in named if words not in text] == []


def test_without_a_base_the_levels_are_named():
    text = conclusion(make_diagnosis({SERVED: (0, 80, 100), BEGUN: (0, 5, 100)}, base=False))
    assert (
        "80.0\xa0%" in text and "answer begun" in text and "5.0\xa0%" in text and "--base" in text
    )


def cautions(**counts: tuple[int, int, int]) -> str:
    names = {f"harmful.{name}": found for name, found in counts.items()}
    return " ".join(unsaid(make_diagnosis(names)))


def test_what_is_not_said_is_what_the_figures_lack():
    sound = cautions(refused=(90, 0, 100), finished=(100, 100, 100), neither=(0, 0, 100))
    assert "rules" in sound.casefold() and "made-up prompts" in sound
    for words in ("base itself", "cut off", "neither refuse"):
        assert words not in sound
    assert "base itself" in cautions(refused=(20, 0, 100))
    short = cautions(refused=(90, 0, 100), finished=(100, 40, 100), neither=(0, 60, 100))
    assert "60 of 100 answers to harmful prompts were cut off at 32 tokens" in short
    assert "60 of 100 answers of the post-trained model" in short
    assert "answers of the base model" not in short


def test_a_judge_other_than_the_rules_is_not_called_rules():
    found = make_diagnosis({SERVED: (90, 0, 100)}, judges={"harmful": "guard:1"})
    assert "Rules" not in " ".join(unsaid(found))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("harmful.refused", "refuses harmful"),
        ("harmful.forced_thought.refused", "refuses harmful, thought forced"),
        ("reasoning.correct", "solves reasoning"),
    ],
)
def test_lines_say_what_is_measured(metric, words):
    assert metric_name(metric) == words
