"""The prompts of a diagnosis: files of the user's and everyday ones, or a profile's validation
split. Test prompts are left for the evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import ConfigError, DataError
from components.core.fingerprints import ROOT
from components.core.paths import EMBEDDED
from components.core.storage import digest_file
from components.core.vocabulary import Prompt, Role, Split
from components.evaluate.plan import NEEDED, EvaluationPlan, draw
from components.evaluate.settings import EvaluateSettings
from components.prepare.result import PromptSet, SourceCount
from components.prepare.settings import PrepareSettings, PromptField, Source, columns_of
from components.prepare.sources import as_prompts, read_source
from components.prepare.splits import fill_topics
from components.prepare.validation import refuse_too_many, separate

# What comes with the repository; harmful prompts do not.
EVERYDAY = {
    Role.BENIGN: "benign.jsonl",
    Role.BORDERLINE: "look_alikes_validation.jsonl",
    Role.REASONING: "arithmetic_validation.jsonl",
}
_MOST_CHARACTERS = PrepareSettings.model_fields["max_characters"].default


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompts to draw from, what they are in words, and what became of files' rows."""

    prompts: list[Prompt]
    words: str
    sources: tuple[SourceCount, ...] = ()


def read_prompts(
    files: Mapping[Role, Path], columns: Mapping[PromptField, str], licence: str
) -> Asked:
    """Return the prompts in the `files`, with everyday ones of the roles that these lack.

    Rows that the stage `prepare` would set aside are left out. Raises `ConfigError` without harmful
    prompts, and `DataError` for a file that cannot be read and one of which no row is left.
    """
    if Role.HARMFUL not in files:
        raise ConfigError(
            "--harmful FILE is missing: this repository has no harmful prompts. Give a .jsonl, "
            ".csv or .parquet file with a column `text`, or --profile NAME to take a profile's "
            "pair and prompts, such as --profile tiny"
        )
    sources = _sources(files, columns, licence)
    rows = [row for source in sources for row in read_source(source, 0)]
    separation = separate(rows, max_characters=_MOST_CHARACTERS)
    refuse_too_many(separation, max_share=1)
    read, kept = (Counter(row.source for row in part) for part in (rows, separation.passed))
    counts = [
        SourceCount(
            name=source.name,
            licence=source.licence,
            digest=digest_file(Path(source.path or "")),
            read=read[source.name],
            kept=kept[source.name],
            quarantined=read[source.name] - kept[source.name],
        )
        for source in sources
    ]
    return Asked(as_prompts(fill_topics(separation.passed)), "prompts from files", tuple(counts))


def _sources(
    files: Mapping[Role, Path], columns: Mapping[PromptField, str], licence: str
) -> list[Source]:
    everyday = {role: ROOT / EMBEDDED / "everyday" / name for role, name in EVERYDAY.items()}
    if Role.BENIGN not in files and not everyday[Role.BENIGN].is_file():
        raise ConfigError(
            "--benign FILE is missing, and the everyday prompts of the repository are not "
            f"installed ({everyday[Role.BENIGN].parent} is not there); give a file of them"
        )
    given = [
        Source(
            name=role.value,
            path=str(path),
            licence=licence,
            role=role,
            split=Split.VALIDATION,
            columns=columns_of(role, columns),
        )
        for role, path in files.items()
    ]
    ours = [
        Source(
            name=f"everyday {role}",
            path=str(path),
            licence="Apache-2.0",
            role=role,
            split=Split.VALIDATION,
        )
        for role, path in everyday.items()
        if role not in files and path.is_file()
    ]
    return [*given, *ours]


def validation_prompts(prompts: PromptSet, profile: str) -> Asked:
    """Return the prompts of a profile's validation split."""
    words = f"validation prompts of the profile {profile}; its test prompts were not looked at"
    return Asked(prompts.rows(split=Split.VALIDATION), words)


def diagnosis_plan(section: EvaluateSettings, asked: Asked, seed: int) -> EvaluationPlan:
    """Return what both models are asked: at most `section.prompts` of each role, drawn by the seed.

    Raises `DataError` where there are no harmful or no benign prompts.
    """
    drawn: list[Prompt] = []
    for role in Role:
        own = [prompt for prompt in asked.prompts if prompt.role is role]
        chosen = draw(own, section.prompts.get(role, 0), key=f"{seed} {role}")
        if not chosen and role in NEEDED:
            raise DataError(
                f"there are no {role} prompts among the {asked.words}; add a source of them, or "
                "set prepare.validation_share so that the split gets a topic"
            )
        drawn += chosen
    return EvaluationPlan.of(
        section,
        drawn,
        seed=seed,
        forced_thought=section.forced_thought,
        attacks=section.attacks,
    )
