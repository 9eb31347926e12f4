"""Trials in this process and in two Ray workers of a real cluster: the same figures, and what
becomes of a search whose workers die."""

from __future__ import annotations

import os
import signal
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from components.core.errors import ConfigError, InterruptionError
from components.core.paths import Workspace
from components.studies.tune.places import (
    InProcess,
    Tried,
    measure_references,
    open_place,
    run_trial,
)
from components.studies.tune.trials import Bench, Setting, open_bench
from tests.searches import make_probe, make_profile, make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, random_models, random_prompts) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("root"), random_models, random_prompts)


@pytest.fixture
def bench(workspace) -> Bench:
    return open_bench(make_profile(), workspace)


@pytest.fixture
def settings(bench) -> list[Setting]:
    """Settings of which the second one fails."""
    changes = ({}, {"target_layers": (99,)}, {"steps": 3, "lr": 2e-2})
    return [bench.space.shipped.model_copy(update=change) for change in changes]


def die(mark: Path, times: int, scratch: Path, bench: Bench, setting: Setting) -> Tried:
    """Kill the first processes that run the trial of three steps; `mark` counts them."""
    if setting.steps == 3 and mark.stat().st_size < times:
        with mark.open("a") as stream:
            stream.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return run_trial(scratch, bench, setting)


def found(tried: list[Tried]) -> list[tuple[dict, str | None]]:
    """Return what trials found, without the time that they took."""
    return [(each.rates, each.failure) for each in tried]


def test_trials_run_here_one_after_the_other(bench, settings, tmp_path):
    with open_place(bench) as place:
        assert isinstance(place, InProcess) and place.at_once == 1
        trials = list(place.map(partial(run_trial, tmp_path), settings))
    assert [bool(each.rates) for each in trials] == [True, False, True]
    assert "99" in (trials[1].failure or "")
    assert all(one.end <= other.begin for one, other in pairwise(trials))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_workers_find_the_same_and_one_may_die(bench, settings, two_workers, tmp_path, caplog):
    expected = found(list(InProcess(bench).map(partial(run_trial, tmp_path), settings)))
    references = measure_references(bench, InProcess(bench))
    bench.measured.clear()
    (tmp_path / "mark").touch()
    (tmp_path / "scratch").mkdir()
    with open_place(bench) as place:
        assert place.at_once == 2
        assert measure_references(bench, place) == references
        work = partial(die, tmp_path / "mark", 1, tmp_path / "scratch")
        assert found(list(place.map(work, settings))) == expected
    assert caplog.text.count("a Ray worker died") == 1


@pytest.mark.slow
def test_a_trial_that_costs_several_workers_ends_the_search(bench, settings, two_workers, tmp_path):
    (tmp_path / "mark").touch()
    with (
        pytest.raises(InterruptionError, match="3 Ray workers died of the same work"),
        open_place(bench) as place,
    ):
        list(place.map(partial(die, tmp_path / "mark", 9, tmp_path), settings))
    assert (tmp_path / "mark").stat().st_size == 3


@pytest.mark.slow
def test_workers_that_see_another_repository_are_refused(
    random_models, random_prompts, two_workers, tmp_path
):
    workspace = make_workspace(tmp_path, random_models, random_prompts)
    bench = open_bench(make_profile(), workspace)
    make_probe().save(workspace.stage("probe"))
    with (
        pytest.raises(ConfigError, match=r"^a Ray worker finds other results in"),
        open_place(bench) as place,
    ):
        measure_references(bench, place)
