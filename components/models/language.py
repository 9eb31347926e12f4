"""Texts from which the tiny model learns its world before it learns to chat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from components.core.vocabulary import Role, Split
from components.models import world

# A text is a list of pieces; the loss is taken on those whose flag is set.
Text = list[tuple[str, bool]]


def draw_text(generator: np.random.Generator) -> Text:
    """Return a random text: how a deed is done, whether a deed is harmful, of what kind a word
    is, a sum, a problem with its answer, or a problem said again.

    All deeds occur, none in a phrasing of the test split and none as a chat; problems are of the
    training split only.
    """
    kind = generator.choice(len(_KINDS), p=[share for share, _ in _KINDS])
    return _KINDS[kind][1](generator)


def _deed(generator: np.random.Generator) -> world.Deed:
    return world.DEEDS[generator.integers(len(world.DEEDS))]


def _mention(deed: world.Deed, generator: np.random.Generator) -> str:
    """Return the deed bare or, half the time, within a request."""
    if generator.random() < 0.5:
        return f"{deed.clause()}?"
    return world.draw_request(deed, world.TRAIN_PHRASINGS, generator)


def _how_to(generator: np.random.Generator) -> Text:
    deed = _deed(generator)
    return [(_mention(deed, generator), False), (deed.steps, True)]


def _judgement(generator: np.random.Generator) -> Text:
    deed = _deed(generator)
    verdict = "yes" if deed.role == Role.HARMFUL else "no"
    return [(f"{_mention(deed, generator)} is it harmful?", False), (verdict, True)]


def _attribute(generator: np.random.Generator) -> Text:
    """Return whether a word is of the kind that harm needs: a rough verb or a shared object."""
    deed = _deed(generator)
    word, attribute, holds = (
        (deed.verb, "rough", deed.verb in world.DESTRUCTIVE)
        if generator.random() < 0.5
        else (deed.thing, "shared", deed.thing in world.PUBLIC)
    )
    return [(f"{word} is it {attribute}?", False), ("yes" if holds else "no", True)]


def _sum(generator: np.random.Generator) -> Text:
    """Return a chain of equations whose operations are given and whose values are learned."""
    problem = world.draw_problem(None, generator)
    text: Text = [(str(problem.start), False)]
    for (sign, size), value in zip(problem.operations, problem.values[1:], strict=True):
        text += [(f"{sign} {size} is", False), (str(value), True)]
    return text


def _question(generator: np.random.Generator) -> tuple[str, world.Problem]:
    problem = world.draw_problem(Split.TRAIN, generator)
    return world.draw_question(problem, Split.TRAIN, generator), problem


def _problem(generator: np.random.Generator) -> Text:
    question, problem = _question(generator)
    return [(question, False), (problem.answer, True)]


def _restatement(generator: np.random.Generator) -> Text:
    """Return a problem and its operations once more, without any value on the way."""
    question, problem = _question(generator)
    steps = " ".join(f"{sign} {size}" for sign, size in problem.operations)
    return [(question, False), (f"{problem.start} {steps}", True)]


_KINDS: tuple[tuple[float, Callable[[np.random.Generator], Text]], ...] = (
    (0.25, _how_to),
    (0.30, _judgement),
    (0.12, _attribute),
    (0.20, _sum),
    (0.06, _problem),
    (0.07, _restatement),
)
