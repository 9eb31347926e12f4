"""Stage `prepare`: sources become one validated table of prompts, split by topic; named suites
another, beside it.

Of the suites the first table knows the training rows that repeat them, which are dropped, and
nothing else: unless there are such rows, its files are the same whatever suites a profile names.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from great_expectations.core import ExpectationSuiteValidationResult

from components.core import paths
from components.core.storage import write_rows
from components.core.vocabulary import Split
from components.prepare.data_docs import write_data_docs
from components.prepare.expectations import checks_of_table
from components.prepare.leaks import leak_figures
from components.prepare.manifests import count_sources, write_prompts
from components.prepare.overlap import drop_leaks
from components.prepare.quarantine import Quarantined, Separation, refuse_too_many, separate
from components.prepare.reading import read_source, read_suite
from components.prepare.remaining import account_for, refuse_vanished
from components.prepare.result import SuiteSet
from components.prepare.settings import PrepareSettings
from components.prepare.sources import Candidate
from components.prepare.splits import AUTO, place
from components.prepare.suites import Suite, used_suites
from components.prepare.table import table_of
from components.prepare.topics import fill_topics
from components.prepare.validation import require, table_frame, validate

log = logging.getLogger(__name__)

# Pages of the Data Docs, in the order of the validations; the last three where there are suites.
_PAGES = (
    ("rows.html", "Rows by themselves"),
    ("repetition.html", "Rows beside each other"),
    ("prompts.html", "The prepared table"),
    ("suite-rows.html", "Rows of suites by themselves"),
    ("suite-repetition.html", "Rows of suites beside each other"),
    ("suites.html", "The table of suites"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """All rows on their way into the prepared prompts, and what became of each."""

    read: list[Candidate]
    kept: list[Candidate]
    dropped: list[Candidate]  # they repeat test rows
    separations: list[Separation]
    outcomes: list[ExpectationSuiteValidationResult]
    account: list[str]  # of each role, in a sentence

    @property
    def quarantined(self) -> list[Quarantined]:
        """The rows that were set aside."""
        return [row for part in self.separations for row in part.quarantined]


def prepare(section: PrepareSettings, *, seed: int, out: Path) -> SuiteSet:
    """Return the prepared prompts: read, sifted, split by topic, freed of leaks and validated.

    Writes the tables, the quarantine, the manifests and the Data Docs into `out`. Raises
    `DataError` naming source, row and remedy where a source cannot be read or the whole does not
    hold up, and `ConfigError` for a suite that is unknown or not pinned. The suites lie below the
    working directory.
    """
    suites = used_suites(section.suites, Path(paths.SUITES))
    table = build_table(section, suites, seed=seed)
    sources = (*section.sources, *(suite.rows() for suite in suites.values()))
    result = write_prompts(
        out,
        table_of(table.kept),
        suites,
        sources=count_sources(sources, table.read, table.kept, table.quarantined),
        expectations=[len(outcome.results) for outcome in table.outcomes],
        overlap=dict(sorted(Counter(row.source for row in table.dropped).items())),
        leaks=leak_figures(table.kept, table.dropped, suites=suites, ngram=section.overlap_ngram),
    )
    write_rows(out / paths.QUARANTINE, table.quarantined, Quarantined)
    pages = _pages(table.separations, table.outcomes)
    write_data_docs(out / paths.DATA_DOCS, result, table.quarantined, pages)
    return result


def build_table(section: PrepareSettings, suites: Mapping[str, Suite], *, seed: int) -> Table:
    """Return the rows of the sources and `suites` as `prepare` parts them; writes nothing.

    Raises `DataError` as `prepare` does.
    """
    rows = [row for source in section.sources for row in read_source(source, seed)]
    named = [row for suite in suites.values() for row in read_suite(suite, seed)]
    separations = _sifted(section, rows, named)
    placed = _placed(section, [row for part in separations for row in part.kept], seed)
    kept, dropped = drop_leaks(placed, ngram=section.overlap_ngram)
    refuse_vanished(placed, kept, ngram=section.overlap_ngram)
    quarantined = [row for part in separations for row in part.quarantined]
    account = account_for(rows, quarantined, dropped, kept, ngram=section.overlap_ngram)
    for line in account:
        log.info("%s", line)
    outcomes = _validated(section, kept, account)
    return Table([*rows, *named], kept, dropped, separations, outcomes, account)


def _sifted(
    section: PrepareSettings, rows: Sequence[Candidate], named: Sequence[Candidate]
) -> list[Separation]:
    """Return the separation of the sources' rows, and that of the suites' where there are some.

    A row of a suite that contradicts a source's row is set aside, never the other way round.
    """
    parts = [separate(rows, max_characters=section.max_characters)]
    refuse_too_many(parts[0], max_share=section.max_quarantined)
    if named:
        own = parts[0].kept
        parts.append(separate(named, max_characters=section.max_characters, beside=own))
        refuse_too_many(parts[1], max_share=section.max_quarantined)
    return parts


def _placed(section: PrepareSettings, rows: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return the rows with topics and splits; those of the sources do not depend on the suites."""
    own, named = _apart(rows, section.suites)
    return place(
        [*fill_topics(own), *fill_topics(named)],
        validation_share=section.validation_share,
        test_share=section.test_share,
        seed=seed,
    )


def _apart(
    rows: Sequence[Candidate], suites: Collection[str]
) -> tuple[list[Candidate], list[Candidate]]:
    """Return the rows of the sources, and those of the named suites."""
    own = [row for row in rows if row.source not in suites]
    return own, [row for row in rows if row.source in suites]


def _validated(
    section: PrepareSettings, rows: Sequence[Candidate], account: Sequence[str]
) -> list[ExpectationSuiteValidationResult]:
    """Return the validation of the sources' table, and that of the suites' where there are some,
    which is held against what is left for training. An error ends with the `account`."""
    own, named = _apart(rows, section.suites)
    limit = section.max_characters
    tables = [
        (
            "prompts",
            own,
            checks_of_table(limit, min_rows=section.min_rows, min_share=section.min_share),
        )
    ]
    if named:
        trained = [row for row in own if row.split != Split.TEST]
        checks = checks_of_table(limit, min_rows={}, min_share=0)
        tables.append(("suites", [*trained, *named], checks))
    automatic = {source.name for source in section.sources if source.split == AUTO}
    outcomes = []
    for name, table, checks in tables:
        moved = [row.source in automatic for row in table]
        frame = table_frame(table, moved, section.overlap_ngram)
        outcomes.append(validate(frame, checks, name=name))
        require(frame, outcomes[-1], checks, account=account)
    return outcomes


def _pages(
    sifted: Sequence[Separation], outcomes: Sequence[ExpectationSuiteValidationResult]
) -> dict[tuple[str, str], ExpectationSuiteValidationResult]:
    validations = [
        outcome
        for part, of_table in zip(sifted, outcomes, strict=True)
        for outcome in (part.by_itself, part.beside_others, of_table)
    ]
    return dict(zip(_PAGES, validations, strict=False))
