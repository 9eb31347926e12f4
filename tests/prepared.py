"""Prepared prompts as the stage `prepare` leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.core.paths import PROMPTS, TESTS
from components.core.storage import write_rows
from components.core.vocabulary import Prompt, Role, Split
from components.prepare.result import PromptSet, SuiteSet, digest_prompts


def trained_rows(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts that train and validate."""
    return [prompt for prompt in prompts if prompt.split is not Split.TEST]


def tested_rows(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the test prompts."""
    return [prompt for prompt in prompts if prompt.split is Split.TEST]


def save_prompts(folder: Path, prompts: Sequence[Prompt], **given: Any) -> SuiteSet:
    """Write the tables of a profile's own prompts and their manifests, with these fields."""
    trained, tests = trained_rows(prompts), tested_rows(prompts)
    write_rows(folder / PROMPTS, trained, Prompt)
    write_rows(folder / TESTS, tests, Prompt)
    fields = {
        "digest_of_prompts": digest_prompts(trained),
        "digest_of_tests": digest_prompts(tests),
        "sources": (),
        "counts": {},
        "expectations": 1,
        "overlap": {},
        **given,
    }
    PromptSet(**{name: fields[name] for name in PromptSet.model_fields}).save(folder)
    return SuiteSet(**fields).save(folder)


def of_role(prompts: Sequence[Prompt], role: Role) -> list[Prompt]:
    """Return the prompts of a role."""
    return [prompt for prompt in prompts if prompt.role is role]
