"""The table of prompts: its rows read, separated, split by topic, freed of leaks, validated."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from great_expectations.core import ExpectationSuiteValidationResult

from components.core.vocabulary import Split
from components.prepare.expectations import checks_of_table, table_frame
from components.prepare.leaks import drop_leaks, refuse_vanished
from components.prepare.settings import PrepareSettings
from components.prepare.sources import Candidate, read_source, read_suite
from components.prepare.splits import AUTO, fill_topics, place
from components.prepare.suites import Suite
from components.prepare.validation import (
    Quarantined,
    Separation,
    refuse_too_many,
    require,
    separate,
    validate,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Table:
    """All rows on their way into the prepared prompts, and what became of each."""

    read: list[Candidate]
    rows: list[Candidate]  # of the prepared prompts
    dropped: list[Candidate]  # they repeat test rows
    separations: list[Separation]
    outcomes: list[ExpectationSuiteValidationResult]
    account: list[str]  # of each role, in a sentence

    @property
    def quarantined(self) -> list[Quarantined]:
        """The rows that were set aside."""
        return [row for part in self.separations for row in part.quarantined]


def build_table(section: PrepareSettings, suites: Mapping[str, Suite], *, seed: int) -> Table:
    """Return the rows of the sources and `suites` as `prepare` parts them; writes nothing.

    Raises `DataError` as `prepare` does.
    """
    own = [row for source in section.sources for row in read_source(source, seed)]
    named = [row for suite in suites.values() for row in read_suite(suite, seed)]
    separations = _separated(section, own, named)
    placed = place(
        # Topics of the sources' rows do not depend on the suites.
        [row for part in separations for row in fill_topics(part.passed)],
        validation_share=section.validation_share,
        test_share=section.test_share,
        seed=seed,
    )
    rows, dropped = drop_leaks(placed, ngram=section.overlap_ngram)
    refuse_vanished(placed, rows, ngram=section.overlap_ngram)
    quarantined = [row for part in separations for row in part.quarantined]
    account = _account(own, quarantined, dropped, rows, ngram=section.overlap_ngram)
    for line in account:
        log.info("%s", line)
    outcomes = _validated(section, rows, account)
    return Table([*own, *named], rows, dropped, separations, outcomes, account)


def _separated(
    section: PrepareSettings, rows: Sequence[Candidate], named: Sequence[Candidate]
) -> list[Separation]:
    """Return the separation of the sources' rows, and that of the suites' where there are some.

    A row of a suite that contradicts a source's row is set aside, never the other way round.
    """
    parts: list[Separation] = []
    for these in (rows, named) if named else (rows,):
        beside = [row for part in parts for row in part.passed]
        parts.append(separate(these, max_characters=section.max_characters, beside=beside))
        refuse_too_many(parts[-1], max_share=section.max_quarantined)
    return parts


def _account(
    rows: Sequence[Candidate],
    quarantined: Sequence[Quarantined],
    dropped: Sequence[Candidate],
    left: Sequence[Candidate],
    *,
    ngram: int,
) -> list[str]:
    """Return a sentence for each role of the sources' rows: how many were read, set aside by
    reason, dropped as repeating test rows, and left in each split."""
    role_of = {(row.source, row.row): row.role for row in rows}
    sources = {row.source for row in rows}

    def parts(role: str) -> Iterator[str]:
        yield f"{role}: {sum(row.role == role for row in rows)} rows read"
        reasons = Counter(q.reason for q in quarantined if role_of.get((q.source, q.row)) == role)
        for reason, count in reasons.most_common():
            yield f"{count} set aside ({reason})"
        if leaking := sum(row.role == role for row in dropped):
            yield f"{leaking} dropped (they share a run of {ngram} words with a test row)"
        # Rows of a named suite of the same role are counted with that suite.
        splits = Counter(r.split for r in left if r.role == role and r.source in sources)
        yield "left: " + ", ".join(f"{split} {splits[split]}" for split in Split)

    return ["; ".join(parts(role)) for role in dict.fromkeys(row.role for row in rows)]


def _validated(
    section: PrepareSettings, rows: Sequence[Candidate], account: Sequence[str]
) -> list[ExpectationSuiteValidationResult]:
    """Return the validation of the sources' table, and that of the suites' where there are some,
    which is held against what is left for training. An error ends with the `account`."""
    own = [row for row in rows if row.source not in section.suites]
    named = [row for row in rows if row.source in section.suites]
    limit, at_least = section.max_characters, section.min_rows
    checks = checks_of_table(limit, min_rows=at_least, min_share=section.min_share)
    tables = [("prompts", own, checks)]
    if named:
        trained = [row for row in own if row.split != Split.TEST]
        checks = checks_of_table(limit, min_rows={}, min_share=0)
        tables.append(("suites", [*trained, *named], checks))
    automatic = {source.name for source in section.sources if source.split == AUTO}
    outcomes = []
    for name, table, checks in tables:
        frame = table_frame(
            table, [row.source in automatic for row in table], section.overlap_ngram
        )
        outcomes.append(validate(frame, checks, name=name))
        require(frame, outcomes[-1], checks, account=account)
    return outcomes
