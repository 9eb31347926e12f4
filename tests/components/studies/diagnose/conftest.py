"""The random pair with the validation prompts of the random set, as a case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.core.vocabulary import Role
from components.evaluate.settings import EvaluateSettings
from components.judges.settings import RulesSettings
from components.studies.diagnose.diagnosis import Case, diagnose_pair
from components.studies.diagnose.pair import prepared_pair
from components.studies.diagnose.prompts import validation_prompts
from components.studies.diagnose.result import PairDiagnosis

# Half of what random models write is a refusal by this rule, so that the two differ.
RULES = RulesSettings(refusal_patterns=("one|two|take|done|first|plus|box|jar|lamp",))


@pytest.fixture(scope="session")
def case(random_models, random_prompts) -> Case:
    section = EvaluateSettings(
        prompts=dict.fromkeys(Role, 6),
        max_new_tokens=dict.fromkeys(Role, 6),
        batch=16,
        rules=RULES,
        forced_thought=True,
        attacks=("prefilled",),
        attack_prompts=4,
    )
    pair, asked = prepared_pair(random_models), validation_prompts(random_prompts, "mine")
    return Case(pair, asked, section, seed=3)


@pytest.fixture(scope="session")
def diagnosed(case, tmp_path_factory) -> tuple[Case, PairDiagnosis]:
    """A case and its diagnosis, with a topic and a checkpoint that try to be more than names."""
    return case, diagnose_pair(case, out=tmp_path_factory.mktemp("diagnosed"))


@pytest.fixture
def alone(case) -> Case:
    """The same without a base."""
    base, tuned = case.pair.models
    pair = replace(
        case.pair,
        models={tuned: case.pair.models[tuned]},
        folders={tuned: Path(case.pair.folders[tuned])},
    )
    assert base is not tuned
    return replace(case, pair=pair)
