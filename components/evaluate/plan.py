"""The evaluation plan: the suites of test prompts that every arm is asked, and in which forms."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from components.core.errors import ConfigError, EvidenceError
from components.core.section import Sampling
from components.core.storage import digest_bytes
from components.core.vocabulary import PLAIN_FORMS, AnyArm, Completion, Form, Prompt, Role
from components.evaluate.rows import Place
from components.evaluate.settings import EvaluateSettings
from components.judges.opening import check_judge, digest_of_judge
from components.prepare.result import SuiteSet, SuiteSpec

log = logging.getLogger(__name__)

NEEDED = (Role.HARMFUL, Role.BENIGN)
_SAMPLING = tuple(Sampling.model_fields)
# What a named suite says of itself beside its prompts and its attacks.
_OF_SUITES = ("role", "judge", "max_new_tokens", "instruction", "grader", *_SAMPLING)


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """One suite's prompts, and how their completions are written, judged and graded."""

    suite: str
    role: Role
    prompts: Sequence[Prompt]
    judge: str  # its name in the profile
    max_new_tokens: int
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    instruction: str = ""  # behind every prompt; "": nothing
    grader: str | None = None
    attacks: tuple[str, ...] = ()
    attacked: Sequence[Prompt] = ()  # the prompts that attacks are tried on
    second_judge: str | None = None  # of the same completions; None: nobody

    def forms(self, *, forced_thought: bool) -> list[tuple[str, Sequence[Prompt]]]:
        """Return the forms in which the prompts are put, each with its prompts."""
        plain = PLAIN_FORMS if forced_thought else (Form.SERVED,)
        return [
            *((form, self.prompts) for form in plain),
            *((form, self.attacked) for form in self.attacks),
        ]

    def worded(self, text: str) -> str:
        """Return a prompt's text with the suite's instruction."""
        return f"{text}\n\n{self.instruction}" if self.instruction else text


Places = Mapping[Place, tuple[SuitePlan, Prompt]]


@dataclass(frozen=True, slots=True)
class Written:
    """The completions that one arm owed, in order, and what it wrote."""

    arm: AnyArm
    places: Places
    completions: Mapping[Place, Completion]


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """All that is asked of every arm."""

    suites: tuple[SuitePlan, ...]
    forced_thought: bool  # ask with a forced thought, too
    seed: int
    system: str = ""  # before every prompt; "": none

    @classmethod
    def of(
        cls,
        section: EvaluateSettings,
        own: Sequence[Prompt],
        named: Mapping[str, tuple[SuiteSpec, Sequence[Prompt]]] | None = None,
        *,
        seed: int,
        forced_thought: bool = False,
        attacks: Sequence[str] = (),
    ) -> EvaluationPlan:
        """Return the plan of a profile's own prompts, a suite for each role, and of named suites.

        Suites of `evaluate.attack_roles` are asked in all `attacks`, and a named one in its own
        beside them. Raises `ConfigError` where a suite's judge is unknown or cannot judge its role,
        and where its second judge is the first once more.
        """
        by_role = {role: [p for p in own if p.role is role] for role in Role}
        suites = [_own_suite(section, role, found) for role, found in by_role.items() if found]
        suites += [
            SuitePlan(
                name, prompts=found, attacks=spec.attacks,
                **{key: getattr(spec, key) for key in _OF_SUITES},
            )
            for name, (spec, found) in (named or {}).items()
        ]  # fmt: skip
        for suite in suites:
            check_judge(suite.judge, section.judges, [suite.role])
        planned = [_attacked(one, attacks, section, seed) for one in suites]
        both = tuple(_read_twice(one, section) for one in planned)
        return cls(both, forced_thought, seed, section.system)

    @property
    def second(self) -> EvaluationPlan:
        """The plan of the suites that have a second judge, judged by that one."""
        again = (replace(one, judge=one.second_judge) for one in self.suites if one.second_judge)
        return replace(self, suites=tuple(again))

    @property
    def digest(self) -> str:
        """SHA-256 over the suites with the ids of their prompts."""
        lines = [f"{one.suite} {prompt.id}" for one in self.suites for prompt in one.prompts]
        return digest_bytes("\n".join(sorted(lines)).encode())

    @property
    def roles(self) -> dict[str, Role]:
        """The role of every suite."""
        return {one.suite: one.role for one in self.suites}

    def judge_settings(self, section: EvaluateSettings) -> dict[str, str]:
        """Return what decides the verdicts of every suite's judge, where it is not `rules`."""
        digests = {
            one.suite: digest_of_judge(section.judges, section.rules, one.judge)
            for one in self.suites
        }
        return {suite: digest for suite, digest in digests.items() if digest is not None}

    def places(self, *, opens_thought: bool) -> Places:
        """Return every completion that an arm owes, in the order in which they are asked.

        A template that opens the thought itself has no form with a forced thought beside it.
        """
        return {
            Place(one.suite, form, prompt.id, sample): (one, prompt)
            for one in self.suites
            for form, prompts in one.forms(forced_thought=self.forced_thought and not opens_thought)
            for prompt in prompts
            for sample in range(one.samples)
        }


def _own_suite(section: EvaluateSettings, role: Role, prompts: Sequence[Prompt]) -> SuitePlan:
    return SuitePlan(
        suite=role.value,
        role=role,
        prompts=prompts,
        judge=section.judge_of(role),
        max_new_tokens=section.max_new_tokens[role],
        grader="mathematics" if role is Role.REASONING else None,
        **section.sampling.model_dump(),
    )


def _attacked(
    suite: SuitePlan, attacks: Sequence[str], section: EvaluateSettings, seed: int
) -> SuitePlan:
    """Return a suite of an attacked role with all suites' attacks and its own; others as they are.

    The same wrappings around harmless prompts show what is refused for its wrapping alone.
    """
    every = tuple(dict.fromkeys((*attacks, *suite.attacks)))
    if suite.role not in section.attack_roles or not every:
        return suite
    drawn = draw(suite.prompts, section.attack_prompts, key=f"{seed} attacks")
    return replace(suite, attacks=every, attacked=drawn)


def _read_twice(suite: SuitePlan, section: EvaluateSettings) -> SuitePlan:
    """Return a suite with the second judge of its role, if it has one."""
    second = section.second_judge.get(suite.role)
    if second is None:
        return suite
    check_judge(second, section.judges, [suite.role])
    first, again = (
        digest_of_judge(section.judges, section.rules, name) for name in (suite.judge, second)
    )
    if first == again:
        raise ConfigError(
            f"the suite {suite.suite} is judged by {suite.judge!r} and, once more, by {second!r}, "
            f"which is the same judge; name another one for {suite.role} under "
            "evaluate.second_judge, or leave it out"
        )
    return replace(suite, second_judge=second)


def test_plan(section: EvaluateSettings, prompts: SuiteSet, seed: int) -> EvaluationPlan:
    """Return what all arms are asked: drawn test prompts of every role, and the named suites."""
    return EvaluationPlan.of(
        section,
        sample(prompts.own_test(), section.prompts, seed),
        prompts.named_suites(),
        seed=seed,
        forced_thought=section.forced_thought,
        attacks=section.attacks,
    )


def draw(prompts: Sequence[Prompt], count: int, *, key: str) -> list[Prompt]:
    """Return at most `count` prompts, drawn by the `key`, in order of their ids.

    What is drawn depends on the prompts there are, not on their order, so all arms get the same.
    """
    known = sorted(prompts, key=lambda prompt: prompt.id)
    drawn = random.Random(key).sample(known, min(count, len(known)))
    return sorted(drawn, key=lambda prompt: prompt.id)


def sample(rows: Sequence[Prompt], sizes: Mapping[Role, int], seed: int) -> list[Prompt]:
    """Return at most `sizes[role]` prompts a role, drawn by the seed, in order of role and id.

    Raises `EvidenceError` where no harmful or no benign prompt is left; other roles may be missing.
    """
    drawn: list[Prompt] = []
    for role in Role:
        known = [row for row in rows if row.role is role]
        chosen = draw(known, sizes.get(role, 0), key=f"{seed} {role}")
        if not chosen and role in NEEDED:
            raise EvidenceError(
                f"there is no {role} test prompt to evaluate on ({len(known)} in the prepared set, "
                f"evaluate.prompts asks for {sizes.get(role, 0)}); add a source of {role} prompts "
                "to the section prepare"
            )
        drawn += chosen
        log.info("%s: %d of %d test prompts", role, len(chosen), len(known))
    return drawn
