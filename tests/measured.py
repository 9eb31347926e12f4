"""Prompts and evidence that hold together: every figure is counted from made-up completions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from components.core.paths import PROMPTS, ROWS, SUITE_PROMPTS, Workspace
from components.core.storage import digest_file, write_rows
from components.core.vocabulary import OWN_ARMS, Arm, Completion, Outcome, Prompt, Role, Split
from components.evaluate.asking import Answer, Exam, test_exam
from components.evaluate.figures import count_figures
from components.evaluate.judging import judged_rows
from components.evaluate.result import ChampionArm, Evidence
from components.evaluate.rows import Row, write_judged
from components.evaluate.settings import EvaluateSettings
from components.judges.calibration import LabelledCase, calibrate, read_cases
from components.judges.protocol import EVERY_ROLE, Case, Verdict
from components.judges.rules.judge import RulesJudge
from components.judges.settings import RULES
from components.prepare.leaks import leak_figures
from components.prepare.result import (
    LeakFigure,
    PromptSet,
    SourceCount,
    SuiteSet,
    SuiteSpec,
    count_prompts,
    digest_prompts,
)
from components.prepare.settings import PrepareSettings
from components.profile import Profile, load_profile
from components.train.result import Adapter
from tests.root import ROOT

NGRAM = PrepareSettings.model_fields["overlap_ngram"].default
TEST = 100  # test prompts a role, the fewest that the default policy decides on
COMPLIES = 95  # from this prompt of a hundred on, a safe model does what it is asked all the same
REFUSES, ANSWERS = "I'm sorry, I cannot help with that.", "Here is a short list of things to read."


@cache
def made_up_prompts() -> tuple[Prompt, ...]:
    """Return a table of two training and `TEST` test prompts a role, no two alike."""
    rows = [
        Prompt(
            id=f"{index:03d}{role.value}"[:16],
            text=f"Placeholder {role.value} request number {index}{split.value}.",
            role=role,
            topic=f"topic {index % 7}",
            source="own",
            licence="Apache-2.0",
            split=split,
            answer=str(index) if role is Role.REASONING else None,
        )
        for split, indices in ((Split.TEST, range(TEST)), (Split.TRAIN, range(TEST, TEST + 2)))
        for role in Role
        for index in indices
    ]
    return tuple(sorted(rows, key=lambda prompt: (prompt.split, prompt.role, prompt.id)))


DATA = digest_prompts(made_up_prompts())


@cache
def leaks_of_made_up() -> tuple[LeakFigure, ...]:
    """Return what training holds of the made-up table: nothing."""
    return leak_figures(
        list(made_up_prompts()),
        [],
        suites=(),
        ngram=PrepareSettings.model_fields["overlap_ngram"].default,
    )


def save_prompts(folder: Path, suites: Mapping[str, SuiteSpec] | None = None) -> SuiteSet:
    """Save the made-up table and its manifests, and `suites` of as many prompts as a role has."""
    prompts = made_up_prompts()
    source = SourceCount(
        name="own", licence="Apache-2.0", digest="5" * 64, read=9, kept=8, quarantined=1
    )
    own = PromptSet(
        digest_of_prompts=DATA,
        sources=(source,),
        counts=count_prompts(prompts),
        expectations=9,
        overlap={},
        leaks=leaks_of_made_up(),
    ).save(folder)
    write_rows(folder / PROMPTS, prompts, Prompt)
    if not suites:
        return SuiteSet(**dict(own)).save(folder)
    named = [
        replace(prompt, id=f"{name[:12]}{place:03d}", source=name, text=f"{prompt.text} {name}")
        for name, spec in suites.items()
        for place, prompt in enumerate(own.own_test())
        if prompt.role is spec.role
    ]
    write_rows(folder / SUITE_PROMPTS, named, Prompt)
    both = {
        "counts": count_prompts([*prompts, *named]),
        "leaks": leak_figures([*prompts, *named], [], suites=suites, ngram=NGRAM),
        "suites": suites,
        "digest_of_suites": digest_prompts(named),
    }
    return SuiteSet(**{**dict(own), **both}).save(folder)


def profile_of(workspace: Workspace) -> Profile:
    """Return the profile of a workspace, or the tiny pair's where it has none."""
    file = workspace.profile_file
    return load_profile(file if file.is_file() else ROOT / "profiles" / "tiny.yaml")


class Reader:
    """A judge of any name, who knows the two answers that are made up here, and the labels."""

    roles, usage, place = EVERY_ROLE, None, ""

    def __init__(self, name: str, labelled: Sequence[LabelledCase]) -> None:
        self.name = name
        self._labels = {known.case: known.outcome for known in labelled}

    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the rulings."""
        made_up = Outcome.REFUSED, Outcome.COMPLIED
        found = {case: self._labels.get(case, made_up[case.text != REFUSES]) for case in cases}
        yield {case: Verdict(outcome, outcome) for case, outcome in found.items()}


def judge_of(section: EvaluateSettings, called: str, labelled: Sequence[LabelledCase]) -> Any:
    """Return the judge that a profile calls so: the rules, or one that stands in for a guard."""
    if called == RULES:
        return RulesJudge(section.rules.refusal_patterns, section.rules.compliance_pattern)
    return Reader(f"{section.judges[called].kind}:{'5' * 64}", labelled)


def save_evidence(
    workspace: Workspace, folder: Path, adapter: Adapter, *, refused: int, **told: Any
) -> Evidence:
    """Save evidence of a restored model that refuses `refused` in a hundred harmful prompts, with
    the rows that it is counted from; `told` is what rows do not say."""
    profile = profile_of(workspace)
    section = profile.evaluate
    prompts = SuiteSet.load(workspace.stage("prepare"))
    labelled = labelled_cases(workspace, section)
    champion: ChampionArm | None = told.get("champion")
    arms = (*OWN_ARMS, *((Arm.CHAMPION,) if champion and champion.asked else ()))
    exam = test_exam(section, prompts, profile.seed)
    judges = {q.suite: judge_of(section, q.judge, labelled) for q in exam.suites}
    key = (section.model_dump_json(), prompts.digest, profile.seed, arms, refused)
    if key not in _COUNTED:
        rows = {arm: _rows(arm, exam, judges, refused) for arm in arms}
        counted = count_figures(rows, exam.roles, confidence=section.confidence, seed=profile.seed)
        _COUNTED[key] = rows, counted, _calibrated(judges, labelled, section.confidence)
    rows, counted, calibrations = _COUNTED[key]
    write_judged(folder / ROWS, [row for own in rows.values() for row in own])
    about = {
        "models": {arm: digest_of("base" if arm is Arm.BASE else "post-trained") for arm in arms},
        "engine": "transformers",
        "contract": adapter.contract,
        "data": prompts.digest,
    }
    return Evidence(
        adapter=adapter.digest,
        baseline=adapter.baseline_digest,
        test_prompts=exam.digest,
        roles=exam.roles,
        judges={suite: judge.name for suite, judge in judges.items()},
        judge_settings=exam.judge_settings(section),
        calibrations=calibrations,
        usage={},
        rows=digest_file(folder / ROWS),
        confidence=section.confidence,
        **counted,
        **{**about, **told},
    ).save(folder)


_COUNTED: dict[Any, Any] = {}


def digest_of(name: str) -> str:
    """Return what stands for the digest of a checkpoint that is not there."""
    return (name * 64)[:64]


def labelled_cases(workspace: Workspace, section: EvaluateSettings) -> list[LabelledCase]:
    """Return the labelled cases of a workspace, which are this repository's."""
    cases = workspace.root / section.calibration
    if not cases.is_file():
        cases.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / section.calibration, cases)
    return read_cases(cases)


def _calibrated(judges: Mapping[str, Any], labelled: Sequence[LabelledCase], confidence: float):
    tried = {judge.name: judge for judge in judges.values()}.values()
    return tuple(calibrate(judge, labelled, confidence=confidence) for judge in tried)


def _rows(arm: Arm, exam: Exam, judges: Mapping[str, Any], refused: int) -> list[Row]:
    """Return what an arm wrote: the restored one refuses, the others answer whatever is asked."""
    return [
        row
        for questions in exam.suites
        for row in judged_rows(
            arm,
            [
                Answer(prompt, questions, form, sample, _written(arm, prompt, place, refused))
                for form, prompts in questions.put_as(forced_thought=exam.forced_thought)
                for place, prompt in enumerate(prompts)
                for sample in range(questions.samples)
            ],
            judges[questions.suite],
        )
    ]


def _written(arm: Arm, prompt: Prompt, place: int, refused: int) -> Completion:
    safe = arm in (Arm.RESTORED, Arm.CHAMPION, Arm.BASE)
    text = f"The answer is {prompt.answer}." if prompt.answer else ANSWERS
    if safe and prompt.role is Role.HARMFUL and place % 100 < COMPLIES:
        text = REFUSES if place % 100 < refused else "?"
    return Completion(prompt.id, None, text, finished=True, tokens=9)
