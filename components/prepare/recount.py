"""The prepared prompts' figures, counted again from their tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from components.core.errors import EvidenceError
from components.core.paths import SUITE_MANIFEST
from components.core.result import mismatches
from components.prepare.leaks import leak_figures
from components.prepare.near_copies import cluster_figures, with_clusters
from components.prepare.result import LeakFigure, SuiteSet, count_prompts, digest_prompts
from components.prepare.settings import PrepareSettings

_NAMED = 3  # mismatches that a message names


def recount_prompts(prompts: SuiteSet, section: PrepareSettings) -> None:
    """Raise `EvidenceError` naming what of the prepared prompts is not what their tables give.

    That are the digests, how many there are, which of them are near-copies, and what the rows that
    are trained on hold of every suite; what was dropped on the way is in no table.
    """
    trained, tests, named = prompts.rows(), prompts.own_test(), prompts.suite_rows()
    sizes = Counter(row.source for row in named)
    rows = [*trained, *tests, *named]
    leaks = leak_figures(rows, [], suites=prompts.suites, ngram=section.overlap_ngram)
    together = {source.name: source.clusters for source in section.sources} | {
        name: spec.clusters for name, spec in prompts.suites.items()
    }
    clustered = with_clusters(rows, prompts.suites, together)
    found = {
        "digest_of_prompts": digest_prompts(trained),
        "digest_of_tests": digest_prompts(tests),
        "digest_of_suites": digest_prompts(named) if prompts.suites else "",
        "counts": count_prompts(rows),
        "cluster": {row.id: row.cluster for row in clustered},
        "prompts of suites": {name: sizes[name] for name in prompts.suites},
        "leaks": _after_dropping(leaks),
        "clusters": cluster_figures(rows, prompts.suites),
    }
    stated = {
        "digest_of_prompts": prompts.digest_of_prompts,
        "digest_of_tests": prompts.digest_of_tests,
        "digest_of_suites": prompts.digest_of_suites,
        "counts": prompts.counts,
        "cluster": {row.id: row.cluster for row in rows},
        "prompts of suites": {name: spec.prompts for name, spec in prompts.suites.items()},
        "leaks": _after_dropping(prompts.leaks),
        "clusters": prompts.clusters,
    }
    if differences := list(mismatches(stated, found)):
        raise EvidenceError(
            f"{prompts.folder / SUITE_MANIFEST}: {'; '.join(differences[:_NAMED])}. It does not "
            f"follow from its tables: remove {prompts.folder} and prepare again with "
            "`safereact run`"
        )


def _after_dropping(leaks: Collection[LeakFigure]) -> dict[str, Any]:
    figures = {
        f"{leak.suite} {leak.measure}": leak.model_dump(include={"words", "after", "prompts"})
        for leak in leaks
    }
    return {**figures, "figures": len(leaks)}
