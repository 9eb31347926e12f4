"""Evidence that is made up, and what hangs on it: prompts, models, adapter, rows, rules.

The first part makes one of each record; `make_evidence` takes its figures as they are given. The
second part makes what holds together: `save_evidence` counts every figure from made-up completions
to the prompts of `save_prompts`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from components.core.paths import ROWS, SUITE_PROMPTS, Workspace
from components.core.result import RateFigure
from components.core.storage import digest_bytes, digest_file, write_rows
from components.core.vocabulary import OWN_ARMS, Arm, Completion, Form, Outcome, Prompt, Role, Split
from components.evaluate.judging import judged_rows, with_second_verdicts
from components.evaluate.plan import EvaluationPlan, Written, test_plan
from components.evaluate.rates import count_figures
from components.evaluate.result import ChampionArm, CutFigure, Difference, Evidence
from components.evaluate.rows import Place, Row, write_judged
from components.evaluate.second import second_judges
from components.evaluate.settings import EvaluateSettings
from components.gate.result import Conclusion, RuleOutcome
from components.judges.calibration import LabelledCase, calibrate, read_cases
from components.judges.protocol import EVERY_ROLE, Case, Verdict
from components.judges.rules.judge import RulesJudge
from components.judges.settings import RULES
from components.lm.references import ModelRef, PromptContract
from components.models.result import Models
from components.prepare.leaks import leak_figures
from components.prepare.result import (
    LeakFigure,
    LeakMeasure,
    SourceCount,
    SuiteSet,
    SuiteSpec,
    count_prompts,
    digest_prompts,
)
from components.prepare.settings import PrepareSettings
from components.probe.result import TeacherFigures
from components.profile import Profile, load_profile
from components.train.result import Adapter
from tests import prepared
from tests.prepared import tested_rows, trained_rows
from tests.profiles import plain_profile
from tests.root import ROOT

NGRAM = PrepareSettings.model_fields["overlap_ngram"].default
TEST = 100  # test prompts a role, the fewest that the default policy decides on
COMPLIES = 95  # from this prompt of a hundred on, a safe model does what it is asked all the same
REFUSES, ANSWERS = "I'm sorry, I cannot help with that.", "Here is a short list of things to read."

CONTRACT = PromptContract(
    template="1" * 64, tokenizer="2" * 64, bos="<bos>", generation_prefix="<a>", opens_thought=False
)


# --- one of each: every field that is not given is made up ------------------------------------


def digest_of(name: str) -> str:
    """Return what stands for the digest of a checkpoint that is not there."""
    return (name * 64)[:64]


def model_ref(name: str, **changes: Any) -> ModelRef:
    """Return the description of a checkpoint that is not there."""
    made_up: dict[str, Any] = {
        "location": name,
        "where": "stage",
        "digest": digest_of(name),
        "architecture": "LlamaForCausalLM",
        "parameters": 1000,
        "layers": 3,
        "hidden": 32,
        "vocabulary": 64,
        "contract": CONTRACT,
    }
    return ModelRef(**made_up | changes)


def make_models(**changes: Any) -> Models:
    """Return a pair of checkpoints that are not there."""
    made_up: dict[str, Any] = {
        "base": model_ref("base"),
        "post_trained": model_ref("post-trained"),
        "lineage": "made up",
        "same_lineage": True,
    }
    return Models(**made_up | changes)


def rate(count: int, n: int = 300) -> RateFigure:
    """Return a rate with its 95 % interval."""
    return RateFigure.of(count, n, 0.95)


def make_difference(metric: str, gained: int, lost: int, n: int, **changes: Any) -> Difference:
    """Return a difference of restored and post-trained with a plausible interval."""
    found = (gained - lost) / n
    half = 0.03 if found else 0.004
    made_up: dict[str, Any] = {
        "arm": Arm.RESTORED,
        "against": Arm.POST_TRAINED,
        "metric": metric,
        "difference": found,
        "low": max(-1.0, found - half),
        "high": min(1.0, found + half),
        "n": n,
        "gained": gained,
        "lost": lost,
        "p_value": 0.0004 if found else 1.0,
    }
    return Difference.model_construct(**made_up | changes)


def make_row(
    prompt: str | int, answer: Outcome, thought: Outcome | None = None, /, **changes: Any
) -> Row:
    """Return the row of a base model's completion whose answer, and thought, had these outcomes."""
    role = changes.get("role", Role.HARMFUL)
    made_up: dict[str, Any] = {
        "suite": role.value,
        "arm": Arm.BASE,
        "form": Form.SERVED,
        "role": role,
        "topic": "t",
        "sample": 0,
        "thought": None if thought is None else "x",
        "answer": "x",
        "closed": True,
        "finished": True,
        "tokens": 1,
        "said_thought": None,
        "said_answer": "",
        "cut": False,
        "correct": None,
        "correct_strict": None,
    }
    return Row(
        prompt_id=str(prompt),
        outcome_thought=thought,
        outcome_answer=answer,
        **made_up | changes,
    )


def make_rule(rule: str, metric: str = "evidence", **changes: Any) -> RuleOutcome:
    """Return the outcome of a rule, or of a check of the evidence, that passed."""
    made_up: dict[str, Any] = {
        "arm": Arm.RESTORED,
        "against": None,
        "figure": None,
        "bound": None,
        "threshold": None,
        "n": 0,
        "conclusion": Conclusion.PASS,
        "why": f"{rule} holds",
    }
    return RuleOutcome(rule=rule, metric=metric, **made_up | changes)


def make_evidence(adapter: Adapter, **changes: Any) -> Evidence:
    """Return evidence of an adapter of the made-up pair, without any figure."""
    roles = changes.get("roles", {role.value: role for role in Role})
    arms = tuple(changes.get("rates", OWN_ARMS))
    made_up: dict[str, Any] = {
        "adapter": adapter.digest,
        "baseline": adapter.baseline_digest,
        "models": {
            arm: digest_of("base") if arm is Arm.BASE else adapter.base_model for arm in OWN_ARMS
        },
        "data": OWN,
        "test_prompts": "7" * 64,
        "contract": adapter.contract,
        "roles": roles,
        "judges": dict.fromkeys(roles, "rules:3333"),
        "calibrations": (),
        "cut": {suite: dict.fromkeys(arms, CutFigure(count=0, n=1)) for suite in roles},
        "usage": {},
        "rows": "0" * 64,
        "engine": "transformers",
        "confidence": 0.95,
        "rates": {},
        "differences": (),
        "lengths": (),
    }
    return Evidence(**made_up | changes)


def partial_evidence(**fields: Any) -> Evidence:
    """Return evidence of which only these fields are looked at."""
    made_up = {"rates": {}, "roles": {}, "differences": (), "confidence": 0.95, "champion": None}
    return Evidence.model_construct(**made_up | fields)


def no_leaks(suites: Iterable[str]) -> tuple[LeakFigure, ...]:
    """Return the leak figures of suites of 300 prompts none of which training repeats."""
    none = RateFigure(rate=0, low=0, high=0.013, count=0, n=300)
    return tuple(
        LeakFigure(
            suite=suite, measure=measure, words=8, before=none, after=none, prompts=(), dropped=0
        )
        for suite in suites
        for measure in ("run", "copy")
    )


def leak(
    suite: str, measure: LeakMeasure, before: int = 0, after: int = 0, *, dropped: int = 0
) -> LeakFigure:
    """Return what training held of a suite of 300 prompts, before and after rows were dropped."""
    return LeakFigure(
        suite=suite,
        measure=measure,
        words={"run": 8, "copy": None, "share": 5}[measure],
        before=RateFigure.of(before, 300, 0.95),
        after=RateFigure.of(after, 300, 0.95),
        prompts=(),
        dropped=dropped,
    )


def suite_spec(role: Role, **changes: Any) -> SuiteSpec:
    """Return a named suite as it was prepared, judged by the rules."""
    settings: dict[str, Any] = {
        "role": role,
        "judge": "rules",
        "grader": None,
        "prompts": 100,
        "samples": 1,
        "temperature": 0,
        "top_p": 1,
        "max_new_tokens": 64,
        "instruction": "",
        "origin": "a file",
        "digest": "0" * 64,
        "licence": "MIT",
        "gated": False,
    }
    return SuiteSpec(**settings | changes)


def teacher_figures(
    kind: str, *, refused: float = 0.0, passed: bool = True, reason: str = "", n: int = 12
) -> TeacherFigures:
    """Return the check of one candidate teacher, whose answers are all language."""
    return TeacherFigures(
        teacher=kind,
        harmful_refused=rate(round(refused * n), n),
        benign_refused=rate(0, n),
        coherent=rate(2 * n, 2 * n),
        shortfall=0.0 if passed else 0.1,
        passed=passed,
        reason=reason,
    )


def make_adapter(**changes: Any) -> Adapter:
    """Return what a training of the made-up pair says of its adapter."""
    made_up: dict[str, Any] = {
        "digest": "e" * 64,
        "baseline_digest": "6" * 64,
        "base_model": digest_of("post-trained"),
        "contract": CONTRACT,
        "data": DATA,
        "teacher": "base",
        "target_layers": (2, 3),
        "adapted_layers": 3,
        "parameters": 4,
        "steps": 10,
        "tokens": 9,
        "baseline_tokens": 901,
        "harmful_rows": 5,
        "teacher_refused": 5,
        "teacher_prompts": 11,
        "retain_rows": 6,
        "losses": {"alignment": (2.0, 1.0), "retention": (1.0, 1.0)},
    }
    return Adapter(**made_up | changes)


def save_adapter(
    folder: Path, digests: tuple[str, str], model: ModelRef, **changes: Any
) -> Adapter:
    """Save what a training of `model` says of an adapter and a baseline with these digests."""
    own = dict(zip(("digest", "baseline_digest"), digests, strict=True))
    return make_adapter(**own, base_model=model.digest, contract=model.contract, **changes).save(
        folder
    )


# --- what holds together: figures counted from completions ------------------------------------


@cache
def made_up_prompts() -> tuple[Prompt, ...]:
    """Return a table of two training and `TEST` test prompts a role, no two alike."""
    rows = [
        Prompt(
            id=f"{index:03d}{role.value}"[:16],
            text=f"Placeholder{index} of{index} {role.value}{index} number {index}{split.value}.",
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


TESTS = digest_prompts(tested_rows(made_up_prompts()))
DATA = digest_prompts(trained_rows(made_up_prompts()))
OWN = digest_bytes(f"{DATA}\n{TESTS}".encode())


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
    own = prepared.save_prompts(
        folder,
        prompts,
        sources=(source,),
        counts=count_prompts(prompts),
        expectations=9,
        leaks=leaks_of_made_up(),
    )
    if not suites:
        return own
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
    return load_profile(file) if file.is_file() else plain_profile()


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
    arms = (*OWN_ARMS, *((Arm.CHAMPION,) if champion and champion.measured else ()))
    plan = test_plan(section, prompts, profile.data_seed)
    judges, others = (
        {one.suite: judge_of(section, one.judge, labelled) for one in each.suites}
        for each in (plan, plan.second)
    )
    key = (section.model_dump_json(), prompts.digest, profile.data_seed, arms, refused)
    if key not in _COUNTED:
        rows = {
            arm: with_second_verdicts(
                _rows(arm, plan, judges, refused), _rows(arm, plan, others, refused)
            )
            for arm in arms
        }
        counted = count_figures(rows, plan.roles, confidence=section.confidence)
        names = {suite: judge.name for suite, judge in others.items()}
        settings = plan.second.judge_settings(section)
        counted["second"] = second_judges(
            rows, plan.second.roles, names, settings, section.confidence
        )
        every = {judge.name: judge for judge in (*judges.values(), *others.values())}
        _COUNTED[key] = rows, counted, _calibrated(every, labelled, section.confidence)
    rows, counted, calibrations = _COUNTED[key]
    write_judged(folder / ROWS, [row for own in rows.values() for row in own])
    about = {
        "models": {arm: digest_of("base" if arm is Arm.BASE else "post-trained") for arm in arms},
        "data": prompts.digest,
        "test_prompts": plan.digest,
        "roles": plan.roles,
        "judges": {suite: judge.name for suite, judge in judges.items()},
        "judge_settings": plan.judge_settings(section),
        "calibrations": calibrations,
        "rows": digest_file(folder / ROWS),
        "confidence": section.confidence,
    }
    return make_evidence(adapter, **about | counted | told).save(folder)


_COUNTED: dict[Any, Any] = {}


def labelled_cases(workspace: Workspace, section: EvaluateSettings) -> list[LabelledCase]:
    """Return the labelled cases of a workspace, which are this repository's."""
    cases = workspace.root / section.calibration
    if not cases.is_file():
        cases.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / section.calibration, cases)
    return read_cases(cases)


def _calibrated(judges: Mapping[str, Any], labelled: Sequence[LabelledCase], confidence: float):
    return tuple(calibrate(one, labelled, confidence=confidence) for one in judges.values())


def _rows(arm: Arm, plan: EvaluationPlan, judges: Mapping[str, Any], refused: int) -> list[Row]:
    """Return what an arm wrote: the restored one refuses, the others answer whatever is asked."""
    completions = {
        Place(suite.suite, form, prompt.id, sample): _written(arm, prompt, number, refused)
        for suite in plan.suites
        for form, prompts in suite.forms(forced_thought=plan.forced_thought)
        for number, prompt in enumerate(prompts)
        for sample in range(suite.samples)
    }
    written = Written(arm, plan.places(opens_thought=False), completions)
    return [row for suite, judge in judges.items() for row in judged_rows(written, judge, (suite,))]


def _written(arm: Arm, prompt: Prompt, place: int, refused: int) -> Completion:
    safe = arm in (Arm.RESTORED, Arm.CHAMPION, Arm.BASE)
    text = f"The answer is {prompt.answer}." if prompt.answer else ANSWERS
    if safe and prompt.role is Role.HARMFUL and place % 100 < COMPLIES:
        text = REFUSES if place % 100 < refused else "?"
    return Completion(prompt.id, None, text, finished=True, tokens=9)
