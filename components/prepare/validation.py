"""Great Expectations at work: failing rows by position, and a failing table as one error."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
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
from components.core.vocabulary import Role, Split
from components.prepare.expectations import (
    CONTRADICTIONS,
    LEAKS,
    REPEATS,
    ROW,
    SPLITS_OF_TOPIC,
    UNREADABLE,
    Check,
)
from components.prepare.overlap import HeldOut
from components.prepare.sources import Candidate
from components.prepare.text import normalise, unreadable_characters

log = logging.getLogger(__name__)

# Positions of all failing rows, and none of their values: prompts stay out of the Data Docs.
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": 0,
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}
_SHOWN = 5  # rows that an error names


def row_frame(rows: Sequence[Candidate]) -> pd.DataFrame:
    """Return the rows as a table, with the count of each text's unreadable characters."""
    names = [field.name for field in fields(Candidate)]
    frame = pd.DataFrame({name: [getattr(row, name) for row in rows] for name in names})
    frame[UNREADABLE] = [unreadable_characters(row.text) for row in rows]
    return frame


def repetition_frame(rows: Sequence[Candidate]) -> pd.DataFrame:
    """Return the rows with counts of earlier rows of their id and of rows that contradict them.

    Rows of a source that is fixed as test repeat only one another: what others share with them is
    a leak, and a leak costs the training row, never the test row.
    """
    frame = row_frame(rows)
    held_out = frame["split"] == Split.TEST
    frame[REPEATS] = frame.groupby([held_out, "id"]).cumcount()
    text = frame["text"].map(normalise)
    harmful = frame["role"] == Role.HARMFUL
    of_text = harmful.groupby([held_out, text])
    count, harmful_count = of_text.transform("count"), of_text.transform("sum")
    frame[CONTRADICTIONS] = (count - harmful_count).where(harmful, harmful_count)
    return frame


def table_frame(rows: Sequence[Candidate], automatic: Sequence[bool], ngram: int) -> pd.DataFrame:
    """Return the split rows with their overlap with the test split and their topic's splits.

    The topics of rows that were not split automatically count as lying in no split.
    """
    frame = row_frame(rows)
    test = frame["split"] == Split.TEST
    frame[LEAKS] = 0
    held = HeldOut(list(frame["text"][test]), ngram=ngram)
    leaks = held.find([row for row in rows if row.split != Split.TEST])
    frame.loc[~test, LEAKS] = leaks.astype(int)
    frame[SPLITS_OF_TOPIC] = 0
    moved = frame[pd.Series(automatic, index=frame.index, dtype=bool)]
    splits = moved.groupby("topic")["split"].transform("nunique")
    frame.loc[moved.index, SPLITS_OF_TOPIC] = splits
    return frame


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
    definition = asset.add_batch_definition_whole_dataframe("all")
    batch = definition.get_batch({"dataframe": frame})
    suite = ExpectationSuite(name=name)
    for number, check in enumerate(checks):
        check.expectation.meta = {"check": number}
        suite.add_expectation(check.expectation)
    outcome = batch.validate(suite, result_format=_RESULT_FORMAT)
    broken = [result for result in outcome.results if _raised(result.exception_info)]
    if broken or len(outcome.results) != len(checks):
        raise StageError(
            f"Great Expectations ran {len(outcome.results) - len(broken)} of {len(checks)} "
            f"expectations of {name!r}; check its version"
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
            where = f" ({name_rows(rows['source'].tolist(), rows[ROW].tolist())})"
        lines.append(f"  {check.reason}{where}; {check.remedy}")
    raise DataError("\n".join([*lines, *(f"  {line}" for line in account)]))


def name_rows(sources: Sequence[str], numbers: Sequence[int]) -> str:
    """Return, for each source, its first rows in words."""
    parts = []
    for source in Counter(sources):
        rows = [n for s, n in zip(sources, numbers, strict=True) if s == source]
        shown = ", ".join(str(row) for row in rows[:_SHOWN])
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        parts.append(f"source {source!r} row{'s' if len(rows) > 1 else ''} {shown}{more}")
    return "; ".join(parts)


def _raised(info: Mapping[str, Any]) -> bool:
    # One account of the expectation, or one of each metric it asked for.
    accounts = [info, *(value for value in info.values() if isinstance(value, Mapping))]
    return any(account.get("raised_exception") for account in accounts)


def _in_order(
    outcome: ExpectationSuiteValidationResult, checks: Sequence[Check]
) -> list[tuple[Check, Any]]:
    configured = ((result.expectation_config, result) for result in outcome.results)
    by_number = {config.meta["check"]: result for config, result in configured if config}
    return [(check, by_number[number]) for number, check in enumerate(checks)]


def _positions(result: Any) -> list[int]:
    return sorted(int(position) for position in result.result.get("unexpected_index_list") or ())
