"""Metrics of MLflow that have a point for each moment, so that it draws their curve."""

from __future__ import annotations

from collections.abc import Mapping

from components.registry.mlflow_client import milliseconds, with_clear_errors
from components.registry.mlflow_registry import Registry

_POINTS = 1000  # that MLflow takes at once


@with_clear_errors
class CurveRegistry(Registry):
    """The same store, with the curves of its runs."""

    def first_points(self, run: str) -> dict[str, float]:
        """Return the first value of every metric of a run."""
        return {
            key: min(self._client.get_metric_history(run, key), key=lambda one: one.step).value
            for key in self._client.get_run(run).data.metrics
        }

    def add_points(self, run: str, figures: Mapping[str, float], *, step: int) -> None:
        """Add a point to each metric of a run, open or not, at this moment and `step`."""
        from mlflow.entities import Metric

        now = milliseconds(None)
        points = [Metric(key, value, now, step) for key, value in figures.items()]
        for start in range(0, len(points), _POINTS):
            self._client.log_batch(run, points[start : start + _POINTS])
