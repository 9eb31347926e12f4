"""Great Expectations at work: rows that fail are quarantined, a table that fails is one error."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from components.core.errors import DataError, StageError
from components.prepare.expectations import (
    ROW,
    Check,
    checks_of_repetition,
    checks_of_rows,
    repetition_frame,
    row_frame,
)
from components.prepare.sources import Candidate

log = logging.getLogger(__name__)

# Positions of all failing rows, and none of their values: Data Docs show no prompt that is kept.
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": 0,
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}
_SHOWN = 5  # rows that an error names


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that was set aside."""

    source: str
    row: int
    reason: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Separation:
    """The rows that passed, those that did not, and the two validations that tell them apart."""

    passed: list[Candidate]
    quarantined: list[Quarantined]
    by_itself: ExpectationSuiteValidationResult
    beside_others: ExpectationSuiteValidationResult


def separate(
    rows: Sequence[Candidate], *, max_characters: int, beside: Sequence[Candidate] = ()
) -> Separation:
    """Return the rows in order, without those that fail by themselves or repeat another.

    Repetition is judged among the rows that pass by themselves, so the good one of two stays, and
    among the rows `beside` them, which come before and all stay.
    """
    by_itself, good, failed = _sift(rows, row_frame(rows), checks_of_rows(max_characters), "rows")
    frame = repetition_frame([*beside, *good]).iloc[len(beside) :].reset_index(drop=True)
    beside_others, passed, repeated = _sift(good, frame, checks_of_repetition(), "repetition")
    log.info("%d of %d rows quarantined", len(rows) - len(passed), len(rows))
    return Separation(passed, [*failed, *repeated], by_itself, beside_others)


def _sift(
    rows: Sequence[Candidate], frame: pd.DataFrame, checks: Sequence[Check], name: str
) -> tuple[ExpectationSuiteValidationResult, list[Candidate], list[Quarantined]]:
    outcome = validate(frame, checks, name=name)
    faults = find_faults(outcome, checks)
    passed = [row for position, row in enumerate(rows) if position not in faults]
    failed = [
        Quarantined(row.source, row.row, check.reason, row.text, check.remedy)
        for row, check in ((rows[position], check) for position, check in sorted(faults.items()))
    ]
    return outcome, passed, failed


def refuse_too_many(separation: Separation, *, max_share: float) -> None:
    """Raise `DataError` where too large a share, or all of a source, is in quarantine."""
    quarantined = separation.quarantined
    left = {row.source for row in separation.passed}
    total = len(separation.passed) + len(quarantined)
    for source in sorted({row.source for row in quarantined} - left):
        lost = [row for row in quarantined if row.source == source]
        raise DataError(f"source {source!r}: no row is left of {len(lost)}:\n{_reasons(lost)}")
    if (share := len(quarantined) / total) > max_share:
        raise DataError(
            f"{len(quarantined)} of {total} rows ({share:.1%}) are quarantined, more than "
            f"prepare.max_quarantined = {max_share:.1%}:\n{_reasons(quarantined)}"
        )


def _reasons(quarantined: Sequence[Quarantined]) -> str:
    lines = []
    for (reason, remedy), _ in Counter((q.reason, q.remedy) for q in quarantined).most_common():
        rows = [(q.source, q.row) for q in quarantined if q.reason == reason]
        lines.append(f"  {reason} ({name_rows(rows)}); {remedy}")
    return "\n".join(lines)


def validate(
    frame: pd.DataFrame, checks: Sequence[Check], *, name: str
) -> ExpectationSuiteValidationResult:
    """Return the results of all checks on the table, whose index counts from 0.

    Raises `StageError` where an expectation did not run.
    """
    quiet = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=quiet)
    asset = context.data_sources.add_pandas("prompts").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = ExpectationSuite(name=name)
    for number, check in enumerate(checks):
        check.expectation.meta = {"check": number}
        suite.add_expectation(check.expectation)
    outcome = batch.validate(suite, result_format=_RESULT_FORMAT)
    ran = 0
    for result in outcome.results:
        # One account of the expectation, or one of each metric it asked for.
        info = result.exception_info
        accounts = [info, *(value for value in info.values() if isinstance(value, Mapping))]
        ran += not any(account.get("raised_exception") for account in accounts)
    if not ran == len(outcome.results) == len(checks):
        raise StageError(
            f"Great Expectations ran {ran} of {len(checks)} expectations of {name!r}; check its "
            "version"
        )
    return outcome


def find_faults(
    outcome: ExpectationSuiteValidationResult, checks: Sequence[Check]
) -> dict[int, Check]:
    """Return the first check, in their order, that each failing row violates, by position."""
    faults: dict[int, Check] = {}
    for check, result in _in_order(outcome, checks):
        for position in _positions(result):
            faults.setdefault(position, check)
    return faults


def require(
    frame: pd.DataFrame,
    outcome: ExpectationSuiteValidationResult,
    checks: Sequence[Check],
    *,
    account: Sequence[str] = (),
) -> None:
    """Raise `DataError` unless every expectation held, naming sources, rows and remedies, and the
    `account` of what became of the rows."""
    failed = [(c, result) for c, result in _in_order(outcome, checks) if not result.success]
    if not failed:
        return
    lines = [f"the prepared prompts fail {len(failed)} of {len(checks)} expectations:"]
    for check, result in failed:
        positions = [] if "mostly" in result.expectation_config.kwargs else _positions(result)
        observed = result.result.get("observed_value")
        where = f" ({observed} found)" if isinstance(observed, int) else ""
        if positions:
            rows = frame.iloc[positions]
            where = f" ({name_rows(list(zip(rows['source'], rows[ROW], strict=True)))})"
        lines.append(f"  {check.reason}{where}; {check.remedy}")
    raise DataError("\n".join([*lines, *(f"  {line}" for line in account)]))


def name_rows(rows: Sequence[tuple[str, int]]) -> str:
    """Return, for each source of the rows (source, number), its first rows in words."""
    by_source: dict[str, list[int]] = {}
    for source, number in rows:
        by_source.setdefault(source, []).append(number)
    parts = []
    for source, numbers in by_source.items():
        shown = ", ".join(str(number) for number in numbers[:_SHOWN])
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        parts.append(f"source {source!r} row{'s' if len(numbers) > 1 else ''} {shown}{more}")
    return "; ".join(parts)


def _in_order(
    outcome: ExpectationSuiteValidationResult, checks: Sequence[Check]
) -> list[tuple[Check, Any]]:
    results: list[Any] = list(outcome.results)
    results.sort(key=lambda result: result.expectation_config.meta["check"])
    return list(zip(checks, results, strict=True))


def _positions(result: Any) -> list[int]:
    return sorted(int(position) for position in result.result.get("unexpected_index_list") or ())
