"""Drawn prompts: right split and role, by the seed, never none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.errors import DataError
from components.core.paths import PROMPTS
from components.core.storage import write_rows
from components.core.vocabulary import Prompt, Role, Split
from components.probe.sampling import draw_samples

COUNTS = {"probed": 5, "calibrated": 3, "checked": 100, "swept": 4}


def test_samples_are_of_their_split_and_role(random_prompts):
    samples = draw_samples(random_prompts, **COUNTS, seed=0)
    for drawn, split, size in (
        (samples.probed, Split.TRAIN, 5),
        (samples.calibrated, Split.TRAIN, 3),
        (samples.checked, Split.VALIDATION, 12),
        (samples.swept, Split.VALIDATION, 4),
    ):
        for role, rows in drawn.items():
            assert {(row.role, row.split) for row in rows} == {(role, split)}
            assert len({row.id for row in rows}) == size
    for role, rows in samples.swept.items():
        assert set(rows) < set(samples.checked[role])
    assert set(samples.probed) == {Role.HARMFUL, Role.BENIGN, Role.REASONING}


def test_contexts_are_ranked_on_the_check_and_on_look_alikes(tmp_path, random_prompts):
    samples = draw_samples(random_prompts, **{**COUNTS, "checked": 6}, seed=0)
    for role, rows in samples.checked.items():
        assert sorted(r.id for r in samples.contexts[role]) == sorted(r.id for r in rows)
        assert samples.contexts[role] != rows
    look_alikes = samples.contexts[Role.BORDERLINE]
    assert {(row.role, row.split) for row in look_alikes} == {(Role.BORDERLINE, Split.VALIDATION)}
    assert len(look_alikes) == 6
    rows = [row for row in random_prompts.rows() if row.role is not Role.BORDERLINE]
    write_rows(tmp_path / PROMPTS, rows, Prompt)
    without = draw_samples(random_prompts.model_copy().save(tmp_path), **COUNTS, seed=0)
    assert without.contexts[Role.BORDERLINE] == []


def test_the_seed_decides(random_prompts):
    first, again, other = (draw_samples(random_prompts, **COUNTS, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.probed != other.probed


@pytest.mark.parametrize(
    ("role", "split"), [(Role.REASONING, Split.TRAIN), (Role.BENIGN, Split.VALIDATION)]
)
def test_no_prompts_are_an_error_that_names_role_and_split(tmp_path, random_prompts, role, split):
    rows = [row for row in random_prompts.rows() if (row.role, row.split) != (role, split)]
    write_rows(tmp_path / PROMPTS, [replace(row) for row in rows], Prompt)
    without = random_prompts.model_copy().save(tmp_path)
    with pytest.raises(DataError, match=f"no {role} prompts in the split {split}"):
        draw_samples(without, **COUNTS, seed=0)
