"""What every arm is asked: suites of test prompts, put to one model after the other alike."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from components.core.errors import EvidenceError
from components.core.storage import digest_bytes
from components.core.vocabulary import AnyArm, Completion, Form, Prompt, Role
from components.evaluate.attacks import draw_attacked, put
from components.evaluate.settings import EvaluateSettings
from components.judges.opening import check_judge, digest_of_judge
from components.lm.chat import opens_thought, split_completion
from components.lm.engines.protocol import Engine, Request, collect
from components.prepare.result import SuiteSet, SuiteSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

NEEDED = (Role.HARMFUL, Role.BENIGN)


@dataclass(frozen=True, slots=True)
class Questions:
    """One suite's prompts: how they are put, and how what is written is judged and graded."""

    suite: str
    role: Role
    prompts: Sequence[Prompt]
    judge: str  # its name in the profile
    max_new_tokens: int
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    instruction: str = ""  # behind every prompt; "": nothing
    grader: str | None = None
    attacks: tuple[Form, ...] = ()
    attacked: Sequence[Prompt] = ()  # the prompts that attacks are tried on

    def put_as(self, *, forced_thought: bool) -> list[tuple[Form, Sequence[Prompt]]]:
        """Return the forms in which the prompts are put, each with its prompts."""
        plain = (Form.SERVED, Form.FORCED_THOUGHT) if forced_thought else (Form.SERVED,)
        return [
            *((form, self.prompts) for form in plain),
            *((form, self.attacked) for form in self.attacks),
        ]

    def worded(self, text: str) -> str:
        """Return a prompt's text as the suite has it asked."""
        return f"{text}\n\n{self.instruction}" if self.instruction else text


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion, and what it answers."""

    prompt: Prompt
    questions: Questions
    form: Form
    sample: int
    completion: Completion


@dataclass(frozen=True, slots=True)
class Exam:
    """All that is asked of every arm."""

    suites: tuple[Questions, ...]
    forced_thought: bool  # ask with a forced thought, too
    seed: int

    @classmethod
    def of(
        cls,
        section: EvaluateSettings,
        own: Sequence[Prompt],
        named: Mapping[str, tuple[SuiteSpec, Sequence[Prompt]]] | None = None,
        *,
        seed: int,
        forced_thought: bool,
        attacks: Sequence[Form] = (),
    ) -> Exam:
        """Return the exam of a profile's own prompts, a suite for each role, and of named suites.

        Harmful suites are asked in all `attacks`, and a named one in its own beside them. Raises
        `ConfigError` where a suite's judge is unknown or cannot judge its role.
        """
        suites = [
            _own_suite(section, role, [p for p in own if p.role is role])
            for role in Role
            if any(p.role is role for p in own)
        ]
        suites += [_named_suite(name, *known) for name, known in (named or {}).items()]
        for questions in suites:
            check_judge(questions.judge, section.judges, [questions.role])
        budget = section.attack_prompts
        return cls(
            tuple(_attacked(one, attacks, budget, seed) for one in suites), forced_thought, seed
        )

    @property
    def digest(self) -> str:
        """SHA-256 over the suites with the ids of their prompts."""
        lines = [f"{q.suite} {prompt.id}" for q in self.suites for prompt in q.prompts]
        return digest_bytes("\n".join(sorted(lines)).encode())

    @property
    def roles(self) -> dict[str, Role]:
        """The role of every suite."""
        return {questions.suite: questions.role for questions in self.suites}

    def judge_settings(self, section: EvaluateSettings) -> dict[str, str]:
        """Return what decides the rulings of every suite's judge, where it is not `rules`."""
        digests = {
            q.suite: digest_of_judge(section.judges, section.rules, q.judge) for q in self.suites
        }
        return {suite: digest for suite, digest in digests.items() if digest is not None}

    def ask(
        self,
        arm: AnyArm,
        engine: Engine,
        tokenizer: PreTrainedTokenizerBase,
        *,
        context: int,
        reword: Callable[[str], str] = str,
    ) -> list[Answer]:
        """Return what one arm writes, by suite and form, in the order of the prompts.

        `context` is the number of tokens that prompt and completion may have together, `reword`
        what becomes of a prompt's text on its way to the model.
        """
        forced_thought = self.forced_thought and not opens_thought(tokenizer)
        return [
            answer
            for questions in self.suites
            for form, prompts in questions.put_as(forced_thought=forced_thought)
            for answer in self._answers(
                questions, form, prompts, arm, engine, tokenizer, context, reword
            )
        ]

    def ask_model(
        self,
        arm: AnyArm,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch: int,
    ) -> list[Answer]:
        """Return what a model in memory, with an adapter or without, writes as `arm`."""
        from components.lm.generation import engine_of

        return self.ask(
            arm,
            engine_of(model, tokenizer, batch=batch),
            tokenizer,
            context=model.config.get_text_config().max_position_embeddings,
        )

    def _answers(
        self,
        questions: Questions,
        form: Form,
        prompts: Sequence[Prompt],
        arm: AnyArm,
        engine: Engine,
        tokenizer: PreTrainedTokenizerBase,
        context: int,
        reword: Callable[[str], str],
    ) -> list[Answer]:
        # A completion may be cut by the context, but exchanges before a prompt leave it half.
        limit = max(context - questions.max_new_tokens, context // 2)
        asked = [
            put(
                tokenizer,
                prompt,
                form,
                seed=self.seed,
                limit=limit,
                reword=lambda text: reword(questions.worded(text)),
            )
            for prompt in prompts
        ]
        requests = [
            Request(
                tuple(one.ids),
                room(questions, prompt, len(one.ids), context),
                samples=questions.samples,
                temperature=questions.temperature,
                top_p=questions.top_p,
                seed=self.seed,
            )
            for prompt, one in zip(prompts, asked, strict=True)
        ]
        if short := sum(request.max_new_tokens < questions.max_new_tokens for request in requests):
            log.warning(
                "%s: the context of %d tokens leaves fewer than %d for %d of %d prompts of %s",
                arm, context, questions.max_new_tokens, short, len(requests), questions.suite,
            )  # fmt: skip
        told = "" if form is Form.SERVED else f", {form}"
        written = collect(engine, requests, label=f"{arm}, {questions.suite}{told}")
        return [
            Answer(
                prompt,
                questions,
                form,
                sample,
                split_completion(
                    tokenizer, prompt.id, list(ids), ends=engine.ends, opened=one.opened
                ),
            )
            for prompt, one, samples in zip(prompts, asked, written, strict=True)
            for sample, ids in enumerate(samples)
        ]


def room(questions: Questions, prompt: Prompt, length: int, context: int) -> int:
    """Return how many tokens a completion may have behind `length` tokens of prompt: the suite's
    limit, or what the model's context leaves of it. Raises `EvidenceError` where it leaves none."""
    left = context - length
    if left < 1:
        raise EvidenceError(
            f"prompt {prompt.id} of {questions.suite} has {length} tokens, and the model reads "
            f"{context} with its completion; leave the prompt out (prepare.max_characters), or "
            "evaluate another model"
        )
    return min(questions.max_new_tokens, left)


def _own_suite(section: EvaluateSettings, role: Role, prompts: Sequence[Prompt]) -> Questions:
    return Questions(
        suite=role.value,
        role=role,
        prompts=prompts,
        judge=section.judge_of(role),
        max_new_tokens=section.max_new_tokens[role],
        grader="mathematics" if role is Role.REASONING else None,
    )


def _named_suite(name: str, spec: SuiteSpec, prompts: Sequence[Prompt]) -> Questions:
    return Questions(
        suite=name,
        role=spec.role,
        prompts=prompts,
        judge=spec.judge,
        max_new_tokens=spec.max_new_tokens,
        samples=spec.samples,
        temperature=spec.temperature,
        top_p=spec.top_p,
        instruction=spec.instruction,
        grader=spec.grader,
        attacks=spec.attacks,
    )


def _attacked(questions: Questions, attacks: Sequence[Form], budget: int, seed: int) -> Questions:
    """Return harmful questions with the attacks on them, all suites' and the suite's own; others as
    they are."""
    every = tuple(dict.fromkeys((*attacks, *questions.attacks)))
    if questions.role is not Role.HARMFUL or not every:
        return questions
    drawn = draw_attacked(questions.prompts, budget, seed)
    return replace(questions, attacks=every, attacked=drawn)


def test_exam(section: EvaluateSettings, prompts: SuiteSet, seed: int) -> Exam:
    """Return what all arms are asked: drawn test prompts of every role, and the named suites."""
    return Exam.of(
        section,
        sample(prompts.own_test(), section.prompts, seed),
        prompts.named_suites(),
        seed=seed,
        forced_thought=section.forced_thought,
        attacks=section.attacks,
    )


def sample(rows: Sequence[Prompt], sizes: Mapping[Role, int], seed: int) -> list[Prompt]:
    """Return at most `sizes[role]` prompts a role, drawn by the seed, in order of role and id.

    What is drawn depends on the prompts there are, not on their order. Raises `EvidenceError` where
    no harmful or no benign prompt is left; other roles may be missing.
    """
    drawn: list[Prompt] = []
    for role in Role:
        known = sorted((row for row in rows if row.role is role), key=lambda row: row.id)
        size = min(sizes.get(role, 0), len(known))
        if size == 0 and role in NEEDED:
            raise EvidenceError(
                f"there is no {role} test prompt to evaluate on ({len(known)} in the prepared set, "
                f"evaluate.prompts asks for {sizes.get(role, 0)}); add a source of {role} prompts "
                "to the section prepare"
            )
        chosen = random.Random(f"{seed} {role}").sample(known, size)
        drawn += sorted(chosen, key=lambda row: row.id)
        log.info("%s: %d of %d test prompts", role, size, len(known))
    return drawn
