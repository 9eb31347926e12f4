"""Stage `prepare`: sources become one validated table of prompts, split by topic; named suites
another, beside it.

Of the suites the first table knows the training rows that repeat them, which are dropped, and
nothing else: unless there are such rows, its files are the same whatever suites a profile names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from great_expectations.core import ExpectationSuiteValidationResult

from components.core import paths
from components.core.storage import digest_file, write_rows
from components.core.vocabulary import Prompt
from components.prepare.data_docs import write_data_docs
from components.prepare.leaks import leak_figures
from components.prepare.licences import canonical_licence
from components.prepare.result import (
    PromptSet,
    SourceCount,
    SuiteSet,
    SuiteSpec,
    count_prompts,
    digest_prompts,
)
from components.prepare.settings import PrepareSettings, Source
from components.prepare.sources import as_prompts
from components.prepare.suites import Suite, used_suites
from components.prepare.table import Table, build_table
from components.prepare.validation import Quarantined

# Pages of the Data Docs, in the order of the validations; the last three where there are suites.
_PAGES = (
    ("rows.html", "Rows by themselves"),
    ("repetition.html", "Rows beside each other"),
    ("prompts.html", "The prepared table"),
    ("suite-rows.html", "Rows of suites by themselves"),
    ("suite-repetition.html", "Rows of suites beside each other"),
    ("suites.html", "The table of suites"),
)


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
    write_data_docs(out / paths.DATA_DOCS, result, table.quarantined, _pages(table))
    return result


def _write_prompts(
    out: Path, section: PrepareSettings, table: Table, suites: Mapping[str, Suite]
) -> SuiteSet:
    """Write the own prompts and those of the suites, each with its manifest; return the latter."""
    prompts = as_prompts(table.rows)
    own = [prompt for prompt in prompts if prompt.source not in suites]
    named = [prompt for prompt in prompts if prompt.source in suites]
    sources = _count_sources([*section.sources, *(s.rows() for s in suites.values())], table)
    leaks = leak_figures(table.rows, table.dropped, suites=suites, ngram=section.overlap_ngram)
    expectations = [len(outcome.results) for outcome in table.outcomes]
    write_rows(out / paths.PROMPTS, own, Prompt)
    write_rows(out / paths.SUITE_PROMPTS, named, Prompt)
    result = PromptSet(
        digest_of_prompts=digest_prompts(own),
        sources=tuple(source for source in sources if source.name not in suites),
        counts=count_prompts(own),
        expectations=expectations[0],
        overlap=dict(sorted(Counter(row.source for row in table.dropped).items())),
        leaks=tuple(figure for figure in leaks if figure.suite not in suites),
    ).save(out)
    return SuiteSet(
        digest_of_prompts=result.digest_of_prompts,
        sources=tuple(sources),
        counts=count_prompts(prompts),
        expectations=sum(expectations),
        overlap=result.overlap,
        leaks=leaks,
        suites={name: _specify(suite, named) for name, suite in suites.items()},
        digest_of_suites=digest_prompts(named) if suites else "",
    ).save(out)


def _count_sources(sources: Sequence[Source], table: Table) -> list[SourceCount]:
    """Return what became of the rows of every source."""
    read = Counter(row.source for row in table.read)
    kept = Counter(row.source for row in table.rows)
    quarantined = Counter(row.source for row in table.quarantined)
    return [
        SourceCount(
            name=source.name,
            licence=canonical_licence(source.licence),
            digest=_digest(source),
            read=read[source.name],
            kept=kept[source.name],
            quarantined=quarantined[source.name],
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


def _pages(table: Table) -> dict[tuple[str, str], ExpectationSuiteValidationResult]:
    validations = [
        outcome
        for part, of_table in zip(table.separations, table.outcomes, strict=True)
        for outcome in (part.by_itself, part.beside_others, of_table)
    ]
    return dict(zip(_PAGES, validations, strict=False))
