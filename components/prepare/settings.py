"""Settings of the stage `prepare`: sources, suites, shares and bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.core.section import (
    Attacks,
    Commit,
    Fraction,
    Name,
    Positive,
    Rate,
    Section,
    Sha256,
    Temperature,
    Text,
    TopK,
    compiles,
)
from components.core.vocabulary import Role, Split
from components.prepare.result import Together

PromptField = Literal["text", "role", "topic", "licence", "answer", "thought", "response"]

# Licences that prompts may come under, by their SPDX identifiers (https://spdx.org/licenses). Check
# that another permits the use before you add it. For data without one, such as a company's own, a
# profile names `LicenseRef-<anything>`; describe that in data/README.md.
_ALLOWED = (
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "ISC", "MIT", "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0",
    "Unlicense",
)  # fmt: skip
LICENCES = rf"^(?:{'|'.join(map(re.escape, _ALLOWED))}|LicenseRef-[A-Za-z0-9][A-Za-z0-9.-]*)$"


def canonical_licence(name: str) -> str:
    """Return the identifier as SPDX spells it; an unknown one comes back stripped, unchanged."""
    spelled = {allowed.casefold(): allowed for allowed in _ALLOWED}
    return spelled.get(name.strip().casefold(), name.strip())


def columns_of(role: Role, columns: Mapping[PromptField, str]) -> dict[PromptField, str]:
    """Return the columns that a source of a role may name: answers and thoughts are those of
    reasoning problems alone."""
    graded = role is Role.REASONING
    return {f: name for f, name in columns.items() if graded or f not in ("answer", "thought")}


def _have_a_group(patterns: dict[PromptField, str]) -> dict[PromptField, str]:
    for field, pattern in patterns.items():
        try:
            groups = re.compile(compiles(pattern)).groups
        except ValueError as error:
            raise ValueError(f"pattern of {field!r}: {error}") from error
        if groups < 1:
            raise ValueError(f"pattern of {field!r} needs a group: {pattern!r}")
    return patterns


TOGETHER = (
    "what counts as one in intervals and tests: near-copies, or whole topics as well, which "
    "claims something of topics that were not asked"
)


class Origin(Section):
    """Where rows are, a hub data set at a commit or a local file, and how they become prompts."""

    path: Text | None = Field(None, description="local .jsonl, .csv or .parquet file")
    hub: Text | None = Field(None, description="hub data set, as owner/name")
    revision: Commit | None = Field(None, description="commit of the hub data set, 40 hex digits")
    subset: str | None = Field(None, description="configuration of the hub data set")
    hub_split: str = Field("train", description="split of the hub data set")
    columns: dict[PromptField, str] = Field(
        default_factory=dict,
        description="canonical field -> column of the rows; else the column of that name",
    )
    patterns: Annotated[dict[PromptField, str], AfterValidator(_have_a_group)] = Field(
        default_factory=dict,
        description="canonical field -> regular expression whose first group is its value",
    )
    drop: Annotated[str, AfterValidator(compiles)] | None = Field(
        None, description="regular expression removed from every text"
    )
    where: dict[str, str | int | bool] = Field(
        default_factory=dict, description="only rows whose column has this value"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of `path` and `hub`")
        if self.hub is None and (self.revision or self.subset):
            raise ValueError("`revision` and `subset` are of a hub data set; this is a file")
        return self


class Source(Origin):
    """One origin of prompts in a profile, and where its rows go."""

    name: Text = Field(description="short name, written with every row")
    licence: Text = Field(description="SPDX identifier of the source's licence")
    role: Role | None = Field(None, description="role of all rows; None: the column `role`")
    split: Split | Literal["auto"] = Field(
        "auto", description="where all rows go; auto: by topic into train/validation/test"
    )
    limit: Positive | None = Field(None, description="at most so many rows, drawn by `data_seed`")
    clusters: Together = Field("near-copies", description=TOGETHER)

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.hub is not None and self.revision is None:
            raise ValueError(
                f"source {self.name!r}: a hub data set needs `revision`, the commit to read"
            )
        return self


class SuiteUse(Section):
    """What a profile sets otherwise than the suite's file in data/suites does."""

    path: Text | None = Field(
        None, description="local .jsonl, .csv or .parquet file with the suite's columns"
    )
    sha256: Sha256 | None = Field(
        None, description="digest of the file `path`; another file is refused"
    )
    prompts: Positive | None = Field(None, description="at most so many, drawn by `data_seed`")
    samples: Positive | None = Field(None, description="completions a prompt")
    temperature: Temperature | None = Field(None, description="of the sampling; 0: greedy")
    top_p: Rate | None = Field(
        None, description="share of the next token's probability that is sampled from"
    )
    top_k: TopK | None = Field(
        None, description="so many of the likeliest tokens are sampled from; 0: all"
    )
    max_new_tokens: Positive | None = Field(None, description="tokens a completion")
    judge: Name | None = Field(None, description="`rules`, or one of evaluate.judges")
    attacks: Attacks | None = Field(
        None, description="attacks in which its prompts are asked beside those of evaluate.attacks"
    )

    @model_validator(mode="after")
    def _pin_of_a_file(self) -> Self:
        if self.sha256 is not None and self.path is None:
            raise ValueError("`sha256` is of the file that `path` names; give both, or neither")
        return self


class PrepareSettings(Section):
    """Settings of the stage `prepare`."""

    sources: tuple[Source, ...] = Field(min_length=1, description="where the prompts come from")
    suites: dict[Name, SuiteUse] = Field(
        default_factory=dict,
        description="suites of data/suites to evaluate on, with what is set otherwise here",
    )
    validation_share: Fraction = Field(0.15, description="share of topics for validation")
    test_share: Fraction = Field(0.3, description="share of topics for test, of auto sources")
    max_characters: Positive = Field(4000, description="longer prompts are quarantined")
    overlap_ngram: Positive = Field(
        8, description="words; a test prompt sharing such an n-gram with training is a leak"
    )
    min_rows: dict[Role, Positive] = Field(
        default_factory=lambda: {Role.HARMFUL: 20, Role.BENIGN: 20},
        description="fewest rows of a role in every split it needs; fewer stop the stage",
    )
    min_share: Fraction = Field(
        0.01, description="smallest share of the training rows for a role of `min_rows`"
    )
    max_quarantined: Fraction = Field(0.05, description="a larger share stops the stage")

    @model_validator(mode="after")
    def _sources_and_shares(self) -> Self:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"source names must differ; given twice: {', '.join(twice)}")
        taken = sorted(self.suites.keys() & {*names, *(role.value for role in Role)})
        if taken:
            raise ValueError(
                f"{taken[0]!r} is a suite and also a source or a role; rename the source, or "
                "remove it where the suite has its prompts"
            )
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share must leave something for training")
        return self
