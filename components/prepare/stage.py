"""Stage `prepare`: sources become validated prompts, split by topic: a table of those that train
and validate, one of test prompts, and one of named suites.

Of the other two the first table knows the rows that repeat their prompts, which are dropped, and
nothing else: unless there are such rows, its files are the same whatever a profile tests with.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from great_expectations.core import ExpectationSuiteValidationResult

from components.core import paths
from components.core.storage import digest_file, write_rows
from components.core.vocabulary import Prompt, Split
from components.prepare.data_docs import write_data_docs
from components.prepare.expectations import checks_of_table, table_frame
from components.prepare.leaks import drop_leaks, leak_figures, refuse_vanished
from components.prepare.near_copies import cluster_figures, with_clusters
from components.prepare.result import (
    PromptSet,
    SourceCount,
    SuiteSet,
    SuiteSpec,
    count_prompts,
    digest_prompts,
)
from components.prepare.settings import PrepareSettings, Source, canonical_licence
from components.prepare.sources import Candidate, as_prompts, read_source, read_suite
from components.prepare.splits import AUTO, fill_topics, place
from components.prepare.suites import Suite, used_suites
from components.prepare.validation import (
    Quarantined,
    Separation,
    refuse_too_many,
    require,
    separate,
    validate,
)

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
    rows: list[Candidate]  # of the prepared prompts
    dropped: list[Candidate]  # they repeat test rows
    quarantined: list[Quarantined]
    separations: list[Separation]
    outcomes: list[ExpectationSuiteValidationResult]  # of the table behind each separation
    account: list[str]  # of each role, in a sentence


def prepare(section: PrepareSettings, *, seed: int, out: Path) -> SuiteSet:
    """Return the prepared prompts: read, sifted, split by topic, freed of leaks and validated.

    Writes the tables, the quarantine, the manifests and the Data Docs into `out`. Raises
    `DataError` naming source, row and remedy where a source cannot be read or the whole does not
    hold up, and `ConfigError` for a suite that is unknown or not pinned. The suites lie below the
    working directory.
    """
    suites = used_suites(section.suites, Path(paths.SUITES))
    table = build_table(section, suites, seed=seed)
    result = _write_prompts(out, section, table, suites)
    write_rows(out / paths.QUARANTINE, table.quarantined, Quarantined)
    validations = [
        outcome
        for part, of_table in zip(table.separations, table.outcomes, strict=True)
        for outcome in (part.by_itself, part.beside_others, of_table)
    ]
    pages = dict(zip(_PAGES, validations, strict=False))
    write_data_docs(out / paths.DATA_DOCS, result, table.quarantined, pages)
    return result


def build_table(section: PrepareSettings, suites: Mapping[str, Suite], *, seed: int) -> Table:
    """Return the rows of the sources and `suites` as `prepare` parts them; writes nothing.

    A row of a suite that contradicts a source's row is set aside, never the other way round.
    Raises `DataError` as `prepare` does.
    """
    own = [row for source in section.sources for row in read_source(source, seed)]
    named = [row for suite in suites.values() for row in read_suite(suite, seed)]
    parts: list[Separation] = []
    for rows in (own, named) if named else (own,):
        beside = [row for part in parts for row in part.passed]
        parts.append(separate(rows, max_characters=section.max_characters, beside=beside))
        refuse_too_many(parts[-1], max_share=section.max_quarantined)
    placed = place(
        # Topics of the sources' rows do not depend on the suites.
        [row for part in parts for row in fill_topics(part.passed)],
        validation_share=section.validation_share,
        test_share=section.test_share,
        seed=seed,
    )
    left, dropped = drop_leaks(placed, ngram=section.overlap_ngram)
    refuse_vanished(placed, left, ngram=section.overlap_ngram)
    quarantined = [row for part in parts for row in part.quarantined]
    account = _account(own, quarantined, dropped, left, ngram=section.overlap_ngram)
    for line in account:
        log.info("%s", line)
    outcomes = _validated(section, left, account)
    return Table([*own, *named], left, dropped, quarantined, parts, outcomes, account)


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
    limit = section.max_characters
    checks = checks_of_table(limit, min_rows=section.min_rows, min_share=section.min_share)
    tables = [("prompts", own, checks)]
    if named:
        trained = [row for row in own if row.split != Split.TEST]
        checks = checks_of_table(limit, min_rows={}, min_share=0)
        tables.append(("suites", [*trained, *named], checks))
    automatic = {source.name for source in section.sources if source.split == AUTO}
    outcomes = []
    for name, table, checks in tables:
        by_topic = [row.source in automatic for row in table]
        frame = table_frame(table, by_topic, section.overlap_ngram)
        outcomes.append(validate(frame, checks, name=name))
        require(frame, outcomes[-1], checks, account=account)
    return outcomes


def _write_prompts(
    out: Path, section: PrepareSettings, table: Table, suites: Mapping[str, Suite]
) -> SuiteSet:
    """Write the own prompts and those of the suites, each with its manifest; return the latter."""
    sources = [*section.sources, *(suite.rows() for suite in suites.values())]
    together = {source.name: source.clusters for source in sources}
    prompts = with_clusters(as_prompts(table.rows), suites, together)
    own = [prompt for prompt in prompts if prompt.source not in suites]
    trained = [prompt for prompt in own if prompt.split is not Split.TEST]
    tests = [prompt for prompt in own if prompt.split is Split.TEST]
    named = [prompt for prompt in prompts if prompt.source in suites]
    counted = _count_sources(sources, table)
    clusters = cluster_figures(prompts, suites)
    for figure in clusters:
        log.info(
            "%s: %d test prompts count as %d in intervals and tests: near-copies together, at most "
            "%d in one", figure.suite, figure.prompts, figure.clusters, figure.largest,
        )  # fmt: skip
    leaks = leak_figures(table.rows, table.dropped, suites=suites, ngram=section.overlap_ngram)
    expectations = [len(outcome.results) for outcome in table.outcomes]
    for file, rows in (
        (paths.PROMPTS, trained),
        (paths.TESTS, tests),
        (paths.SUITE_PROMPTS, named),
    ):
        write_rows(out / file, rows, Prompt)
    digest = digest_prompts(trained)
    PromptSet(digest_of_prompts=digest, counts=count_prompts(trained)).save(out)
    return SuiteSet(
        digest_of_prompts=digest,
        digest_of_tests=digest_prompts(tests),
        sources=tuple(counted),
        counts=count_prompts(prompts),
        expectations=sum(expectations),
        overlap=dict(sorted(Counter(row.source for row in table.dropped).items())),
        leaks=leaks,
        clusters=clusters,
        suites={name: _specify(suite, named) for name, suite in suites.items()},
        digest_of_suites=digest_prompts(named) if suites else "",
    ).save(out)


def _count_sources(sources: Sequence[Source], table: Table) -> list[SourceCount]:
    parts: dict[str, Sequence[Candidate | Quarantined]] = {
        "read": table.read,
        "kept": table.rows,
        "quarantined": table.quarantined,
    }
    counts = {part: Counter(row.source for row in rows) for part, rows in parts.items()}
    return [
        SourceCount(
            name=source.name,
            licence=canonical_licence(source.licence),
            digest=_digest(source),
            **{part: count[source.name] for part, count in counts.items()},
        )
        for source in sources
    ]


def _specify(suite: Suite, prompts: Sequence[Prompt]) -> SuiteSpec:
    source = suite.rows()
    alike = SuiteSpec.model_fields.keys() & Suite.model_fields.keys() - {"prompts", "licence"}
    return SuiteSpec(
        **{name: getattr(suite, name) for name in alike},
        prompts=sum(prompt.source == suite.name for prompt in prompts),
        origin=source.hub or Path(source.path or "").name,
        digest=_digest(source),
        licence=canonical_licence(suite.licence),
    )


def _digest(source: Source) -> str:
    return digest_file(Path(source.path)) if source.path else source.revision or ""
