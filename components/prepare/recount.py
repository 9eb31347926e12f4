"""The prepared prompts' figures, counted again from their tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from components.core.errors import EvidenceError
from components.core.mismatches import mismatches
from components.core.paths import SUITE_MANIFEST
from components.core.vocabulary import Prompt
from components.prepare.leaks import leak_figures
from components.prepare.result import LeakFigure, SuiteSet, count_prompts, digest_prompts
from components.prepare.sources import Candidate

_NAMED = 3  # mismatches that a message names


def recount_prompts(prompts: SuiteSet, *, ngram: int) -> None:
    """Raise `EvidenceError` naming what of the prepared prompts is not what their tables give.

    That are the digests, how many there are, and what the rows that are trained on hold of every
    suite; what was dropped on the way is in no table. `ngram` are the words of a run.
    """
    own, named = prompts.rows(), prompts.suite_rows()
    rows = [candidate(prompt) for prompt in (*own, *named)]
    leaks = leak_figures(rows, [], suites=prompts.suites, ngram=ngram)
    found: dict[str, Any] = {
        "digest_of_prompts": digest_prompts(own),
        "digest_of_suites": digest_prompts(named) if prompts.suites else "",
        "counts": count_prompts([*own, *named]),
        "prompts of suites": {
            name: sum(row.source == name for row in named) for name in prompts.suites
        },
        "leaks": _leaks(leaks),
    }
    stated = {
        "digest_of_prompts": prompts.digest_of_prompts,
        "digest_of_suites": prompts.digest_of_suites,
        "counts": prompts.counts,
        "prompts of suites": {name: spec.prompts for name, spec in prompts.suites.items()},
        "leaks": _leaks(prompts.leaks),
    }
    if told := list(mismatches(stated, found)):
        raise EvidenceError(
            f"{prompts.folder / SUITE_MANIFEST}: {'; '.join(told[:_NAMED])}. It does not follow "
            f"from its tables: remove {prompts.folder} and prepare again with `safereact run`"
        )


def _leaks(figures: Collection[LeakFigure]) -> Mapping[str, Any]:
    kept = {
        f"{figure.suite} {figure.measure}": {
            "words": figure.words,
            "after": figure.after,
            "prompts": figure.prompts,
        }
        for figure in figures
    }
    return {**kept, "figures": len(figures)}


def candidate(prompt: Prompt) -> Candidate:
    """Return a prompt of the table as the row of a source that it was."""
    return Candidate(
        id=prompt.id,
        text=prompt.text,
        role=prompt.role,
        topic=prompt.topic,
        source=prompt.source,
        licence=prompt.licence,
        answer=prompt.answer,
        thought=prompt.thought,
        response=prompt.response,
        row=0,
        split=prompt.split,
    )
