"""The record of watches in a real store: curves by date, and words that stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from components.core.errors import RegistryError
from components.core.result import RateFigure
from components.registry.mlflow_registry import Registry
from components.registry.watches import Watched, first_figures, record_watch, watches_of

NAME = "demo-safety"
WATCHED = Watched("1", "a" * 64, "no drift", False, "no drift (7 figures)", "2026-01-01T00:00:00")


def figures(count: int) -> dict[str, RateFigure]:
    return {"harmful.refused": RateFigure.of(count, 100, 0.95)}


def test_watches_of_a_champion_are_points_of_one_run(workspace):
    registry = Registry(workspace.root)
    assert watches_of(registry, NAME, "a" * 64) == []
    assert first_figures(registry, NAME, "a" * 64) == {}
    later = replace(WATCHED, found="drift", words="drift")
    assert record_watch(registry, NAME, "safereact", WATCHED, figures(97)) == 1
    more = figures(60) | {"production.refused": RateFigure.of(3, 40, 0.95)}
    assert record_watch(registry, NAME, "safereact", later, more) == 2
    other = replace(WATCHED, adapter="b" * 64, version="2")
    assert record_watch(registry, NAME, "safereact", other, figures(50)) == 1
    assert watches_of(registry, NAME, "a" * 64) == [WATCHED, later]
    assert first_figures(registry, NAME, "a" * 64) == figures(97) | {
        "production.refused": RateFigure.of(3, 40, 0.95)
    }
    assert first_figures(registry, NAME, "b" * 64) == figures(50)
    import mlflow

    client = mlflow.MlflowClient()
    (run,) = registry.runs(None, {"safereact.watch_of": NAME, "adapter_digest": "a" * 64})
    points = client.get_metric_history(run.id, "harmful.refused")
    assert [(point.step, point.value) for point in points] == [(1, 0.97), (2, 0.6)]


def test_a_first_figure_without_its_interval_is_damaged(workspace):
    registry = Registry(workspace.root)
    record_watch(registry, NAME, "safereact", WATCHED, {})
    (run,) = registry.runs(None, {"safereact.watch_of": NAME, "adapter_digest": "a" * 64})
    registry.add_points(run.id, {"harmful.refused": 0.9, "harmful.refused.n": 100}, step=1)
    with pytest.raises(RegistryError, match=r"harmful\.refused of run .* is damaged"):
        first_figures(registry, NAME, "a" * 64)


def test_a_watch_that_was_killed_leaves_a_run_that_the_next_one_closes(workspace, monkeypatch):
    registry = Registry(workspace.root)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "end_run", killed)
        with pytest.raises(KeyboardInterrupt):
            record_watch(registry, NAME, "safereact", WATCHED, figures(97))
    about = {"safereact.watch_of": NAME}
    assert [run.open for run in registry.runs(None, about)] == [True]
    assert record_watch(registry, NAME, "safereact", WATCHED, figures(97)) == 1
    assert [run.finished for run in registry.runs(None, about)] == [True]
    assert watches_of(registry, NAME, "a" * 64) == [WATCHED]


@pytest.mark.parametrize("ahead", [0, 5], ids="{} s by their clocks".format)
def test_two_first_watches_at_the_same_time_are_kept(workspace, monkeypatch, ahead):
    registry, rival = Registry(workspace.root), Registry(workspace.root)
    other = replace(WATCHED, found="drift", words="drift", when="2025-12-31T23:59:59")
    begin = registry.begin_run

    def overtaken(*given, about):
        assert record_watch(rival, NAME, "safereact", other, figures(60)) == 1
        when = datetime.now(UTC) - timedelta(seconds=ahead) if ahead else None
        return begin(*given, begin=when, about=about)

    monkeypatch.setattr(registry, "begin_run", overtaken)
    assert record_watch(registry, NAME, "safereact", WATCHED, figures(97)) == (1 if ahead else 2)
    assert watches_of(rival, NAME, "a" * 64) == [other, WATCHED]
