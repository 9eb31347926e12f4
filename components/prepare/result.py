"""Result of the stage `prepare`: the prompts, the suites, and their figures."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from components.core import paths
from components.core.errors import StageError
from components.core.result import RateFigure, Record, Result
from components.core.storage import digest_bytes, read_rows
from components.core.vocabulary import Prompt, Role, Split

# Marks a figure of a suite of which training held prompts, wherever people read it.
LEAK_MARK = "†"

LeakMeasure = Literal["run", "copy", "share"]
Together = Literal["near-copies", "topics"]

# What the Data Docs of the chain say in place of whose they are and of which day.
UNDATED = (
    "The profile and the day stand on the pages that safereact run writes, in "
    "artifacts/PROFILE/studies/data-docs."
)


class SourceCount(Record):
    """What became of one source's rows."""

    name: str
    licence: str
    digest: str  # SHA-256 of the local file, or the hub commit
    read: int
    kept: int
    quarantined: int


class LeakFigure(Record):
    """How many prompts of one suite are found in training, by one measure (see prepare/leaks.py).

    Both rates have 95 % intervals. Prompts too short for the measure are left out of n.
    """

    suite: str
    measure: LeakMeasure
    words: int | None  # of a run; None: whole texts are compared
    before: RateFigure  # as the sources came
    after: RateFigure  # as the adapter is trained
    prompts: tuple[str, ...]  # ids of at most five of those that are still found
    dropped: int  # training and validation rows that were dropped for repeating this suite


class ClusterFigure(Record):
    """How many of a suite's test prompts count as independent (see prepare/near_copies.py)."""

    suite: str
    prompts: int
    clusters: int
    largest: int  # prompts of the largest cluster


class SuiteSpec(Record):
    """A named suite as it was prepared: how its prompts are asked and judged, and what they are."""

    role: Role
    judge: str  # `rules`, or one of evaluate.judges
    grader: str | None  # of reasoning alone
    prompts: int  # in the table
    samples: int  # completions a prompt
    temperature: float  # 0: greedy
    top_p: float
    top_k: int = 0  # 0: all
    max_new_tokens: int
    instruction: str  # what is put behind every prompt when it is asked; "": nothing
    attacks: tuple[str, ...] = ()  # beside those of evaluate.attacks
    origin: str  # hub data set, or the file's name
    digest: str  # commit of the hub data set, or SHA-256 of the file
    licence: str
    gated: bool
    clusters: Together = "near-copies"  # what counts as one in intervals and tests


class PromptSet(Result):
    """The prepared prompts that train and validate. No test prompt leaves a trace on them but the
    rows that were dropped for repeating it, so more test prompts train nothing again."""

    FILE: ClassVar[str] = paths.MANIFEST

    digest_of_prompts: str = Field(description="SHA-256 of the table's content, file-format free")
    counts: dict[Split, dict[Role, int]]

    def rows(self, *, split: Split | None = None, role: Role | None = None) -> list[Prompt]:
        """Return the prompts of a split, which is not the test, and role in the table's order."""
        assert split is not Split.TEST, "test prompts are in a table of their own"
        rows = _read_prompts(self.folder / paths.PROMPTS)
        return [r for r in rows if split in (None, r.split) and role in (None, r.role)]


class SuiteSet(PromptSet):
    """All prepared prompts, for the stages that test: the profile's own test prompts and the named
    suites beside those that train."""

    FILE: ClassVar[str] = paths.SUITE_MANIFEST

    digest_of_tests: str = Field(description="SHA-256 of the own test prompts' table's content")
    sources: tuple[SourceCount, ...]
    expectations: int = Field(description="expectations checked, all of which held")
    overlap: dict[str, int] = Field(description="rows dropped from training as leaks, by source")
    leaks: tuple[LeakFigure, ...] = Field((), description="by suite and measure; none: not looked")
    clusters: tuple[ClusterFigure, ...] = Field(
        (), description="of the suites that have near-copies among their test prompts"
    )
    suites: dict[str, SuiteSpec] = Field(
        default_factory=dict, description="the named suites; their rows have the suite as source"
    )
    digest_of_suites: str = Field("", description="SHA-256 of their table's content; empty: none")

    @property
    def own_digest(self) -> str:
        """SHA-256 over the profile's own prompts, those that train and those that test."""
        return digest_bytes(f"{self.digest_of_prompts}\n{self.digest_of_tests}".encode())

    @property
    def digest(self) -> str:
        """SHA-256 over all that is asked: the own prompts', with the suites' and their settings
        where there are suites."""
        if not self.suites:
            return self.own_digest
        settings = self.model_dump_json(include={"suites"})
        return digest_bytes(f"{self.own_digest}\n{self.digest_of_suites}\n{settings}".encode())

    def own_test(self) -> list[Prompt]:
        """Return the profile's own test prompts in the table's order."""
        return _read_prompts(self.folder / paths.TESTS)

    def named_suites(self) -> dict[str, tuple[SuiteSpec, list[Prompt]]]:
        """Return the named suites in order, each with its prompts in the table's order."""
        rows = self.suite_rows()
        return {
            name: (self.suites[name], [row for row in rows if row.source == name])
            for name in sorted(self.suites)
        }

    def suite_rows(self) -> list[Prompt]:
        """Return the prompts of all named suites in the table's order."""
        return _read_prompts(self.folder / paths.SUITE_PROMPTS) if self.suites else []

    def every_test(self) -> list[Prompt]:
        """Return all test prompts: the profile's own, then those of the named suites."""
        named = (prompt for _, prompts in self.named_suites().values() for prompt in prompts)
        return [*self.own_test(), *named]


def _read_prompts(path: Path) -> list[Prompt]:
    try:
        return [
            Prompt(**{**row, "role": Role(row["role"]), "split": Split(row["split"])})
            for row in read_rows(path)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(
            f"{path} holds no prompts ({error!r:.200}); let the stage `prepare` run again"
        ) from error


def leak_notes(leaks: Iterable[LeakFigure]) -> dict[str, str]:
    """Return what was found of a suite in training and what was done, in a sentence, by suite in
    their order; a suite of which nothing was found is not there."""
    by_suite: dict[str, list[LeakFigure]] = {}
    for leak in leaks:
        by_suite.setdefault(leak.suite, []).append(leak)
    notes = {suite: "; ".join(_findings(figures)) for suite, figures in by_suite.items()}
    return {suite: f"{suite}: {note}." for suite, note in notes.items() if note}


def leak_mark(metric: str, marked: Collection[str]) -> str:
    """Return the mark of a metric, or of its suite; empty unless the suite is one of `marked`."""
    return LEAK_MARK if metric.partition(".")[0] in marked else ""


def leak_footnotes(marked: Mapping[str, str], metrics: Iterable[str]) -> list[str]:
    """Return what the mark means, a sentence for each marked suite of the `metrics`."""
    suites = {metric.partition(".")[0] for metric in metrics}
    return [f"{LEAK_MARK} {note}" for suite, note in marked.items() if suite in suites]


def _findings(figures: Sequence[LeakFigure]) -> Iterator[str]:
    """Yield what was found of one suite: repetition by the worse measure first, then wording."""
    repeated = [figure for figure in figures if figure.measure != "share"]
    worst = max(repeated, key=lambda one: (one.after.count, one.before.count), default=None)
    if worst and worst.before.count + worst.after.count + worst.dropped:
        before, after = worst.before, worst.after
        yield f"training as it came repeated {before.count} of {before.n} prompts"
        yield f"{worst.dropped} training rows were dropped for it"
        left = f"{after.count} of {after.n} prompts are" if after.count else "none is"
        yield f"{left} repeated in what was trained on"
    for figure in figures:
        if figure.measure == "share" and figure.before.count + figure.after.count:
            yield (
                f"{figure.before.count} of {figure.before.n} prompts shared much of their wording "
                f"with training as it came, {figure.after.count} with what was trained on"
            )


def suite_of(source: str, role: str, suites: Collection[str]) -> str:
    """Return the suite of a test row: its source where that is one of `suites`, else its role's."""
    return source if source in suites else role


def digest_prompts(prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 over the prompts in their order, one canonical JSON object a line."""
    digest = hashlib.sha256()
    names = sorted(field.name for field in fields(Prompt))
    for prompt in prompts:
        row = {name: getattr(prompt, name) for name in names}
        line = json.dumps(row, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def count_prompts(prompts: Sequence[Prompt]) -> dict[Split, dict[Role, int]]:
    """Return the number of prompts of every split and role."""
    found = Counter((prompt.split, prompt.role) for prompt in prompts)
    return {split: {role: found[split, role] for role in Role} for split in Split}
