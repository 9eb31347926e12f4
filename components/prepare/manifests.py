"""The prepared prompts as two results: the own ones, and those with the named suites beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core import paths
from components.core.storage import digest_file, write_rows
from components.core.vocabulary import Prompt
from components.prepare.licences import canonical_licence
from components.prepare.quarantine import Quarantined
from components.prepare.result import (
    LeakFigure,
    PromptSet,
    SourceCount,
    SuiteSet,
    SuiteSpec,
    count_prompts,
    digest_prompts,
)
from components.prepare.settings import Source
from components.prepare.sources import Candidate
from components.prepare.suites import Suite


def write_prompts(
    out: Path,
    table: Sequence[Prompt],
    suites: Mapping[str, Suite],
    *,
    sources: Sequence[SourceCount],
    expectations: Sequence[int],
    overlap: dict[str, int],
    leaks: Sequence[LeakFigure],
) -> SuiteSet:
    """Write the own prompts and those of the suites, each with its manifest; return the latter.

    `sources` and `leaks` are of both; of `expectations` the first number is of the own prompts,
    the second, where there are suites, of theirs.
    """
    prompts = [prompt for prompt in table if prompt.source not in suites]
    named = [prompt for prompt in table if prompt.source in suites]
    own = PromptSet(
        digest_of_prompts=digest_prompts(prompts),
        sources=tuple(source for source in sources if source.name not in suites),
        counts=count_prompts(prompts),
        expectations=expectations[0],
        overlap=overlap,
        leaks=tuple(figure for figure in leaks if figure.suite not in suites),
    )
    both: dict[str, Any] = {
        "sources": tuple(sources),
        "counts": count_prompts(table),
        "expectations": sum(expectations),
        "leaks": tuple(leaks),
        "suites": {name: _specify(suite, named) for name, suite in suites.items()},
        "digest_of_suites": digest_prompts(named) if suites else "",
    }
    write_rows(out / paths.PROMPTS, prompts, Prompt)
    write_rows(out / paths.SUITE_PROMPTS, named, Prompt)
    own.save(out)
    return SuiteSet(**{**dict(own), **both}).save(out)


def count_sources(
    sources: Iterable[Source],
    rows: Sequence[Candidate],
    kept: Sequence[Candidate],
    quarantined: Sequence[Quarantined],
) -> list[SourceCount]:
    """Return what became of the rows of every source."""
    read, left, lost = (Counter(row.source for row in part) for part in (rows, kept, quarantined))
    return [
        SourceCount(
            name=source.name,
            licence=canonical_licence(source.licence),
            digest=_digest(source),
            read=read[source.name],
            kept=left[source.name],
            quarantined=lost[source.name],
        )
        for source in sources
    ]


def _specify(suite: Suite, prompts: Sequence[Prompt]) -> SuiteSpec:
    source = suite.rows()
    return SuiteSpec(
        role=suite.role,
        judge=suite.judge,
        grader=suite.grader,
        prompts=sum(prompt.source == suite.name for prompt in prompts),
        samples=suite.samples,
        temperature=suite.temperature,
        top_p=suite.top_p,
        max_new_tokens=suite.max_new_tokens,
        instruction=suite.instruction,
        attacks=suite.attacks,
        origin=source.hub or Path(source.path or "").name,
        digest=_digest(source),
        licence=canonical_licence(suite.licence),
        gated=suite.gated,
    )


def _digest(source: Source) -> str:
    return digest_file(Path(source.path)) if source.path else source.revision or ""
