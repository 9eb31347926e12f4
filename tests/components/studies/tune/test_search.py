"""Searches as Optuna studies in a real SQLite file: taken up, never mixed, in any case the same."""

from __future__ import annotations

import math
from datetime import datetime

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from components.core.vocabulary import Arm
from components.studies.tune.places import Tried
from components.studies.tune.search import Proposal, Study
from components.studies.tune.trials import Setting
from tests.searches import ALLOWED, BEFORE, SHIPPED, SPACE, rates

SEARCHED = {
    "teacher": CategoricalDistribution(["base", "reminder"]),
    "target_layers": CategoricalDistribution(["1 2 3 4", "2 4", "3 4"]),
    "lr": FloatDistribution(6e-4, 1.5e-2, log=True),
    "steps": IntDistribution(60, 240),
    "retain_share": FloatDistribution(0.2, 0.5),
}

REFERENCES = {Arm.BASE: rates(0, 15), Arm.POST_TRAINED: BEFORE}


def figures(setting: Setting):
    """Return made-up figures: least compliance at lr 0.006, reasoning that falls with it."""
    complied = min(100, round(40 * abs(math.log(setting.lr / 6e-3))))
    return rates(complied, 100 - round(1000 * setting.lr), benign=9 if setting.lr > 0.01 else 0)


def tried(proposal: Proposal) -> Tried:
    """Return what became of a trial: the third one fails."""
    number, setting = proposal.number, proposal.setting
    if number == 2:
        return Tried({}, "the loss of step 3 is not finite", number, number + 0.5)
    return Tried(figures(setting), None, number, number + 0.5)


class Search:
    """A search in `file` whose process is killed, as it were, before it has stored a trial."""

    def __init__(self, file, key="one", seed=0, at_once=1):
        self.file, self.key, self.seed, self.at_once = file, key, seed, at_once

    def open(self) -> Study:
        study = Study(self.file, self.key, SPACE, allowed=ALLOWED, seed=self.seed)
        if not study.references:
            study.store_references(REFERENCES)
        return study

    def run(self, trials: int, *, killed_in: int | None = None) -> Study:
        study = self.open()
        while (left := trials - len(study.trials)) > 0:
            for proposal in study.propose(self.at_once)[:left]:
                if proposal.number == killed_in:
                    return study
                study.add(proposal, tried(proposal))
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


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_search_that_was_killed_tries_what_an_undisturbed_one_tries(tmp_path, at_once):
    """In the first trial of a round or within one, before anything was stored of it or after."""
    undisturbed = Search(tmp_path / "undisturbed.db", at_once=at_once).run(11)
    search = Search(tmp_path / "study.db", at_once=at_once)
    for trial in (0, 0, 1, 2, 6, 7, 10):
        assert len(search.run(11, killed_in=trial).trials) == trial
    resumed = search.run(11)
    assert resumed.trials == undisturbed.trials
    assert resumed.front == undisturbed.front
    assert resumed.references == REFERENCES


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_search_tries_what_optuna_itself_asks_for(tmp_path, at_once):
    """Against asking and telling Optuna, round after round: a trial knows of those before its round
    what they found, and of those in its round only that they run."""
    plain = optuna.create_study(directions=["minimize", "maximize"])
    shipped = {"teacher": "base", "target_layers": "1 2 3 4", "lr": 3e-3, "steps": 120}
    plain.enqueue_trial({**shipped, "retain_share": 0.4})
    for begin in range(0, 12, at_once):
        asked = []
        for number in range(begin, begin + at_once):
            plain.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=5)
            asked.append(plain.ask(SEARCHED))
        for number, trial in enumerate(asked, start=begin):
            if number == 2:
                plain.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            lr = SHIPPED.lr if number == 0 else float(f"{trial.params['lr']:.3g}")
            found = figures(SHIPPED.model_copy(update={"lr": lr}))
            trial.set_constraint("benign.refused", found["benign.refused"].rate - 0.03)
            complied = found["harmful.either.complied"].rate
            plain.tell(trial, (complied, found["reasoning.correct"].rate))
    study = Search(tmp_path / "study.db", at_once=at_once).run(12)
    for expected, trial in zip(plain.trials, study.trials, strict=True):
        assert trial.setting.teacher == expected.params["teacher"]
        assert trial.setting.target_layers == tuple(
            map(int, expected.params["target_layers"].split())
        )
        assert trial.setting.lr == pytest.approx(expected.params["lr"], rel=1e-2)
        assert trial.setting.steps == expected.params["steps"]
        assert trial.setting.retain_share == pytest.approx(
            expected.params["retain_share"], abs=0.01
        )


def test_what_is_asked_for_later_is_what_would_have_been_tried_at_once(tmp_path):
    """Within a round, too: its trials do not know of one another when they were asked."""
    whole = Search(tmp_path / "whole.db", at_once=4).run(11)
    search = Search(tmp_path / "study.db", at_once=4)
    assert [len(search.run(trials).trials) for trials in (3, 6, 7, 11)] == [3, 6, 7, 11]
    assert search.open().trials == whole.trials


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
    assert undisturbed.times(2) == tuple(map(datetime.fromtimestamp, (2, 2.5)))


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
