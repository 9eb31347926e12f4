"""Stage `prepare`: sources become one validated table of prompts, split by topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from great_expectations.core import ExpectationSuiteValidationResult

from components import workspace
from components.config import Prepare, Source
from components.corpus.data_docs import write_data_docs
from components.corpus.expectations import checks_of_table
from components.corpus.licences import canonical_licence
from components.corpus.overlap import drop_leaks
from components.corpus.quarantine import Quarantined, refuse_too_many, separate
from components.corpus.readers import read_file, read_hub
from components.corpus.sources import Candidate, map_rows, sample_rows, select_rows
from components.corpus.splits import AUTO, place
from components.corpus.table import count_prompts, digest_prompts, table_of
from components.corpus.topics import fill_topics
from components.corpus.validation import require, table_frame, validate
from components.records import Prompt
from components.results import PromptSet, SourceCount
from components.storage import digest_file, write_rows


def prepare(section: Prepare, *, seed: int, out: Path) -> PromptSet:
    """Return the prepared prompts: read, sifted, split by topic, freed of leaks and validated.

    Writes the table, the quarantine, the manifest and the Data Docs into `out`. Raises `DataError`
    naming source, row and remedy where a source cannot be read or the whole does not hold up.
    """
    rows = [row for source in section.sources for row in _read(source, seed)]
    sifted = separate(rows, max_characters=section.max_characters)
    refuse_too_many(sifted, max_share=section.max_quarantined)
    placed = place(
        fill_topics(sifted.kept),
        validation_share=section.validation_share,
        test_share=section.test_share,
        seed=seed,
    )
    kept, overlap = drop_leaks(placed, ngram=section.overlap_ngram)
    outcome = _validated(section, kept)
    prompts = table_of(kept)
    write_rows(out / workspace.PROMPTS, prompts, Prompt)
    write_rows(out / workspace.QUARANTINE, sifted.quarantined, Quarantined)
    result = PromptSet(
        digest_of_prompts=digest_prompts(prompts),
        sources=_count_sources(section.sources, rows, kept, sifted.quarantined),
        counts=count_prompts(prompts),
        expectations=len(outcome.results),
        overlap=overlap,
    )
    outcomes = {
        ("rows.html", "Rows by themselves"): sifted.by_itself,
        ("repetition.html", "Rows beside each other"): sifted.beside_others,
        ("prompts.html", "The prepared table"): outcome,
    }
    write_data_docs(out / workspace.DATA_DOCS, result, sifted.quarantined, outcomes)
    return result.save(out)


def _validated(section: Prepare, rows: Sequence[Candidate]) -> ExpectationSuiteValidationResult:
    automatic = {source.name for source in section.sources if source.split == AUTO}
    frame = table_frame(rows, [row.source in automatic for row in rows], section.overlap_ngram)
    checks = checks_of_table(
        section.max_characters, min_rows=section.min_rows, min_share=section.min_share
    )
    outcome = validate(frame, checks, name="prompts")
    require(frame, outcome, checks)
    return outcome


def _read(source: Source, seed: int) -> list[Candidate]:
    if source.path is not None:
        rows = read_file(Path(source.path), source=source.name)
    else:
        rows = read_hub(
            source.hub or "",
            revision=source.revision or "",
            subset=source.subset,
            split=source.hub_split,
            source=source.name,
        )
    rows = select_rows(rows, source=source.name, where=source.where)
    return map_rows(
        sample_rows(rows, source=source.name, limit=source.limit, seed=seed),
        source=source.name,
        licence=source.licence,
        role=source.role,
        split=source.split,
        columns=source.columns,
        patterns=source.patterns,
        drop=source.drop,
    )


def _count_sources(
    sources: Sequence[Source],
    rows: Sequence[Candidate],
    kept: Sequence[Candidate],
    quarantined: Sequence[Quarantined],
) -> tuple[SourceCount, ...]:
    read, left, lost = (Counter(row.source for row in part) for part in (rows, kept, quarantined))
    return tuple(
        SourceCount(
            name=source.name,
            licence=canonical_licence(source.licence),
            digest=digest_file(Path(source.path)) if source.path else source.revision or "",
            read=read[source.name],
            kept=left[source.name],
            quarantined=lost[source.name],
        )
        for source in sources
    )
