"""Great Expectations' Data Docs as plain pages that open offline and never change by themselves.

Its own page template loads a dozen scripts and styles from elsewhere and prints the hour; ours
(data_docs.html) has its sections and leaves that out. Of prompts the first that was set aside for
each reason is shown, cut as harmful ones are in the report.

The same inputs give the same bytes, so whose pages they are and of which day stands on copies that
`safereact run` writes beside the chain, in place of `UNDATED`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render import (
    RenderedDocumentContent,
    RenderedSectionContent,
    RenderedTableContent,
)
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from components.core.storage import write_text
from components.core.untrusted_text import HARMFUL_CHARACTERS, clip, visible
from components.core.vocabulary import Role, Split
from components.prepare.result import UNDATED, SuiteSet
from components.prepare.validation import Quarantined

INDEX = ("index.html", "Prepared prompts")


def write_data_docs(
    folder: Path,
    result: SuiteSet,
    quarantined: Sequence[Quarantined],
    outcomes: Mapping[tuple[str, str], ExpectationSuiteValidationResult],
) -> None:
    """Write index.html and a page for each outcome, keyed by its file and title, into `folder`."""
    index = _index(result, quarantined, outcomes)
    renderer = ValidationResultsPageRenderer(run_info_at_end=True)
    # The first section links to pages that are not written; the last holds times.
    pages = {page: renderer.render(outcome).sections[1:-1] for page, outcome in outcomes.items()}
    pages = {INDEX: index, **pages}
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
    for (name, title), sections in pages.items():
        document = RenderedDocumentContent(sections=sections, page_title=title)
        html = view.render(document, template="data_docs.html", pages=list(pages), undated=UNDATED)
        write_text(folder / name, visible(html))


def _index(
    result: SuiteSet,
    quarantined: Sequence[Quarantined],
    outcomes: Mapping[tuple[str, str], ExpectationSuiteValidationResult],
) -> list[RenderedSectionContent]:
    reasons = Counter((row.source, row.reason) for row in quarantined)
    first = {(row.source, row.reason): row for row in reversed(quarantined)}
    return [
        _table(
            "Sources",
            ["source", "licence", "rows", "kept", "quarantined", "leaks dropped"],
            *(
                [s.name, s.licence, s.read, s.kept, s.quarantined, result.overlap.get(s.name, 0)]
                for s in result.sources
            ),
        ),
        _table(
            "Prompts",
            ["split", *Role],
            *([split, *(result.counts[split][role] for role in Role)] for split in Split),
        ),
        _table(
            "Near-copies among test prompts",
            ["suite", "prompts", "count as", "largest cluster"],
            *([c.suite, c.prompts, c.clusters, c.largest] for c in result.clusters),
        ),
        _table(
            "Quarantine",
            ["source", "reason", "rows", "such as row", "its text", "remedy"],
            *(
                [*key, rows, row.row, clip(row.text, HARMFUL_CHARACTERS), row.remedy]
                for key, rows in sorted(reasons.items())
                for row in (first[key],)
            ),
        ),
        _table(
            "Validations",
            ["validation", "expectations", "held"],
            *(
                [title, len(outcome.results), sum(bool(one.success) for one in outcome.results)]
                for (_, title), outcome in outcomes.items()
            ),
        ),
    ]


def _table(title: str, header: list[str], *rows: list[Any]) -> RenderedSectionContent:
    """Return a table whose cells are escaped, since names of sources are anyone's."""
    cells = [
        [
            {
                "content_block_type": "string_template",
                "string_template": {"template": "$cell", "params": {"cell": str(c)}, "styling": {}},
            }
            for c in row
        ]
        for row in rows or [["none", *[""] * (len(header) - 1)]]
    ]
    table = RenderedTableContent(header=title, header_row=header, table=cells)
    return RenderedSectionContent([table])
