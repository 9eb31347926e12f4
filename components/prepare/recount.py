"""The prepared prompts' figures, counted again from their tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from components.core.errors import EvidenceError
from components.core.paths import SUITE_MANIFEST
from components.core.result import mismatches
from components.prepare.leaks import leak_figures
from components.prepare.result import LeakFigure, SuiteSet, count_prompts, digest_prompts

_NAMED = 3  # mismatches that a message names


def recount_prompts(prompts: SuiteSet, *, ngram: int) -> None:
    """Raise `EvidenceError` naming what of the prepared prompts is not what their tables give.

    That are the digests, how many there are, and what the rows that are trained on hold of every
    suite; what was dropped on the way is in no table. `ngram` are the words of a run.
    """
    own, named = prompts.rows(), prompts.suite_rows()
    sizes = Counter(row.source for row in named)
    leaks = leak_figures([*own, *named], [], suites=prompts.suites, ngram=ngram)
    found = {
        "digest_of_prompts": digest_prompts(own),
        "digest_of_suites": digest_prompts(named) if prompts.suites else "",
        "counts": count_prompts([*own, *named]),
        "prompts of suites": {name: sizes[name] for name in prompts.suites},
        "leaks": _after_dropping(leaks),
    }
    stated = {
        "digest_of_prompts": prompts.digest_of_prompts,
        "digest_of_suites": prompts.digest_of_suites,
        "counts": prompts.counts,
        "prompts of suites": {name: spec.prompts for name, spec in prompts.suites.items()},
        "leaks": _after_dropping(prompts.leaks),
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
