"""Suites: named sets of test prompts, one YAML file each in data/suites, and no code.

A suite says where its prompts come from, what they measure, how often and how long a model may
answer, and who judges. A profile names those it is evaluated on under `prepare.suites`, and may
give a local file or other figures there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from components.core.documents import read_yaml
from components.core.errors import ConfigError
from components.core.extensions import check_name
from components.core.metric_names import SUITE_NAME
from components.core.section import (
    Attacks,
    Name,
    Positive,
    Sampling,
    Section,
    Sha256,
    Text,
    explain,
)
from components.core.vocabulary import Role, Split
from components.prepare.result import Together
from components.prepare.settings import TOGETHER, Origin, Source, SuiteUse

PAGE = "docs/suites.md"
OWN_GRADERS = ("mathematics", "choice")
Grader = Annotated[str, AfterValidator(partial(check_name, "graders", ours=OWN_GRADERS))]
Address = Annotated[str, StringConstraints(pattern=r"^https://\S+$")]


class SuiteOrigin(Origin):
    """Where the rows of a suite are, and where its file comes from."""

    url: Address | None = Field(None, description="where the file is published, https")
    sha256: Sha256 | None = Field(None, description="digest of the file; another file is refused")

    @model_validator(mode="after")
    def _of_a_file(self) -> Self:
        if self.path is None and (self.url or self.sha256):
            raise ValueError("`url` and `sha256` are of a file; a hub data set has its `revision`")
        return self


class Choice(Section):
    """The options of a multiple-choice question, which are shown in an order of the seed's."""

    options: tuple[Text, ...] = Field(
        min_length=2,
        max_length=10,
        description="columns of the options, in the order of their letters; a.b is the entry b "
        "of a column that holds a mapping",
    )
    answer: Text = Field(
        description="one of `options`, if it always holds the right one; else the column with the "
        "letter of the right one"
    )


class Suite(Sampling):
    """A named set of test prompts."""

    name: Name = Field(description="the file's name, not a key of the file")
    description: Text = Field(description="what the suite is, in a sentence")
    cite: Text = Field(description="the paper or page that it comes from")
    role: Role = Field(description="what its prompts are there to measure")
    licence: Text = Field(description="SPDX identifier of the prompts' licence")
    gated: bool = Field(False, description="the hub gives it only to who accepted its terms")
    source: SuiteOrigin
    choice: Choice | None = Field(None, description="None: the prompts are no multiple choice")
    instruction: str = Field("", description="what is put behind every prompt when it is asked")
    prompts: Positive | None = Field(None, description="so many, drawn by `data_seed`; None: all")
    max_new_tokens: Positive = Field(description="tokens a completion")
    judge: Name = Field(description="`rules`, or one of the profile's evaluate.judges")
    grader: Grader | None = Field(
        None, description="how an answer is compared with the reference; of reasoning alone"
    )
    attacks: Attacks = Field(
        (),
        description="attacks in which its prompts are asked beside those of evaluate.attacks; of "
        "harmful suites alone",
    )
    clusters: Together = Field("near-copies", description=TOGETHER)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.name in set(Role):
            raise ValueError(f"{self.name!r} is a role, whose prompts are the profile's own suite")
        if (self.role is Role.REASONING) != (self.grader is not None):
            raise ValueError("a reasoning suite needs a `grader`, and no other suite has one")
        if (self.choice is not None) != (self.grader == "choice"):
            raise ValueError("`choice` and `grader: choice` go together")
        if self.choice and {"answer", "role"} & (self.source.columns.keys()):
            raise ValueError("`choice` says where the answer is; remove it from `columns`")
        if self.attacks and self.role is not Role.HARMFUL:
            raise ValueError(
                f"attacks ({', '.join(self.attacks)}) are put to harmful prompts, and these are "
                f"{self.role}; remove `attacks`"
            )
        return self

    def rows(self) -> Source:
        """Return the suite as a source of test rows.

        Raises `ConfigError` for a hub data set without a commit: what it holds may change.
        """
        origin = self.source
        if origin.hub is not None and origin.revision is None:
            raise ConfigError(
                f"suite {self.name!r} is not pinned: the hub data set {origin.hub} has no commit; "
                f"`hf datasets info {origin.hub}` shows it as `sha`: write it as source.revision "
                f"of data/suites/{self.name}.yaml, or give a local file as "
                f"prepare.suites.{self.name}.path"
            )
        return Source(
            **origin.model_dump(exclude={"url", "sha256"}),
            name=self.name,
            licence=self.licence,
            role=self.role,
            split=Split.TEST,
            limit=self.prompts,
            clusters=self.clusters,
        )


def suites_in(folder: Path) -> list[str]:
    """Return the names of the suites in `folder`, in order."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_suite(path: Path) -> Suite:
    """Return the suite in the YAML file `path`.

    Raises `ConfigError` naming the file, the key, the value received and what is allowed.
    """
    document = read_yaml(path)
    if "name" in document:
        raise ConfigError(f"{path}: key 'name' is not allowed; the file's name is the suite's")
    return _valid({**document, "name": path.stem}, f"{path} is not a valid suite")


def used_suites(uses: Mapping[str, SuiteUse], folder: Path) -> dict[str, Suite]:
    """Return the suites that a profile names, by name, with what it sets otherwise.

    Raises `ConfigError` for a suite that `folder` does not hold, and where what is set otherwise
    does not fit.
    """
    return {name: _used(name, use, folder) for name, use in sorted(uses.items())}


def _used(name: str, use: SuiteUse, folder: Path) -> Suite:
    path = folder / f"{name}.yaml"
    if not SUITE_NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(suites_in(folder)) or "none"
        raise ConfigError(f"unknown suite {name!r}; {folder} holds: {known}")
    suite = load_suite(path)
    document = suite.model_dump() | use.model_dump(exclude={"path", "sha256"}, exclude_none=True)
    if use.temperature == 0:  # what the suite's file says of sampling is of a temperature above it
        file_only = {"top_p": 1, "top_k": 0}
        document |= {key: value for key, value in file_only.items() if getattr(use, key) is None}
    if use.path is not None:
        mapping = suite.source.model_dump(include={"columns", "patterns", "drop", "where"})
        document["source"] = mapping | {"path": use.path, "sha256": use.sha256}
    return _valid(document, f"prepare.suites.{name} does not fit {path}")


def _valid(document: dict[str, Any], complaint: str) -> Suite:
    try:
        return Suite.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{complaint}:\n{explain(error, page=PAGE)}") from error
