"""The diagnosis as tables: what the plots show, for whoever wants to draw or count themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from components.core.paths import MASK_SIZES, POSITIONS, PRUNING
from components.core.result import RateFigure
from components.core.storage import write_rows
from components.probe.positions import PositionFigure
from components.probe.result import RATES, PruningPoint
from components.probe.set_difference import MatrixSize


@dataclass(frozen=True, slots=True)
class PruningRow:
    """One measure of one point of the sweep."""

    by: str
    scope: str | None
    share: float | None  # by the reasoning score, removed
    kept: float | None  # by the safety score, of it not
    removed: int
    weights: int
    chosen: bool
    measure: str  # one of RATES
    rate: float
    low: float
    high: float
    count: int
    n: int


def write_tables(
    out: Path,
    points: Sequence[PruningPoint],
    sizes: Sequence[MatrixSize],
    positions: Sequence[PositionFigure],
) -> None:
    """Write `pruning.parquet`, `masks.parquet` and `positions.parquet` into `out`."""
    write_rows(out / PRUNING, [row for point in points for row in _rows(point)], PruningRow)
    write_rows(out / MASK_SIZES, sizes, MatrixSize)
    write_rows(out / POSITIONS, positions, PositionFigure)


def _rows(point: PruningPoint) -> list[PruningRow]:
    plain = point.model_dump(exclude=set(RATES))
    figures = set(RateFigure.model_fields) & {field.name for field in fields(PruningRow)}
    rates = {name: getattr(point, name).model_dump(include=figures) for name in RATES}
    return [PruningRow(**plain, measure=name, **rate) for name, rate in rates.items()]
