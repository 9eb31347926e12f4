"""Which context before a prompt makes the post-trained model its own teacher.

A context is ranked by the share of the model's own harmful answers that it turns to refusals, less
the share of its harmless answers that it disturbs. The pool is cut by successive halving (Karnin et
al. 2013, ICML, PMLR 28:1238-1246): each round asks the better half twice as many prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from components.core.documents import read_yaml
from components.core.vocabulary import Outcome, Prompt, Role
from components.probe.answers import rate
from components.probe.result import ContextFigures
from components.probe.sampling import Rows

log = logging.getLogger(__name__)

# What the model does with prompts behind a context, or behind none; the label is for the log.
Ask = Callable[[Sequence[Prompt], str | None, str], Sequence[Outcome]]


@cache
def our_contexts() -> Mapping[str, str]:
    """Return the contexts that come with this package, by name."""
    return read_yaml(Path(__file__).with_suffix(".yaml"))


def rank_contexts(
    ask: Ask, pool: Mapping[str, str], rows: Rows, *, first: int
) -> tuple[ContextFigures, ...]:
    """Return the figures of all contexts of the `pool`, the best first.

    The first round asks `first` prompts of each role in `rows`, which are in random order; the last
    one asks all of them. Contexts of a later round stand before those that left earlier, equals in
    the order of the pool.
    """
    most = max(map(len, rows.values()))
    every = _slice(rows, 0, most)
    did = ask(every, None, "answers without a context")
    alone = {prompt.id: outcome for prompt, outcome in zip(every, did, strict=True)}
    done: dict[str, list[tuple[Prompt, Outcome]]] = {name: [] for name in pool}
    ranked: list[ContextFigures] = []
    names, start, stop, number = list(pool), 0, first, 1
    while names:
        prompts = _slice(rows, start, stop)
        for name in names:
            did = ask(prompts, pool[name], f"round {number} of contexts, {name}")
            done[name] += zip(prompts, did, strict=True)
        found = [_figures(name, pool[name], number, done[name], alone) for name in names]
        found.sort(key=lambda figures: -figures.score)
        kept = (len(found) + 1) // 2 if stop < most else 0
        ranked = [*found[kept:], *ranked]
        names = [figures.context for figures in found[:kept]]
        start, stop, number = stop, 2 * stop, number + 1
    log.info("context: %s, score %.2f", ranked[0].context, ranked[0].score)
    return tuple(ranked)


def _slice(rows: Rows, start: int, stop: int) -> list[Prompt]:
    return [row for own in rows.values() for row in own[start:stop]]


def _figures(
    name: str,
    text: str,
    number: int,
    done: Sequence[tuple[Prompt, Outcome]],
    alone: Mapping[str, Outcome],
) -> ContextFigures:
    """Return how a context changed what the model does `alone`, by prompt id."""
    harmful = [
        did is Outcome.REFUSED
        for prompt, did in done
        if prompt.role is Role.HARMFUL and alone[prompt.id] is not Outcome.REFUSED
    ]
    harmless = [
        did is not Outcome.COMPLIED
        for prompt, did in done
        if prompt.role is not Role.HARMFUL and alone[prompt.id] is Outcome.COMPLIED
    ]
    return ContextFigures(
        context=name,
        text=text,
        round=number,
        flipped=rate(sum(harmful), len(harmful)) if harmful else None,
        disturbed=rate(sum(harmless), len(harmless)) if harmless else None,
    )
