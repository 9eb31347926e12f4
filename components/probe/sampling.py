"""Which prompts the diagnosis looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.errors import DataError
from components.core.vocabulary import Prompt, Role, Split
from components.prepare.result import PromptSet

PROBED = (Role.HARMFUL, Role.BENIGN, Role.REASONING)
CALIBRATED = (Role.HARMFUL, Role.REASONING)
CHECKED = (Role.HARMFUL, Role.BENIGN)

Rows = dict[Role, list[Prompt]]


@dataclass(frozen=True, slots=True)
class Samples:
    """The drawn prompts by role: for directions, for calibration, for the teachers' check, and
    those of the check on which pruning is swept and positions are read, and those that contexts are
    ranked on."""

    probed: Rows  # of the training split
    calibrated: Rows  # of the training split
    checked: Rows  # of the validation split
    swept: Rows  # some of `checked`
    contexts: Rows  # `checked` and as many look-alikes, where there are any, in random order


def draw_samples(
    prompts: PromptSet, *, probed: int, calibrated: int, checked: int, swept: int, seed: int
) -> Samples:
    """Return at most so many prompts of each role that a use needs, drawn by the seed.

    Raises `DataError` naming a role and split without prompts.
    """
    generator = np.random.default_rng(seed)

    def draw(split: Split, roles: Sequence[Role], count: int) -> Rows:
        return {role: _drawn(_rows(prompts, split, role), count, generator) for role in roles}

    own = (draw(Split.TRAIN, PROBED, probed), draw(Split.TRAIN, CALIBRATED, calibrated))
    check = draw(Split.VALIDATION, CHECKED, checked)
    fewer = {role: _drawn(rows, swept, generator) for role, rows in check.items()}
    alike = prompts.rows(split=Split.VALIDATION, role=Role.BORDERLINE)
    more = {**check, Role.BORDERLINE: _drawn(alike, checked, generator)}
    shuffled = {r: [o[i] for i in generator.permutation(len(o))] for r, o in more.items()}
    return Samples(*own, check, fewer, shuffled)


def _drawn(rows: Sequence[Prompt], count: int, generator: np.random.Generator) -> list[Prompt]:
    """Return `count` of the rows, or all where there are fewer, in their own order."""
    return [rows[i] for i in sorted(generator.permutation(len(rows))[:count].tolist())]


def _rows(prompts: PromptSet, split: Split, role: Role) -> list[Prompt]:
    rows = prompts.rows(split=split, role=role)
    if not rows:
        raise DataError(
            f"there are no {role} prompts in the split {split}, and the stage `probe` needs some; "
            "add a source with that role, or set prepare.validation_share so that the split gets "
            "a topic"
        )
    return rows
