"""Searches as Optuna studies in a real SQLite file: taken up, never mixed, in any case the same."""

from __future__ import annotations

import math

import pytest

from components.core.vocabulary import Arm
from components.studies.tune.search import Study
from components.studies.tune.trials import Setting
from tests.searches import ALLOWED, BEFORE, SHIPPED, SPACE, rates


def figures(setting: Setting):
    """Return made-up figures: least compliance at lr 0.006, reasoning that falls with it."""
    complied = min(100, round(40 * abs(math.log(setting.lr / 6e-3))))
    return rates(complied, 100 - round(1000 * setting.lr), benign=9 if setting.lr > 0.01 else 0)


class Search:
    """A search in `file` whose process is killed, as it were, when it has asked for a trial."""

    def __init__(self, file, key="one", seed=0):
        self.file, self.key, self.seed = file, key, seed

    def open(self) -> Study:
        study = Study(self.file, self.key, SPACE, allowed=ALLOWED, seed=self.seed)
        if not study.references:
            study.store_references({Arm.POST_TRAINED: BEFORE})
        return study

    def run(self, trials: int, *, killed_in: int | None = None) -> Study:
        study = self.open()
        while len(study.trials) < trials:
            proposal = study.propose()
            if proposal.number == killed_in:
                return study
            if proposal.number == 2:
                study.add_failure(proposal, "the loss of step 3 is not finite")
            else:
                study.add(proposal, figures(proposal.setting))
        return study


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return Search(tmp_path_factory.mktemp("study") / "study.db").run(9)


def test_the_shipped_setting_is_first_and_the_others_lie_within_the_bounds(undisturbed):
    first, *others = undisturbed.trials
    assert first.shipped and first.setting == SHIPPED
    assert not any(trial.shipped for trial in others)
    assert len({trial.setting.model_dump_json() for trial in undisturbed.trials}) == 9
    for trial in others:
        setting = trial.setting
        assert setting.teacher in SPACE.teachers and setting.target_layers in SPACE.target_layers
        assert SPACE.lr[0] <= setting.lr <= SPACE.lr[1]
        assert SPACE.steps[0] <= setting.steps <= SPACE.steps[1]
        assert 0.199 <= setting.retain_share <= 0.5 and setting.schedule >= 1


def test_a_search_that_was_killed_tries_what_an_undisturbed_one_tries(undisturbed, tmp_path):
    search = Search(tmp_path / "study.db")
    for trial in (0, 0, 1, 6):
        assert len(search.run(9, killed_in=trial).trials) == trial
    resumed = search.run(9)
    assert resumed.trials == undisturbed.trials
    assert resumed.front == undisturbed.front
    assert resumed.references == {Arm.POST_TRAINED: BEFORE}


def test_what_is_asked_for_counts_all_trials_of_the_study(undisturbed, tmp_path):
    search = Search(tmp_path / "study.db")
    assert len(search.run(3).trials) == 3
    assert search.run(3).trials == undisturbed.trials[:3]


def test_studies_of_other_keys_and_seeds_do_not_mix(tmp_path):
    file = tmp_path / "study.db"
    one, other = Search(file).run(3), Search(file, key="other", seed=5).run(2)
    assert len(Search(file).open().trials) == 3 and len(other.trials) == 2
    assert one.trials[1].setting != other.trials[1].setting


def test_a_failed_trial_keeps_its_reason_and_its_place(undisturbed):
    failed = undisturbed.trials[2]
    assert failed.failure == "the loss of step 3 is not finite" and failed.rates == {}
    assert 2 not in undisturbed.front
    begin, end = undisturbed.times(2)
    assert begin <= end


def test_the_front_is_what_no_other_trial_within_the_constraints_beats(undisturbed):
    """Against comparing each with each."""

    def objectives(trial):
        return trial.rates["harmful.either.complied"].rate, -trial.rates["reasoning.correct"].rate

    def beats(one, other):
        pairs = list(zip(objectives(one), objectives(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    measured = [trial for trial in undisturbed.trials if not trial.failure]
    within = [trial for trial in measured if trial.rates["benign.refused"].rate <= 0.03]
    assert 0 < len(within) < len(measured)
    expected = [t.number for t in within if not any(beats(other, t) for other in within)]
    assert list(undisturbed.front) == expected
