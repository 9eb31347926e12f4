"""Where safety was lost: when states can be compared, and what is measured then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.vocabulary import Arm, Outcome, Role
from components.lm.loading import load_model, load_tokenizer
from components.probe.answers import Loaded, answer, rate
from components.studies.diagnose.locating import Locating


@pytest.fixture
def locating(case) -> Locating:
    rows = {
        role: [prompt for prompt in case.asked.prompts if prompt.role is role]
        for role in (Role.HARMFUL, Role.BENIGN)
    }
    return Locating(case.pair, rows, case.section.rules, seed=1, batch=4, tokens=4, prompts=5)


def test_what_keeps_states_from_being_compared(locating, alone):
    assert locating.refused() is None
    assert "no base" in (replace(locating, pair=alone.pair).refused() or "")
    few = {role: rows[:4] for role, rows in locating.rows.items()}
    assert "at least 5" in (replace(locating, rows=few).refused() or "")
    base, tuned = locating.pair.models.values()
    other = tuned.model_copy(update={"vocabulary": tuned.vocabulary + 1})
    strangers = replace(locating.pair, models={Arm.BASE: base, Arm.POST_TRAINED: other})
    assert "differ" in (replace(locating, pair=strangers).refused() or "")


def test_the_prompts_that_the_base_refuses_are_asked_of_the_other(locating, case, tmp_path):
    found = locating.masking(tmp_path)
    assert found is not None and list(tmp_path.iterdir()) == []
    models = {
        arm: Loaded(load_model(folder), load_tokenizer(folder), 4)
        for arm, folder in case.pair.folders.items()
    }

    def refuses(arm, rows):
        done = answer(models[arm], rows, max_new_tokens=4, label="")
        return [locating.judge(one.judged) is Outcome.REFUSED for one in done]

    first = locating.rows[Role.HARMFUL][:5]
    by_base = refuses(Arm.BASE, first)
    both = refuses(Arm.POST_TRAINED, [row for row, yes in zip(first, by_base, strict=True) if yes])
    assert sum(by_base) > 0
    assert found.asked == rate(sum(by_base), 5)
    assert found.alone == rate(sum(both), len(both))
    assert len(found.transfer) == 3
    # Nothing is put into a model that still refuses.
    assert bool(found.interventions) is (found.alone.rate < 0.9)


def test_a_base_that_refuses_nothing_has_nothing_to_lose(locating, tmp_path):
    rules = locating.rules.model_copy(update={"refusal_patterns": ("never said",)})
    assert replace(locating, rules=rules).masking(tmp_path) is None
